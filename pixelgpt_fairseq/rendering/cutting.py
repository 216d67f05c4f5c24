"""Documents of any length -> pieces of text that each fit a strip."""

import unicodedata
from collections.abc import Callable, Iterator

import numpy as np

KEEP_TOGETHER = "\u00a0\u2007\u202f"  # white space that is there to prevent a break
_JOINERS = "\u200c\u200d"
_SKIN_TONES = "\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff"
_FIRST_WINDOW = 1024


def cut_text(text: str, room: int, metrics: Callable[[str], np.ndarray]) -> Iterator[tuple[int, int]]:
    """Cut *text* into pieces of which each is at most *room* pixels wide.

    The cuts are at white space, which is dropped there; where there is none between characters, but not within a
    cluster (before a combining mark, around a joiner). A cluster wider than the room is a piece of its own. A text that
    fits is one piece, whatever it is. Time is linear in the length, memory does not depend on it.

    Args:
        text: any string without surrogates.
        room: pixels.
        metrics: gives advance, left and right of every character's box, ``[3, length]``.

    Yields:
        tuple: start and end of each piece, in characters.
    """
    start, window = 0, _FIRST_WINDOW
    while True:
        boxes = metrics(text[start : start + window])
        fitting = _fitting(boxes, room)
        if fitting == boxes.shape[1] and start + window < len(text):
            window *= 2
            continue
        if fitting == boxes.shape[1]:
            yield start, len(text)
            return
        end, following = _break(text, start, start + fitting)
        if end > start:
            yield start, end
        if following >= len(text):
            return
        # Look a little further ahead than the last piece went.
        start, window = following, max(64, 2 * (following - start))


def pen_columns(boxes: np.ndarray) -> np.ndarray:
    """Pen positions from the boxes of a line's characters.

    Args:
        boxes: advance, left and right of each, ``[3, length]``.

    Returns:
        int64 ``[length + 1]``: the pen before each character and after the last, in pixels from the left edge of the
        line's box.
    """
    pens = np.zeros(boxes.shape[1] + 1, dtype=np.int64)
    np.cumsum(boxes[0], out=pens[1:])
    if boxes.size:
        pens -= (pens[:-1] + boxes[1]).min()
    return pens


def _fitting(boxes, room):
    """How many of the first characters make a line of at most *room* pixels."""
    pens = np.zeros(boxes.shape[1] + 1, dtype=np.int64)
    np.cumsum(boxes[0], out=pens[1:])
    left = np.minimum.accumulate(pens[:-1] + boxes[1])
    right = np.maximum.accumulate(pens[:-1] + boxes[2])
    # A blank reaches to the pen at the end of a line, and any character may become one.
    right = np.where(boxes[1] == boxes[2], np.maximum(right, pens[1:]), right)
    too_wide = right - left > room
    return int(too_wide.argmax()) if boxes.size and too_wide[-1] else boxes.shape[1]


def _break(text, start, limit):
    """Where to end a piece that may reach up to *limit*, and where the next one starts."""
    position = limit  # may be white space itself: then the piece ends before it
    while position > start and not _is_space(text[position]):
        position -= 1
    if _is_space(text[position]):
        end = following = position
        while end > start and _is_space(text[end - 1]):
            end -= 1
        while following < len(text) and _is_space(text[following]):
            following += 1
        return end, following
    position = limit
    while position > start and _joins(text, position):
        position -= 1
    if position == start:  # not even one cluster fits
        position = max(limit, start + 1)
        while limit == start and position < len(text) and _joins(text, position):
            position += 1
    return position, position


def _is_space(character):
    return character.isspace() and character not in KEEP_TOGETHER


def _joins(text, position):
    """Whether the character at *position* belongs to the one before it."""
    character = text[position]
    return (
        unicodedata.category(character)[0] == "M"
        or character in _JOINERS
        or character in _SKIN_TONES
        or text[position - 1] == "\u200d"
    )
