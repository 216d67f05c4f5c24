"""The words of a text, and the letters of a word, in any script."""

import unicodedata

import regex

# Scripts that put no spaces between words. Their words cannot be found without a dictionary, so each of their
# characters counts as a word of one letter.
_SPACELESS = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_WORD_CHARACTER = rf"(?:(?=[[\p{{L}}\p{{N}}]--[{_SPACELESS}]])\X)"
_WORD = regex.compile(
    rf"(?V1)(?=[{_SPACELESS}])\X|{_WORD_CHARACTER}+(?:['’]{_WORD_CHARACTER}+)*",
)
_CHARACTER = regex.compile(r"\X")


def word_spans(text: str) -> list[tuple[int, int]]:
    """Where words begin and end in *text*.

    A word is a run of letters and digits with their combining marks, and with apostrophes inside it (``don't``).
    Punctuation and white space separate words. In scripts without spaces, every character is a word.
    """
    return [match.span() for match in _WORD.finditer(text)]


def characters(word: str) -> list[str]:
    """The characters of *word* as a reader counts them: each with the combining marks that belong to it."""
    return _CHARACTER.findall(word)


def is_letter(character: str) -> bool:
    """Whether *character*, one of :func:`characters`, is a letter: no digit, no apostrophe."""
    return character[0].isalpha()


def letter_positions(found: list[str]) -> list[int]:
    """Indices of the letters among the characters of a word."""
    return [position for position, character in enumerate(found) if is_letter(character)]


def base_letter(character: str) -> str:
    """The letter of *character* in lower case, without accents: ``e`` for ``É``."""
    return unicodedata.normalize("NFD", character)[0].lower()


def in_case_of(pattern: str, word: str) -> str:
    """*word* (given in lower case) with capitals as in *pattern*: all of it, its first letter, or none."""
    if pattern.isupper() and len(letter_positions(characters(pattern))) > 1:
        return word.upper()
    return word[:1].upper() + word[1:] if pattern[:1].isupper() else word
