#!/usr/bin/env python3
"""Attack the text of a task's validation set, and tell how much fine-tuned checkpoints lose."""

from pixelgpt_fairseq.cli.evaluate_robustness import main

if __name__ == "__main__":
    main()
