#!/usr/bin/env python3
"""The whole road in minutes on a CPU: real text to patches, a small DualGPT, its losses, and a picture."""

from pixelgpt_fairseq.cli.demo import main

if __name__ == "__main__":
    main()
