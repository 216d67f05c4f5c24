"""A font as Pillow draws with it: shaped by Raqm, and in color where it has colors."""

import math
import os
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont, features

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.rendering.bidi import INSTALL_FRIBIDI
from pixelgpt_fairseq.rendering.font_tables import color_formats, is_cut_short
from pixelgpt_fairseq.rendering.pygame_fonts import pygame_freetype

# A glyph's ink may be so far, in pixels, beyond the room that it asks for; else it gets more room.
OVERHANG = 1
_MOST_PIXELS = 1 << 26  # of the picture of a word
_DRAWING_ERRORS = (OSError, RuntimeError, ValueError, MemoryError, Image.DecompressionBombError)
_OVERRIDES = {"ltr": "\u202d", "rtl": "\u202e"}
_END_OF_OVERRIDE = "\u202c"


class Drawing(NamedTuple):
    """A shaped text. Columns count rightwards from the left end of its room, rows upwards from the baseline.

    Attributes:
        advance: the room it takes on a line, in pixels.
        left, top: the first column of its ink, and the row above its ink.
        coverage: uint8 ``[rows, columns]`` of its ink, 0 to 255.
        colors: uint8 ``[rows, columns, 3]``, or None where the ink has the text's color.
    """

    advance: int
    left: int
    top: int
    coverage: np.ndarray
    colors: np.ndarray | None


