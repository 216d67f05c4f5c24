"""The order of characters on a line where some are written from right to left: Unicode's algorithm, by FriBiDi.

FriBiDi is the library that Pillow's Raqm looks for and needs, too: where one is, the other is.
"""

import ctypes
import ctypes.util
import functools
import re
from typing import NamedTuple

import numpy as np

from pixelgpt_fairseq.errors import UserError

INSTALL_FRIBIDI = "Debian, Ubuntu: apt install libfribidi0; macOS: brew install fribidi"
_NAMES = ("libfribidi.so.0", "libfribidi.so", "libfribidi.0.dylib", "libfribidi.dylib", "fribidi-0.dll", "fribidi.dll")
_FROM_THE_FIRST_STRONG = 0x40  # FRIBIDI_PAR_ON: the paragraph's direction is that of its first letter
_FLAGS = 0

# Hebrew to Arabic Extended, the Arabic presentation forms, the right-to-left planes; embeddings, overrides, isolates.
_RIGHT_TO_LEFT = re.compile(
    "[\u0590-\u08ff\u200f\u202b\u202e\u2067\u2068\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U0001efff]"
)
# A strip has one line: what would end a paragraph is a blank on it.
_PARAGRAPH_ENDS = dict.fromkeys(map(ord, "\n\r\x1c\x1d\x1e\x85\u2029"), " ")


class VisualOrder(NamedTuple):
    """Where the characters of a text stand.

    Attributes:
        levels: int8 ``[length]``: embedding levels: odd ones read from right to left.
        positions: int32 ``[length]``: of each character, counted from the left end of the line.
        right_to_left: whether the line as a whole begins at the right.
    """

    levels: np.ndarray
    positions: np.ndarray
    right_to_left: bool


def reads_left_to_right(text: str) -> bool:
    """Whether all of *text* stands in the order in which it is written."""
    return text.isascii() or not _RIGHT_TO_LEFT.search(text)


def visual_order(text: str) -> VisualOrder:
    """The order of a text's characters on one line.

    Args:
        text: not empty, without surrogates.

    Raises:
        UserError: if there is no FriBiDi on this machine.
    """
    library = _fribidi()
    length = len(text)
    codes = np.frombuffer(text.translate(_PARAGRAPH_ENDS).encode("utf-32-le"), dtype=np.uint32)
    types, brackets = np.zeros(length, dtype=np.uint32), np.zeros(length, dtype=np.uint32)
    levels, characters = np.zeros(length, dtype=np.int8), np.arange(length, dtype=np.int32)
    direction = ctypes.c_uint32(_FROM_THE_FIRST_STRONG)

    def at(array):
        return array.ctypes.data_as(ctypes.c_void_p)

    library.fribidi_get_bidi_types(at(codes), length, at(types))
    library.fribidi_get_bracket_types(at(codes), length, at(types), at(brackets))
    made = library.fribidi_get_par_embedding_levels_ex(
        at(types), at(brackets), length, ctypes.byref(direction), at(levels)
    )
    made = made and library.fribidi_reorder_line(
        ctypes.c_uint32(_FLAGS), at(types), length, 0, direction, at(levels), None, at(characters)
    )
    if not made:
        raise MemoryError("FriBiDi cannot order this line")
    positions = np.empty(length, dtype=np.int32)
    positions[characters] = np.arange(length, dtype=np.int32)
    return VisualOrder(levels, positions, bool(direction.value & 1))


@functools.cache
def _fribidi():
    for name in (*_NAMES, ctypes.util.find_library("fribidi")):
        try:
            library = ctypes.CDLL(name) if name else None
        except OSError:
            continue
        if hasattr(library, "fribidi_get_par_embedding_levels_ex"):
            return library
    raise UserError(
        f"right-to-left text needs the FriBiDi library, version 1.0 or later: install it ({INSTALL_FRIBIDI}), or "
        "choose --renderer-backend pygame"
    )
