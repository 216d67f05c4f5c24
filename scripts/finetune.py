#!/usr/bin/env python3
"""Fine-tune a checkpoint by its published recipe: prints the command of fairseq-train, and runs it."""

from pixelgpt_fairseq.cli.finetune import main

if __name__ == "__main__":
    main()
