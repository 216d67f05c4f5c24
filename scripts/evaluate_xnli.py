#!/usr/bin/env python3
"""Answer XNLI with fine-tuned checkpoints, and print one table: a row for each, every language and the average."""

from pixelgpt_fairseq.cli.evaluate_xnli import main

if __name__ == "__main__":
    main()
