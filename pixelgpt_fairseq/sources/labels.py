"""Class words, and the class that a label in a table stands for."""

import collections
import re
from collections.abc import Iterable, Mapping, Sequence

from pixelgpt_fairseq.errors import UserError

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)")


def class_words(given: Iterable[str]) -> tuple[str, ...]:
    """The words of the classes as the user gave them, without white space around them.

    Raises:
        UserError: if there are fewer than two, one is empty, or one is named twice.
    """
    words = tuple(" ".join(word.split()) for word in given)
    if len(words) < 2 or len(set(words)) != len(words) or not all(words):
        raise UserError(f"--labels {' '.join(words)}: name at least two classes, each once")
    return words


class ClassNumbers:
    """Finds the number of the class that a label means.

    A label may be one of the words; a word in different case or spacing, or the same number in another notation
    (``1.0`` for ``1``), if exactly one word matches; or, if no word is a number, the number of a class. If a word is a
    number, class numbers are not accepted: with the words 1 2 3, the word 1 and class 1 could not be told apart.

    Args:
        words: of the classes, in the order of their numbers.
        spellings: other words for classes: word -> one of *words*.
    """

    def __init__(self, words: Sequence[str], spellings: Mapping[str, str] | None = None):
        numbers = {word: number for number, word in enumerate(words)}
        self._exact = numbers | {other: numbers[word] for other, word in (spellings or {}).items()}
        if not any(_NUMBER.fullmatch(word) for word in words):
            self._exact = {str(number): number for number in range(len(words))} | self._exact
        meanings = collections.defaultdict(set)
        for word, number in self._exact.items():
            meanings[_normalized(word)].add(number)
        self._normalized = {word: found.pop() for word, found in meanings.items() if len(found) == 1}

    def find(self, label: str) -> int | None:
        """The number of the class; None if there is no such class, or more than one it could be."""
        label = label.strip()
        return self._exact.get(label, self._normalized.get(_normalized(label)))


def _normalized(word):
    """A word in lower case with single spaces; a number as a float."""
    if _NUMBER.fullmatch(word):
        return float(word)
    return " ".join(word.split()).casefold()
