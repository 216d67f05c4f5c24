"""Rows that cannot be used: refused, or counted and passed over."""

import json
import re

from pixelgpt_fairseq.errors import UserError


class BadRow(UserError):
    """A row that cannot be used, such as one with too few columns."""


def refuse_bad_row(error):
    """An ``on_bad_row`` that raises the error, with what to do.

    Raises:
        BadRow
    """
    raise BadRow(f"{error}: mend it, or pass --skip-bad-rows") from None


def check_whole_characters(text, where):
    """Refuse text with half of a surrogate pair, which JSON can spell (``\\ud83d``) and no file can hold.

    Raises:
        BadRow: beginning with *where*.
    """
    if half := re.search("[\ud800-\udfff]", text):
        raise BadRow(f"{where} holds half a character (the lone surrogate \\u{ord(half[0]):04x})")


def parse_json_object(text, where):
    """The dict of one line of JSON lines.

    Raises:
        BadRow: beginning with *where*.
    """
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:  # also of numbers of thousands of digits
        raise BadRow(f"{where}: not JSON: {error}") from None
    if not isinstance(row, dict):
        raise BadRow(f"{where}: not a JSON object")
    return row


class SkippedRows:
    """An ``on_bad_row`` that counts the errors, and keeps the first few.

    Attributes:
        count: of rows.
        first: the errors of the first three.
    """

    def __init__(self):
        self.count, self.first = 0, []

    def __call__(self, error):
        """Count a row."""
        self.count += 1
        self.first += [error] if len(self.first) < 3 else []
