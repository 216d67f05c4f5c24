"""A font as ``pygame.freetype`` draws single characters with it.

pygame is only ever asked to draw one character, or it and itself again: a Font that has drawn a long line takes time in
proportion to it for everything it draws later, and lines above 131,072 pixels come out wrong.
"""

import functools
import os
from typing import NamedTuple

import numpy as np

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.rendering.font_tables import color_formats, is_cut_short
from pixelgpt_fairseq.storage.files import file_version

_ANY_SIZE = 16


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


class FontFace:
    """A font file opened at one size, in whatever process it is used.

    Args:
        path: of the font.
        size, dpi: see RendererConfig. Without them, the font cannot be drawn with, only asked what it has; and it may
            be one of bitmaps alone, which has no size but its own.
    """

    def __init__(self, path, size=None, dpi=72):
        self._path, self._size, self._dpi = str(path), size, dpi
        self._font = self._process = None

    def font(self):
        """The ``pygame.freetype.Font``.

        Raises:
            UserError: if the file is not a font that can be drawn at this size.
        """
        # After a fork, parent and child would read the file through one shared position: each opens its own.
        if self._process != os.getpid():
            self._process = os.getpid()
            self._font = _open(self._path, self._size, self._dpi, self._process, file_version(self._path))
        return self._font

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


@functools.lru_cache(maxsize=16)
def _open(path, size, dpi, process, version):
    """The font, opened once for all that draw with it in *process*, which takes milliseconds."""
    freetype = pygame_freetype()
    try:
        if is_cut_short(path):
            raise UserError(f"{path}: this font file is cut short: fetch it again")
        if size is None:
            font = freetype.Font(path)
            font.size = _ANY_SIZE if font.scalable else font.size
            return font
        font = freetype.Font(path, size, resolution=dpi)
        font.style = freetype.STYLE_NORMAL
        font.render(" ", (0, 0, 0))
    except (OSError, RuntimeError, ValueError, OverflowError) as error:
        at_size = "" if size is None else f" at size {size}"
        advice = ": colors need --renderer-backend pillow" if color_formats(path) else ""
        raise UserError(f"{path}: cannot draw with this font{at_size}: {error}{advice}") from None
    return font


def pygame_freetype():
    """``pygame.freetype``, ready; imported late and quietly, without pygame's video."""
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    import pygame.freetype
    import pygame.surfarray

    if not pygame.freetype.get_init():
        pygame.freetype.init()
    return pygame.freetype