class PillowFont:
    """A font file at one size.

    Args:
        path: of the font.
        size: pixels per em.

    Raises:
        UserError: if the file is not a font that can be drawn at this size, or Pillow lacks Raqm.
    """

    def __init__(self, path, size):
        if not features.check("raqm"):
            raise UserError(
                "the pillow backend needs Raqm, which Pillow has where the FriBiDi library is: install it "
                f"({INSTALL_FRIBIDI}), or choose --renderer-backend pygame"
            )
        self._path, self._size = path, size
        self._font = self._unshaped = self._process = None
        self.has_colors = False
        self._scale = 1.0  # of the size asked for to that of the bitmaps in a font without outlines
        self._opened()

    def _opened(self):
        # After a fork, parent and child would read the file through one shared position: each opens its own.
        if self._process == os.getpid():
            return self._font
        try:
            if is_cut_short(self._path):
                raise UserError(f"{self._path}: this font file is cut short: fetch it again")
            self.has_colors = bool(color_formats(self._path))
            drawn_at = _bitmap_size(self._path, self._size) or self._size
            self._scale = self._size / drawn_at
            self._font = ImageFont.truetype(str(self._path), drawn_at, layout_engine=ImageFont.Layout.RAQM)
            self._font.getlength(" ")
            self._unshaped = None
        except (OSError, RuntimeError, ValueError, OverflowError) as error:
            raise UserError(f"{self._path}: cannot draw with this font at {self._size:.1f} pixels: {error}") from None
        self._process = os.getpid()
        return self._font

    def length(self, text: str, direction: str) -> float:
        """How far *text* moves the pen, in pixels.

        Raises:
            UserError: if a glyph is damaged.
        """
        try:
            return self._opened().getlength(text, direction=direction) * self._scale
        except _DRAWING_ERRORS as error:
            raise self._cannot_draw(text, error) from None

    def has_ink(self, character: str) -> bool:
        """Whether the glyph of *character* alone, not shaped, has ink: twenty times cheaper than drawing it.

        Raises:
            UserError: if the glyph is damaged.
        """
        try:
            font = self._opened()
            if self._unshaped is None:
                self._unshaped = font.font_variant(layout_engine=ImageFont.Layout.BASIC)
            return self._unshaped.getmask(character, "RGBA" if self.has_colors else "L").getbbox() is not None
        except _DRAWING_ERRORS as error:
            raise self._cannot_draw(character, error) from None

    def draw(self, text: str, direction: str, override: bool = False) -> Drawing:
        """Shape and draw *text*.

        Args:
            text: not empty.
            direction: ``ltr`` or ``rtl``.
            override: every character has this direction, whatever its own.

        Raises:
            UserError: if a glyph is damaged.
        """
        advance = self.length(text, direction)
        if override:
            text = _OVERRIDES[direction] + text + _END_OF_OVERRIDE
        try:
            left, top, ink = self._ink(text, direction, advance)
        except _DRAWING_ERRORS as error:
            raise self._cannot_draw(text, error) from None
        # Words a little too close would be one: of a blank, no part of a pixel is lost.
        advance = max(0, math.ceil(advance) if text.isspace() else round(advance))
        # Room for what is too far out: no neighbor, margin or separator may cover it.
        shift = -left if left < -OVERHANG else 0
        beyond = left + ink.shape[1] - advance
        advance += shift + (beyond if beyond > OVERHANG else 0)
        if ink.ndim == 3:
            return Drawing(advance, left + shift, top, ink[..., 3], ink[..., :3])
        return Drawing(advance, left + shift, top, ink, None)

    def _ink(self, text, direction, advance):
        """First column, top row and the ink itself, uint8 ``[rows, columns, 1]`` or ``[rows, columns, 4]``."""
        font, em = self._opened(), math.ceil(self._size / self._scale)
        # Wide enough for nearly every text, at half the cost of asking how wide it is.
        box = -em, -2 * em, math.ceil(advance / self._scale) + em, em
        picture = self._picture(font, text, direction, box)
        ink = picture.getbbox()
        if ink and (0 in ink[:2] or ink[2] == picture.width or ink[3] == picture.height):
            left, top, right, bottom = font.getbbox(text, anchor="ls", direction=direction)
            box = math.floor(left) - em, math.floor(top) - em, math.ceil(right) + em, math.ceil(bottom) + em
            picture = self._picture(font, text, direction, box)
        left, top = box[:2]
        if self._scale != 1:
            size = [max(1, round(length * self._scale)) for length in picture.size]
            picture = picture.resize(size, Image.Resampling.BOX if self._scale < 0.5 else Image.Resampling.BICUBIC)
            left, top = round(left * self._scale), round(top * self._scale)
        ink = picture.getbbox()
        pixels = np.asarray(picture.crop(ink)) if ink else np.zeros((0, 0), dtype=np.uint8)
        return (left + ink[0], -top - ink[1], pixels) if ink else (0, 0, pixels)

    def _picture(self, font, text, direction, box):
        """*text* on a picture that shows the columns and rows of *box*: gray, or RGBA in a font with colors."""
        size, origin = (box[2] - box[0], box[3] - box[1]), (-box[0], -box[1])
        if size[0] * size[1] > _MOST_PIXELS:
            raise ValueError(f"it would take {size[0]:,} x {size[1]:,} pixels: is the font damaged?")
        if not self.has_colors:
            picture = Image.new("L", size)
            ImageDraw.Draw(picture).text(origin, text, 255, font, "ls", direction=direction)
            return picture
        picture = Image.new("RGBA", size)
        draw = ImageDraw.Draw(picture)
        draw.text(origin, text, (0, 0, 0, 255), font, "ls", direction=direction, embedded_color=True)
        # On nothing, Pillow draws colors multiplied by their coverage.
        return Image.frombytes("RGBa", size, picture.tobytes()).convert("RGBA")

    def _cannot_draw(self, text, error):
        codes = " ".join(f"U+{ord(character):04X}" for character in text[:4])
        return UserError(f"{self._path}: cannot draw {codes}{' ...' if len(text) > 4 else ''}: {error}")


def _bitmap_size(path, size):
    """Pixels per em of the bitmaps to draw with, of a font that has no outlines; None if it has."""
    font = pygame_freetype().Font(str(path))  # which alone tells
    if font.scalable:
        return None
    sizes = sorted(vertical for *_, vertical in font.get_sizes())
    return next((bitmaps for bitmaps in sizes if bitmaps >= size), sizes[-1])
