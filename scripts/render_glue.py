#!/usr/bin/env python3
"""Render and tokenize GLUE, or a table of sentences with labels, for fine-tuning in every modality."""

from pixelgpt_fairseq.cli.render_glue import main

if __name__ == "__main__":
    main()
