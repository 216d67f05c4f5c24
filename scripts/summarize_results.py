#!/usr/bin/env python3
"""Put what fine-tuning runs reached into one table: a row for every model and modality, a column for every task."""

from pixelgpt_fairseq.cli.summarize_results import main

if __name__ == "__main__":
    main()
