#!/usr/bin/env python3
"""Draw a text as a model reads it, as patches, as tokens or as both, and below each what the model predicted there."""

from pixelgpt_fairseq.cli.show_predictions import main

if __name__ == "__main__":
    main()
