#!/usr/bin/env python3
"""Answer splits of a GLUE task with a fine-tuned checkpoint, and write the files that GLUE takes."""

from pixelgpt_fairseq.cli.predict_glue import main

if __name__ == "__main__":
    main()
