"""Lines in which every word begins at a patch (structured rendering: Lotz et al., 2023, "Text Rendering Strategies").

In continuous text a word looks different at each of the columns of a patch at which it may begin, and a small model
has to learn them all. Here a word is drawn alone and always fills the same patches in the same way.
"""

import functools
import re
from typing import NamedTuple

import numpy as np

from pixelgpt_fairseq.rendering.cutting import KEEP_TOGETHER
from pixelgpt_fairseq.rendering.lines import (
    CHARACTERS_PER_PIXEL,
    KEPT,
    KEPT_LENGTH,
    Line,
    code_points,
    joined,
    without_surrogate_pairs,
)

_WORD = re.compile(rf"[\S{KEEP_TOGETHER}]+")
_WIDE = 1 << 20  # pixels: more than a word that is kept can have


class _Word(NamedTuple):
    """A word by itself.

    Attributes:
        boxes: advance, left and right of its characters: int64 ``[3, length]``.
        left: of its box, from its first pen.
        width: of its box.
    """

    boxes: np.ndarray
    left: int
    width: int


class StructuredRaster:
    """Draws the words of a line with a backend, each at a column that is a multiple of the patch size.

    Between two words are as many columns as that takes, at least *gap* or a space of the font, however many blanks the
    text has there. Blanks before the first word and after the last take no room. The methods are those of a backend
    (:func:`~pixelgpt_fairseq.rendering.backends.register_backend`).

    Args:
        raster: the backend: it draws one word at a time, and of whole lines says the order of the words.
        config: RendererConfig.
        gap: pixels.
    """

    def __init__(self, raster, config, gap: int):
        self._raster, self._side, self._font_rgb = raster, config.patch_size, config.font_rgb
        self._gap = max(gap, int(raster.boxes(" ")[0, 0]))
        keep = functools.lru_cache(maxsize=KEPT)
        self._measure_kept, self._draw_kept = keep(self._measure), keep(self._draw_whole)

    def boxes(self, text: str) -> np.ndarray:
        """Advance, left and right of every character's box, in pixels from its pen: int64 ``[3, len(text)]``.

        They are in the order of the text, whichever way it is written. The first blank after a word reaches to where
        the next one begins, or would; other blanks have no width.

        Raises:
            UserError: for a surrogate, or a damaged glyph.
        """
        code_points(text)
        boxes = np.zeros((3, len(text)), dtype=np.int64)
        column, pen, last = 0, 0, None  # of the next word, the end of the last one, the character after that
        for match in _WORD.finditer(text):
            word = self._word(match.group())
            if last is None:
                first_left = word.left  # column 0 of the line, from the first pen
                boxes[1:, : match.start()] = first_left
            begin = column + first_left - word.left
            if last is not None:
                boxes[0, last] = begin - pen
            boxes[:, match.start() : match.end()] = word.boxes
            pen = begin + int(word.boxes[0].sum())
            column, last = self._next(column + word.width), match.end()
        if last is not None and last < len(text):
            boxes[0, last] = column + first_left - pen
        return boxes

    def columns(self, text: str) -> np.ndarray:
        """Where each character of a line begins and ends, in columns from the line's left edge: int64 ``[length, 2]``.

        Raises:
            UserError: for a surrogate, or a damaged glyph.
        """
        code_points(text)
        columns, before = np.zeros((len(text), 2), dtype=np.int64), None
        for start, word, column in sorted(self._placed(text)):
            end, right = start + len(word), column + self._word(word).width
            columns[start:end] = self._raster.columns(word) + column
            if before is not None:  # blanks are between two words, whichever is at the left
                blank, left_before, right_before = before
                columns[blank:start] = (right_before, column) if column > left_before else (right, left_before)
            before = end, column, right
        if before is not None:
            columns[before[0] :] = before[2]
        return columns

    def reads_left_to_right(self, text: str) -> bool:
        """Whether the line has its characters in the order of the text."""
        return self._raster.reads_left_to_right(text)

    def line(self, text: str, max_width: int) -> Line:
        """Draw *text* up to *max_width* pixels.

        Of a wider line the end is left out: what is at the right or, where the line begins at the right, whole patches
        at the left.

        Raises:
            UserError: for a lone surrogate, or a damaged glyph.
        """
        text = without_surrogate_pairs(text)[: CHARACTERS_PER_PIXEL * (max_width + 1)]
        placed = self._placed(text, max_width)
        if not placed:
            return Line(np.zeros((0, 0), dtype=np.uint8), 0, 0)
        width = placed[-1][2] + self._width(placed[-1][1], max_width)
        begins_at_right = placed[0][0] > placed[-1][0]
        cut = -(-max(0, width - max_width) // self._side) * self._side if begins_at_right else 0
        lines = [(column - cut, self._draw(word, max_width)) for _, word, column in placed]
        first = 0 if lines[0][0] else min(0, lines[0][1].left)  # ink of the first word may reach out of its box
        drawn = [(column + line.left, line) for column, line in lines]
        return joined(drawn, width, first, min(width, max_width), self._font_rgb)

    def _placed(self, text, max_width=None):
        """The words of *text* from left to right: (first character, word, column) each.

        Args:
            text: without surrogate pairs.
            max_width: words after the first that goes beyond this are left out; None: all are wanted.
        """
        words, column = [], 0
        for match in _WORD.finditer(text):
            words.append((match.start(), match.group(), column))
            end = column + self._width(match.group(), max_width)
            if max_width is not None and end > max_width:
                break
            column = self._next(end)
        if self.reads_left_to_right(text) or not words:
            return words
        left = self._raster.columns(text[: words[-1][0] + len(words[-1][1])])[:, 0]
        words.sort(key=lambda word: left[word[0] : word[0] + len(word[1])].min())
        placed, column = [], 0
        for start, word, _ in words:
            placed.append((start, word, column))
            column = self._next(column + self._width(word, max_width))
        return placed

    def _next(self, column):
        """Where the word after one that ends at *column* begins."""
        return -(-(column + self._gap) // self._side) * self._side

    def _word(self, word):
        return (self._measure_kept if len(word) <= KEPT_LENGTH else self._measure)(word)

    def _width(self, word, max_width):
        """The width of a word's box; if it is more than *max_width*, any number above that."""
        if max_width is None or len(word) <= KEPT_LENGTH:
            return self._word(word).width
        return self._raster.line(word, max_width).width  # measures no more than that takes

    def _measure(self, word):
        boxes = self._raster.boxes(word)
        pens = boxes[0].cumsum() - boxes[0]
        left = int((pens + boxes[1]).min())
        return _Word(boxes, left, int((pens + boxes[2]).max()) - left)

    def _draw(self, word, max_width):
        # The room of a pair's second text is seldom the same twice: what fits is kept without it.
        if len(word) <= KEPT_LENGTH and self._word(word).width <= max_width:
            return self._draw_kept(word)
        return self._raster.line(word, max_width)

    def _draw_whole(self, word):
        return self._raster.line(word, _WIDE)
