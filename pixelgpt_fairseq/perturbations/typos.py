"""Lists of misspellings that people have made."""

import regex

from pixelgpt_fairseq.errors import UserError

_WORD = regex.compile(r"[\p{L}\p{M}\p{N}'’._-]+")
_LARGEST = 1 << 26  # bytes; the published lists have fewer than a million


def read_typos(path) -> dict[str, tuple[str, ...]]:
    """Read a list of misspellings: on each line a word, and then its misspellings, with spaces between them.

    Empty lines are passed over. Words are kept in lower case; those that stand on several lines are joined.

    Returns:
        word in lower case -> its misspellings

    Raises:
        UserError: naming the file, and the line, if it is no such list.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise UserError(f"--typos {path}: {error.strerror}") from None
    if len(content) > _LARGEST:
        raise UserError(f"--typos {path}: larger than {_LARGEST >> 20} MiB: not a list of misspellings")
    found = {}
    for line, raw in enumerate(content.splitlines(), start=1):
        try:
            word, *misspellings = raw.decode("utf-8-sig" if line == 1 else "utf-8").split() or [""]
        except UnicodeDecodeError:
            raise UserError(f"--typos {path}, line {line}: not text in UTF-8: not a list of misspellings") from None
        if word and not _WORD.fullmatch(word):
            raise UserError(f"--typos {path}, line {line}: {word[:40]!r} is not a word: not a list of misspellings")
        misspellings = [each for each in misspellings if each != word]
        if word and not misspellings:
            raise UserError(
                f"--typos {path}, line {line}: {word[:40]!r} without a misspelling: every line is a word, then its "
                "misspellings, with spaces between them"
            )
        if word:
            found.setdefault(word.lower(), []).extend(misspellings)
    if not found:
        raise UserError(f"--typos {path}: empty: every line is a word, then its misspellings, with spaces between them")
    return {word: tuple(dict.fromkeys(misspellings)) for word, misspellings in found.items()}
