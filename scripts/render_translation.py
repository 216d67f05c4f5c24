#!/usr/bin/env python3
"""Render and tokenize sources, and tokenize their targets: transcription, transliteration, translation, summaries."""

from pixelgpt_fairseq.cli.render_translation import main

if __name__ == "__main__":
    main()
