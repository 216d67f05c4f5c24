#!/usr/bin/env python3
"""Render and tokenize XNLI, each language by itself, for fine-tuning in every modality."""

from pixelgpt_fairseq.cli.render_xnli import main

if __name__ == "__main__":
    main()
