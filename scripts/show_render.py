#!/usr/bin/env python3
"""Show what the model sees of a text, or of several: write strips as a picture, print their patches and separators."""

from pixelgpt_fairseq.cli.show_render import main

if __name__ == "__main__":
    main()
