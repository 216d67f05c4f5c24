#!/usr/bin/env python3
"""Show what attacks make of a text: each at each severity, as text and as the model sees it, in one picture."""

from pixelgpt_fairseq.cli.show_attack import main

if __name__ == "__main__":
    main()
