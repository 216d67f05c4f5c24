#!/usr/bin/env python3
"""Download GLUE's public files into the folders that scripts/render_glue.py reads (--glue-dir)."""

from pixelgpt_fairseq.cli.download_glue import main

if __name__ == "__main__":
    main()
