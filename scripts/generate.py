#!/usr/bin/env python3
"""Continue a text, patch by patch or token by token, and draw the prompt, what came of it and what it reads as."""

from pixelgpt_fairseq.cli.generate import main

if __name__ == "__main__":
    main()
