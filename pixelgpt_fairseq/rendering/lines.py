"""What both backends make of a text: a drawn line; and which strings are no text."""

import re
from typing import NamedTuple

import numpy as np

from pixelgpt_fairseq.errors import UserError

_SURROGATE = re.compile("[\ud800-\udfff]")
# So many of the words met last are kept by what draws them; longer ones seldom come again.
KEPT = 1 << 14
KEPT_LENGTH = 64
# So many characters of a line are looked at for each of its pixels: there is no end to those without width.
CHARACTERS_PER_PIXEL = 64


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


def joined(drawn, width: int, first: int, end: int, font_rgb) -> Line:
    """One line of several drawings.

    Args:
        drawn: pairs of the column of the first ink and what is drawn there: a Line, or anything with its ``coverage``,
            ``top`` and ``colors``. A later one adds to the ink of those before it, and its colors replace theirs.
        width: of the line.
        first, end: the columns that are kept.
        font_rgb: the color of ink without colors.
    """
    top = max((drawing.top for _, drawing in drawn), default=0)
    bottom = min((drawing.top - len(drawing.coverage) for _, drawing in drawn), default=0)
    coverage = np.zeros((top - bottom, max(0, end - first)), dtype=np.uint8)
    colors = None
    if any(drawing.colors is not None for _, drawing in drawn):
        colors = np.empty((*coverage.shape, 3), dtype=np.uint8)
        colors[...] = font_rgb
    for column, drawing in drawn:
        height, ink_width = drawing.coverage.shape
        left, right = max(column, first), min(column + ink_width, first + coverage.shape[1])
        if left >= right:
            continue
        here = slice(top - drawing.top, top - drawing.top + height), slice(left - first, right - first)
        ink = drawing.coverage[:, left - column : right - column]
        coverage[here] = np.maximum(coverage[here], ink)
        if drawing.colors is not None:
            colors[here][ink > 0] = drawing.colors[:, left - column : right - column][ink > 0]
    return Line(coverage, width, top, first, colors)


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
