"""Single characters as ``pygame.freetype`` draws them.

pygame is only ever asked to draw one character, or it and itself again: a Font that has drawn a long line takes time in
proportion to it for everything it draws later, and lines above 131,072 pixels come out wrong.
"""

import os
from typing import NamedTuple

import numpy as np

from pixelgpt_fairseq.errors import UserError

_MAX_GLYPHS = 1 << 16
_CODE_POINTS = 0x110000


class Shape(NamedTuple):
    """A character or a run of characters: the room it takes on a line, and its ink.

    Columns count rightwards from the pen at its start, rows upwards from the baseline; all in pixels. The box holds the
    ink and, of a character without ink, the place of the pen.

    Attributes:
        advance: how far it moves the pen.
        left, right, top, bottom: the box: its first column and the one after its last, the same of its rows.
        ink: coverage, uint8 [top - bottom, right - left], or None.
        text: what is drawn.
    """

    advance: int
    left: int
    right: int
    top: int
    bottom: int
    ink: np.ndarray | None
    text: str


class FontFace:
    """A font file opened at one size, in whatever process it is used."""

    def __init__(self, path, size, dpi):
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
        freetype = _freetype()
        try:
            font = freetype.Font(str(self._path), self._size, resolution=self._dpi)
            font.style = freetype.STYLE_NORMAL
            font.render(" ", (0, 0, 0))
        except (OSError, RuntimeError, ValueError, OverflowError) as error:
            raise UserError(f"{self._path}: cannot draw with this font at size {self._size}: {error}") from None
        return font

    def has(self, character: str) -> bool:
        """Whether the font has a glyph for *character*."""
        try:
            return self.font().get_metrics(character)[0] is not None
        except RuntimeError:  # it has one, and cannot load it: let drawing it tell
            return True

    def draw(self, character: str) -> Shape:
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
            return Shape(advance, left, left, top, top, None, character)
        ink = np.ascontiguousarray(pygame.surfarray.array_alpha(surface).T)
        return Shape(advance, left, left + box.width, top, top - box.height, ink, character)


def _freetype():
    """``pygame.freetype``, ready; imported late and quietly, without pygame's video."""
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    import pygame.freetype
    import pygame.surfarray

    if not pygame.freetype.get_init():
        pygame.freetype.init()
    return pygame.freetype


class GlyphTable(dict):
    """Character -> Shape, drawn with the first font of a chain that has it, else with the first font of all.

    Bounded: when full, it starts afresh. Surrogates must not come here.

    Args:
        fonts: FontFile chain.
        size, dpi: see RendererConfig.

    Raises:
        UserError: for a file that is not a usable font.
    """

    def __init__(self, fonts, size, dpi):
        super().__init__()
        self.faces = [FontFace(font.path, size, dpi) for font in fonts]
        for face in self.faces:
            face.font()
        # One column for each code point; the operating system gives memory only to the parts in use.
        self._known = np.zeros(_CODE_POINTS, dtype=bool)
        self._metrics = np.zeros((_CODE_POINTS, 3), dtype=np.int16)

    def __missing__(self, character):
        face = next((face for face in self.faces if face.has(character)), self.faces[0])
        if len(self) >= _MAX_GLYPHS:
            self.clear()
        shape = self[character] = face.draw(character)
        return shape

    def metrics(self, text: str) -> np.ndarray:
        """Advance, left and right of every character's box: int16 ``[len(text), 3]``, in pixels.

        Raises:
            UserError: for a surrogate.
        """
        try:
            codes = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
        except UnicodeEncodeError as error:
            raise UserError(f"U+{ord(text[error.start]):04X} (a surrogate) is not a character of its own") from None
        for code in np.unique(codes[~self._known[codes]]):
            shape = self[chr(code)]
            self._metrics[code] = shape.advance, shape.left, shape.right
            self._known[code] = True
        return self._metrics[codes]
