"""Words that a strip is expected to be made of, for :func:`~pixelgpt_fairseq.generation.reading.read_strip`."""

import bisect
import string
from collections.abc import Iterable
from pathlib import Path

from pixelgpt_fairseq.errors import UserError

_ASCII = string.ascii_letters + string.digits + string.punctuation
_NONE, _FIRST, _ALL = "none", "first", "all"  # capitals of a prefix


class Prefix:
    """The beginning of words of a list.

    Args:
        words: the list, sorted, in small letters.
        first, end: the range of it with the words that begin so.
        length: characters.
        capitals: which of them are capitals; None of the empty prefix.

    Attributes:
        is_word: whether it is a whole word.
    """

    __slots__ = ("_capitals", "_end", "_first", "_length", "_longer", "_words", "is_word")

    def __init__(self, words, first, end, length=0, capitals=None):
        self._words, self._first, self._end, self._length, self._capitals = words, first, end, length, capitals
        self._longer = {}
        self.is_word = 0 < length == len(words[first])

    def longer(self, character: str) -> "Prefix | None":
        """The prefix with one character more; None if no word begins so."""
        if character not in self._longer:
            self._longer[character] = self._make_longer(character)
        return self._longer[character]

    def _make_longer(self, character):
        small, capitals = character.lower(), self._capitals_with(character)
        if capitals is None or len(small) != 1:
            return None
        place = self._length

        def key(word):  # all words of the range have the same characters before, so they are in the order of this one
            return word[place : place + 1]

        first = bisect.bisect_left(self._words, small, self._first, self._end, key=key)
        end = bisect.bisect_right(self._words, small, first, self._end, key=key)
        return Prefix(self._words, first, end, place + 1, capitals) if first < end else None

    def _capitals_with(self, character):
        """Which characters are capitals with one more; None where no word is written so, such as "aB" and "ABc"."""
        capital, small = character != character.lower(), character != character.upper()
        before = self._capitals
        if before is None:
            return _ALL if capital else _NONE
        if not capital and not small:  # an apostrophe, or a letter of a script without capitals
            return before
        if capital:
            return _ALL if before == _ALL else None
        if before == _ALL:
            return _FIRST if self._length == 1 else None
        return before


class WordList:
    """Words, which may be written in small letters, with a capital first letter, or in capitals.

    Args:
        words: strings without spaces; case does not count.

    Attributes:
        words: the words in small letters, sorted, each once.
        start: the empty Prefix.

    Raises:
        UserError: if there are none, or one has a space.
    """

    def __init__(self, words: Iterable[str]):
        self.words = sorted({word.lower() for word in words} - {""})
        if not self.words:
            raise UserError("words: name at least one word")
        for word in self.words:
            if word.split() != [word]:
                raise UserError(f"words: {word!r} has a space: name single words")
        self.start = Prefix(self.words, 0, len(self.words))

    def __contains__(self, text: str) -> bool:
        prefix = self.start
        for character in text:
            prefix = prefix.longer(character)
            if prefix is None:
                return False
        return prefix.is_word

    def alphabet(self) -> str:
        """The characters of the words, small and capital, and those of ASCII."""
        letters = set().union(*self.words)
        capitals = {capital for letter in letters if len(capital := letter.upper()) == 1}
        return "".join(sorted({" ", *letters, *capitals, *_ASCII}))


def read_word_list(path) -> WordList:
    """The words of a file, one on each line.

    Args:
        path: UTF-8; empty lines are left out.

    Raises:
        UserError: if the file cannot be read or has no words, or a line has several.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8") from None
    try:
        return WordList(line.strip() for line in lines)
    except UserError as error:
        raise UserError(f"{path}, a word a line: {error}") from None
