"""What both backends make of a text: a drawn line; and which strings are no text."""

import re
from typing import NamedTuple

import numpy as np

from pixelgpt_fairseq.errors import UserError

_SURROGATE = re.compile("[\ud800-\udfff]")


class Line(NamedTuple):
    """A drawn line.

    Attributes:
        coverage: uint8 [height, columns]: 0 is background, 255 ink. Columns beyond the asked limit are left out.
        width: of the box of the whole line; of a line that was cut short, at least more than the limit.
        top: rows from the baseline up to the first row.
        left: the column of the box at which *coverage* begins: below 0 where ink may reach out of the box.
        colors: uint8 [height, columns, 3], of the ink; None if it all has the text's color.
    """

    coverage: np.ndarray
    width: int
    top: int
    left: int = 0
    colors: np.ndarray | None = None


def without_surrogate_pairs(text: str) -> str:
    """*text* with surrogate pairs joined to the characters that they mean, as pygame does."""
    if text.isascii() or not _SURROGATE.search(text):
        return text
    try:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError:
        return text  # which code_points refuses


def code_points(text: str) -> np.ndarray:
    """The characters of *text* as numbers: uint32 ``[len(text)]``.

    Raises:
        UserError: for a surrogate.
    """
    try:
        return np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
    except UnicodeEncodeError as error:
        surrogate = ord(text[error.start])
        raise UserError(f"U+{surrogate:04X} (half of a surrogate pair) in the text is not a character") from None
