"""Text -> the strip of patches that the model sees.

A strip is ``patch_size`` pixels high. Text stands on it from left to right; a black patch, the separator, ends it.
There are three layouts: a text, a pair of texts, and single words that each start at a patch of their own. Texts have
one of two structures: continuous, or with every word at a patch of its own as well.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.rendering.backends import BACKENDS
from pixelgpt_fairseq.rendering.colors import Palette
from pixelgpt_fairseq.rendering.config import PATCH_SIZE, RendererConfig
from pixelgpt_fairseq.rendering.cutting import cut_text, pen_columns
from pixelgpt_fairseq.rendering.structured import StructuredRaster

MARGIN = 2  # pixels left and right of a text
SEPARATOR = 0  # black, whatever the colors of the text


class RenderedText(NamedTuple):
    """A strip, without the empty rest that would fill it up to ``max_patches``.

    Attributes:
        pixels: uint8 ``[patch_size, (num_text_patches + 1) * patch_size]``, 0 black, 255 white (in the render mode
            ``binary``, nothing between); in the mode ``rgb`` with a third axis of red, green and blue.
        num_text_patches: patches before the last separator, which is the patch of this index.
        separators: patch indices of the separators; two for a pair (equal where the first text fills the strip).
        word_starts: in the words layout, the patch index of every word's start and of the separator; else empty.
    """

    pixels: np.ndarray
    num_text_patches: int
    separators: list[int]
    word_starts: list[int]

    def patches(self) -> np.ndarray:
        """The strip as patches: uint8 ``[num_text_patches + 1, values]``.

        The values of a patch stand row by row, column by column, channels last: ``patch_size ** 2`` in all, in the mode
        ``rgb`` three times as many.
        """
        side, patches = len(self.pixels), self.num_text_patches + 1
        return self.pixels.reshape(side, patches, -1).swapaxes(0, 1).reshape(patches, -1)


class TextRenderer:
    """Draws texts: ``renderer("text")``, ``renderer(("first", "second"))`` or ``renderer(["single", "words"])``.

    Can be pickled, and used after a fork: every process draws glyphs for itself.

    Args:
        config: RendererConfig; None is the default one.

    Raises:
        UserError: if a font is missing, or not usable.
    """

    def __init__(self, config: RendererConfig | None = None):
        self.config = (config or RendererConfig()).located()
        self._raster = self._backend = BACKENDS[self.config.backend](self.config)
        self._is_structured = self.config.structure == "words"
        if self._is_structured:
            self._raster = StructuredRaster(self._backend, self.config, 2 * MARGIN)
        self._palette = Palette(self.config)
        self._patch = self.config.patch_size
        self._last = (self.config.max_patches - 1) * self._patch  # column of the last patch

    def __reduce__(self):
        return TextRenderer, (self.config,)

    def __call__(self, text: str | tuple[str, str] | Sequence[str]) -> RenderedText:
        """Draw a text, a pair (a tuple of two) or words (a list). What is wider than the strip is clipped.

        Raises:
            UserError: for a lone surrogate, a damaged glyph, or an empty list.
        """
        if isinstance(text, str):
            return self._text(text)
        if isinstance(text, tuple | list) and all(isinstance(part, str) for part in text):
            if isinstance(text, tuple) and len(text) == 2:
                return self._pair(*text)
            if isinstance(text, list) and text:
                return self._words(text)
        raise UserError("can render a string, a tuple of two strings or a list of words that is not empty")

    def cut(self, text: str) -> Iterator[tuple[int, int]]:
        """Cut a document of any length into pieces that each fit a strip: see :func:`cutting.cut_text`.

        Yields:
            tuple: start and end of each piece, in characters; a text that fits is one piece.

        Raises:
            UserError: for a surrogate.
        """
        return cut_text(text, self._last - 2 * MARGIN, self._raster.boxes)

    def pen_positions(self, text: str) -> np.ndarray:
        """Where each character of a line begins, and where the last one ends, if it reads from left to right.

        Returns:
            int64 ``[len(text) + 1]``: pixels from the left edge of the line, which stands at column ``MARGIN`` of its
            strip. The line is not clipped. The first can be a little above or below 0, where the first character's ink
            does not begin at the pen.

        Raises:
            UserError: for a surrogate.
        """
        return pen_columns(self._raster.boxes(text))

    def columns(self, text: str) -> np.ndarray:
        """Where each character of a line stands, whichever way it is written.

        Returns:
            int64 ``[len(text), 2]``: the first column and the one after the last, counted as in :meth:`pen_positions`.

        Raises:
            UserError: for a surrogate.
        """
        return self._raster.columns(text)

    def reads_left_to_right(self, text: str) -> bool:
        """Whether a line has its characters in the order of the text: true of every line that pygame draws."""
        return self._raster.reads_left_to_right(text)

    def _text(self, text):
        line = self._raster.line(text, self._last - MARGIN)
        end = self._next(MARGIN + line.width + MARGIN)
        pixels = self._paper(end)
        self._paste_line(pixels, line, MARGIN)
        return self._finish(pixels, [end])

    def _pair(self, first, second):
        first_line = self._raster.line(first, self._last - MARGIN)
        middle = self._next(MARGIN + first_line.width + MARGIN)
        start = middle + self._patch + MARGIN
        second_line = self._raster.line(second, max(0, self._last - start))
        end = self._next(start + second_line.width + MARGIN)
        pixels = self._paper(end)
        self._paste_line(pixels, first_line, MARGIN)
        self._paste_line(pixels, second_line, start)
        return self._finish(pixels, [middle, end])

    def _words(self, words):
        column, starts, placed = MARGIN, [0], []
        for i, word in enumerate(words):
            last = i == len(words) - 1
            line = self._backend.line(word if last else word + " ", self._last - column)
            placed.append((column, line))
            column = self._next(column + line.width + (MARGIN if last else 0))
            starts.append(column // self._patch)
            if column >= self._last:
                break
        pixels = self._paper(column)
        for left, line in placed:
            self._paste(pixels, line, self.config.pad_size + self._patch // 2 - line.top, left)
        return self._finish(pixels, [column], starts)

    def _next(self, column):
        """The first patch boundary that is not before *column*, at most that of the last patch."""
        return min(-(-column // self._patch) * self._patch, self._last)

    def _paper(self, end):
        """An empty strip that ends with the patch at column *end*."""
        return self._palette.paper(self._patch, end + self._patch)

    def _paste_line(self, pixels, line, column):
        """Put a line in the middle of the strip, as published; a structured one where its words always stand."""
        row = self._patch // 2 - len(line.coverage) // 2
        if self._is_structured:
            row = self._patch // 2 + self.config.pad_size * self._patch // PATCH_SIZE - line.top
        self._paste(pixels, line, row, column)

    def _paste(self, pixels, line, row, column):
        """Put *line* on the strip with the upper left corner of its box at *row*, *column*, clipped."""
        above, row, column = max(0, -row), max(0, row), column + line.left
        there = pixels[row : row + max(0, len(line.coverage) - above), column : column + line.coverage.shape[1]]
        shown = slice(above, above + there.shape[0]), slice(there.shape[1])
        self._palette.paint(there, line.coverage[shown], None if line.colors is None else line.colors[shown])

    def _finish(self, pixels, ends, word_starts=()):
        """Paint the separators at columns *ends*, the last of which ends the strip."""
        for end in ends:
            pixels[:, end : end + self._patch] = SEPARATOR
        separators = [end // self._patch for end in ends]
        return RenderedText(pixels, separators[-1], separators, list(word_starts))
