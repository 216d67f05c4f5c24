"""Single characters as ``pygame.freetype`` draws them, each drawn once.

pygame is only ever asked to draw one character, or it and itself again: a Font that has drawn a long line takes time in
proportion to it for everything it draws later, and lines above 131,072 pixels come out wrong.
"""

import os
from typing import NamedTuple

import numpy as np

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.rendering.fonts import has_colours, is_cut_short
from pixelgpt_fairseq.rendering.lines import code_points

_ANY_SIZE = 16
_MAX_GLYPHS = 1 << 16
_CODE_POINTS = 0x110000


class Glyph(NamedTuple):
    """A character: the room it takes on a line, and its ink.

    Columns count rightwards from the pen, rows upwards from the baseline; all in pixels. The box holds the ink or,
    where there is none, the place of the pen.

    Attributes:
        advance: how far it moves the pen.
        left, right, top, bottom: the box: its first column and the one after its last, the same of its rows.
        ink: coverage, uint8 [top - bottom, right - left], or None.
    """

    advance: int
    left: int
    right: int
    top: int
    bottom: int
    ink: np.ndarray | None


class Metrics(NamedTuple):
    """What a Glyph has, for many: int64 arrays of one shape; ``column`` is the first of its ink in the atlas."""

    advance: np.ndarray
    left: np.ndarray
    right: np.ndarray
    top: np.ndarray
    bottom: np.ndarray
    column: np.ndarray


class FontFace:
    """A font file opened at one size, in whatever process it is used.

    Args:
        path: of the font.
        size, dpi: see RendererConfig. Without them, the font cannot be drawn with, only asked what it has; and it may
            be one of bitmaps alone, which has no size but its own.
    """

    def __init__(self, path, size=None, dpi=72):
        self._path, self._size, self._dpi = path, size, dpi
        self._font = self._process = None

    def font(self):
        """The ``pygame.freetype.Font``.

        Raises:
            UserError: if the file is not a font that can be drawn at this size.
        """
        # After a fork, parent and child would read the file through one shared position: each opens its own.
        if self._process != os.getpid():
            self._font, self._process = self._open(), os.getpid()
        return self._font

    def _open(self):
        freetype = pygame_freetype()
        try:
            if is_cut_short(self._path):
                raise UserError(f"{self._path}: this font file is cut short: fetch it again")
            if self._size is None:
                font = freetype.Font(str(self._path))
                font.size = _ANY_SIZE if font.scalable else font.size
                return font
            font = freetype.Font(str(self._path), self._size, resolution=self._dpi)
            font.style = freetype.STYLE_NORMAL
            font.render(" ", (0, 0, 0))
        except (OSError, RuntimeError, ValueError, OverflowError) as error:
            at_size = "" if self._size is None else f" at size {self._size}"
            advice = ": colours need --renderer-backend pillow" if has_colours(self._path) else ""
            raise UserError(f"{self._path}: cannot draw with this font{at_size}: {error}{advice}") from None
        return font

    def has(self, character: str) -> bool:
        """Whether the font has a glyph for *character*."""
        try:
            return self.font().get_metrics(character)[0] is not None
        except RuntimeError:  # it has one, and cannot load it: let drawing it tell
            return True

    def has_outlines(self) -> bool:
        """Whether the font can be drawn at any size; one of bitmaps alone cannot."""
        return bool(self.font().scalable)

    def draw(self, character: str) -> Glyph:
        """Draw *character*; one that the font lacks becomes the font's own sign for that.

        Raises:
            UserError: if the glyph is damaged.
        """
        import pygame

        try:
            surface, box = self.font().render(character, (0, 0, 0))
            advance = self.font().get_rect(2 * character).width - box.width
        except RuntimeError as error:
            raise UserError(f"{self._path}: cannot draw U+{ord(character):04X}: {error}") from None
        left, top = box.x, box.y
        if not box.height:  # the rectangle of a lone blank shows its advance, but within a line it takes no width
            return Glyph(advance, left, left, top, top, None)
        ink = np.ascontiguousarray(pygame.surfarray.array_alpha(surface).T)
        return Glyph(advance, left, left + box.width, top, top - box.height, ink)


def pygame_freetype():
    """``pygame.freetype``, ready; imported late and quietly, without pygame's video."""
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    import pygame.freetype
    import pygame.surfarray

    if not pygame.freetype.get_init():
        pygame.freetype.init()
    return pygame.freetype


class GlyphAtlas:
    """All glyphs met so far, in arrays: what a line needs is looked up for all of its characters at once.

    A character is drawn with the first font of the chain that has it; if none has, with the first font's own sign for
    what it lacks. Memory is bounded: see :meth:`trim`.

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
        return next((face for face in self._faces if face.has(character)), self._faces[0]).draw(character)

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
