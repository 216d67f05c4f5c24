"""Files of tests are not brought to the disk: none outlives a power cut, and thousands of them take a disk its time."""

import os


def install():
    """Let ``os.fsync`` return at once from now on."""
    os.fsync = lambda descriptor: None
