"""What follows a prompt: tokens or patches, one after the other; and patches read back as text.

Names are imported when they are first asked for: reading needs neither torch nor fairseq.
"""

import importlib

_MODULES = {
    "Reading": "reading",
    "WordList": "word_list",
    "generate_patches": "patches",
    "generate_tokens": "tokens",
    "look_alikes": "glyph_bank",
    "read_strip": "reading",
    "read_word_list": "word_list",
}
__all__ = [
    "Reading",
    "WordList",
    "generate_patches",
    "generate_tokens",
    "look_alikes",
    "read_strip",
    "read_word_list",
]


def __getattr__(name):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
