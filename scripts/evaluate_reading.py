#!/usr/bin/env python3
"""How well a model reads: draw lines of text, let it write what they say, and count mistakes by the number of words."""

from pixelgpt_fairseq.cli.evaluate_reading import main

if __name__ == "__main__":
    main()
