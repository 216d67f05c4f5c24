#!/usr/bin/env python3
"""Convert between the folders that the authors released and checkpoints of fairseq-train."""

from pixelgpt_fairseq.cli.convert_checkpoint import main

if __name__ == "__main__":
    main()
