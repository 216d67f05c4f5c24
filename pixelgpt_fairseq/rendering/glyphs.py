"""The glyphs of single characters, each drawn once, in arrays from which lines are put together."""

from typing import NamedTuple

import numpy as np

from pixelgpt_fairseq.rendering.lines import code_points
from pixelgpt_fairseq.rendering.pygame_fonts import FontFace
from pixelgpt_fairseq.rendering.repertoire import Repertoire

_MAX_GLYPHS = 1 << 16
_CODE_POINTS = 0x110000


class Metrics(NamedTuple):
    """What a Glyph has, for many: int64 arrays of one shape; ``column`` is the first of its ink in the atlas."""

    advance: np.ndarray
    left: np.ndarray
    right: np.ndarray
    top: np.ndarray
    bottom: np.ndarray
    column: np.ndarray


class GlyphAtlas:
    """All glyphs met so far, in arrays: what a line needs is looked up for all of its characters at once.

    A character is drawn with the first font of the chain that has it and shows it; if none has, with the first font's
    own sign for what it lacks. Memory is bounded: see :meth:`trim`.

    Args:
        fonts: FontFile chain.
        size, dpi: see RendererConfig.

    Attributes:
        columns: coverage, uint8 ``[columns of all glyphs, top - bottom]``; the first column is empty.
        top, bottom: the rows that these columns show, counted as those of a Glyph.

    Raises:
        UserError: for a file that is not a usable font.
    """

    def __init__(self, fonts, size, dpi):
        self._faces = [FontFace(font.path, size, dpi) for font in fonts]
        self._repertoires = [Repertoire(font.path) for font in fonts]
        for face in self._faces:
            face.font()
        self._clear()

    def _clear(self):
        # Code point -> glyph; 0 is one not yet drawn. The operating system gives memory only for the parts in use.
        self._ids = np.zeros(_CODE_POINTS, dtype=np.int32)
        self._glyphs, self._used_columns = 1, 1
        self._metrics = np.zeros((len(Metrics._fields), 256), dtype=np.int64)
        self.columns = np.zeros((4096, 0), dtype=np.uint8)
        self.top = self.bottom = 0

    def trim(self):
        """Forget all glyphs if they have become too many; ids from before are void then."""
        if self._glyphs > _MAX_GLYPHS:
            self._clear()

    def ids(self, text: str) -> np.ndarray:
        """The glyphs of *text*: int32 ``[len(text)]``; those not seen before are drawn.

        Raises:
            UserError: for a surrogate, or a damaged glyph.
        """
        codes = code_points(text)
        ids = self._ids.take(codes)
        if not ids.all():
            for code in np.unique(codes[ids == 0]).tolist():
                self._ids[code] = self._add(self._draw(chr(code)))
            ids = self._ids.take(codes)
        return ids

    def metrics(self, ids: np.ndarray) -> Metrics:
        """Measures of glyphs: an int64 array like *ids* for each."""
        return Metrics(*self._metrics.take(ids, axis=1))

    def _draw(self, character):
        without_ink = None
        for face, repertoire in zip(self._faces, self._repertoires, strict=True):
            if face.has(character):
                glyph = face.draw(character)
                if (glyph.ink is not None and glyph.ink.any()) or repertoire.shows(character):
                    return glyph
                without_ink = without_ink or glyph
        # If no font shows it, it is as pygame alone would have it.
        return without_ink or self._faces[0].draw(character)

    def _add(self, glyph):
        """Take a glyph in; returns its id."""
        width = 0 if glyph.ink is None else glyph.ink.shape[1]
        top, bottom = max(self.top, glyph.top), min(self.bottom, glyph.bottom)
        end = self._used_columns + width
        if end > len(self.columns) or (top, bottom) != (self.top, self.bottom):
            columns = np.zeros((max(len(self.columns), 2 * end), top - bottom), dtype=np.uint8)
            columns[: len(self.columns), top - self.top : top - self.bottom] = self.columns
            self.columns, self.top, self.bottom = columns, top, bottom
        if width:
            self.columns[self._used_columns : end, top - glyph.top : top - glyph.bottom] = glyph.ink.T
        if self._glyphs == self._metrics.shape[1]:
            self._metrics = np.concatenate([self._metrics, np.zeros_like(self._metrics)], axis=1)
        self._metrics[:, self._glyphs] = (*glyph[:5], self._used_columns)
        self._used_columns = end
        self._glyphs += 1
        return self._glyphs - 1
