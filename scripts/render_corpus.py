#!/usr/bin/env python3
"""Render and tokenize a text corpus into fairseq's indexed format, for pretraining."""

from pixelgpt_fairseq.cli.render_corpus import main

if __name__ == "__main__":
    main()
