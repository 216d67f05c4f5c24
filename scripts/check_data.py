#!/usr/bin/env python3
"""Read data folders through and compare every file with its checksum."""

from pixelgpt_fairseq.cli.check_data import main

if __name__ == "__main__":
    main()
