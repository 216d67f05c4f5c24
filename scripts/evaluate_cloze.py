#!/usr/bin/env python3
"""How often a model finds the last word of a passage (LAMBADA, or lines of text) or a short answer (bAbI)."""

from pixelgpt_fairseq.cli.evaluate_cloze import main

if __name__ == "__main__":
    main()
