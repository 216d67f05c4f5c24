"""Lines of text exactly as ``pygame.freetype`` draws them, at many times its speed.

pygame lays out a line without kerning: every character's glyph is the same bitmap wherever it stands, the pen moves by
whole pixels, and where two glyphs overlap their coverage combines, in the order of the text. So a line can be put
together from glyphs drawn once, and from runs of glyphs (words) put together once.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.rendering.glyphs import GlyphTable, Shape

_MAX_RUNS = 1 << 15
_CHUNK = 256  # characters that are looked at together before asking whether the line is long enough

# A text falls into runs that are likely to come again. Any cut is right, this one is fast: East Asian characters one by
# one, Thai and Lao syllables' letters with their marks, short groups of digits, else words with the space after them.
_RUNS = re.compile(
    r"[\u2e80-\ud7ff\uf900-\ufaff\ufe30-\uffef\U00020000-\U0003ffff]"
    r"|[\u0e00-\u0eff][\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ecd]*"
    r"|[0-9]{1,3} ?"
    r"|[^ 0-9\u0e00-\u0eff\u2e80-\ud7ff\uf900-\ufaff\ufe30-\uffef\U00020000-\U0003ffff]{1,32} ?"
    r"| ",
    re.DOTALL,
)
_SURROGATE = re.compile("[\ud800-\udfff]")


class Line(NamedTuple):
    """A drawn line.

    Attributes:
        coverage: uint8 [height, at most width]: 0 is background, 255 ink. Columns beyond the asked limit are left out.
        width: of the box of the whole line; of a line cut short, at least more than the limit.
        top: rows from the baseline up to the first row.
    """

    coverage: np.ndarray
    width: int
    top: int


class PygameRaster:
    """Draws lines with a chain of fonts.

    Args:
        config: RendererConfig with its fonts located.

    Raises:
        UserError: for a file that is not a usable font.
    """

    def __init__(self, config):
        self.glyphs = GlyphTable(config.fonts, config.font_size, config.dpi)
        self._runs = _RunTable(self.glyphs)

    def line(self, text: str, max_width: int) -> Line:
        """Draw *text* up to *max_width* pixels.

        The box, and with it the height and top, is that of the whole text. The cost is that of what is drawn, and a
        look at which characters the rest consists of.

        Raises:
            UserError: for a lone surrogate, or a damaged glyph.
        """
        text = _without_surrogate_pairs(text)
        if not text:
            return Line(np.zeros((0, 0), dtype=np.uint8), 0, 0)
        shapes = self._shapes(text, max_width)
        advance, left, right, top, bottom = _box(shapes)
        if self.glyphs[text[-1]].ink is None:  # a blank reaches to the pen only at the end of a line
            right = max(right, advance)
        drawn_width = max(0, min(right - left, max_width))
        return Line(self._draw(shapes, left, top, drawn_width, top - bottom), right - left, top)

    def _shapes(self, text, max_width):
        """Runs that make up *text*, the last of which may stand for all that lies beyond *max_width*."""
        shapes, rest, advance = [], None, 0
        for start in range(0, len(text), _CHUNK):
            if advance > max_width:
                # What comes now is out of sight, unless it reaches back, but tall characters there move the row.
                if rest is None:
                    rest = _rest(map(self.glyphs.__getitem__, set(text[start:])))
                if advance + rest.left > max_width + shapes[0].left:
                    shapes.append(rest)
                    break
            chunk = [self._runs[run] for run in _RUNS.findall(text, start, start + _CHUNK)]
            advance += sum(shape.advance for shape in chunk)
            shapes += chunk
        return shapes

    def _draw(self, shapes, left, top, width, height):
        """Put runs side by side: uint8 ``[height, width]``."""
        # The last run in sight may stick out: it gets its room, which is cut off afterwards.
        room = max(shape.right - shape.left for shape in shapes)
        canvas = np.zeros((height, width + room), dtype=np.uint8)
        _paste(canvas, shapes, self.glyphs, pen=-left, top=top, width=width)
        return canvas[:, :width]


class _RunTable(dict):
    """Run of characters -> Shape. Bounded: runs that were not seen for long are forgotten."""

    def __init__(self, glyphs):
        super().__init__()
        self._glyphs = glyphs
        self._old = {}

    def __missing__(self, text):
        if len(self) >= _MAX_RUNS // 2:
            self._old = dict(self)
            self.clear()
        shape = self[text] = self._old.get(text) or self._compose(text)
        return shape

    def _compose(self, text):
        glyphs = [self._glyphs[character] for character in text]
        if len(glyphs) == 1:
            return glyphs[0]
        advance, left, right, top, bottom = _box(glyphs)
        ink = None
        if any(glyph.ink is not None for glyph in glyphs):
            ink = np.zeros((top - bottom, right - left), dtype=np.uint8)
            _paste(ink, glyphs, self._glyphs, pen=-left, top=top, width=right - left)
        return Shape(advance, left, right, top, bottom, ink, text)


def _paste(canvas, shapes, glyphs, pen, top, width, inked=0):
    """Add *shapes* to *canvas*, one after the other.

    Args:
        canvas: uint8 ``[rows, columns]`` of coverage.
        shapes: Shapes in the order of the text.
        glyphs: GlyphTable.
        pen: the column at which the first of them begins.
        top: rows from the canvas' first down to the baseline.
        width: shapes that begin beyond this column are left out.
        inked: columns from here on are empty.
    """
    for shape in shapes:
        ink = shape.ink
        if ink is not None:
            column, row = pen + shape.left, top - shape.top
            rows, columns = ink.shape
            if column >= inked:
                if column < width:
                    canvas[row : row + rows, column : column + columns] = ink
            elif len(shape.text) > 1:
                # Combining is not associative to the last bit: go on glyph by glyph, as pygame does.
                _paste(canvas, map(glyphs.__getitem__, shape.text), glyphs, pen, top, width, inked)
            elif column < width:
                under = canvas[row : row + rows, column : column + columns]
                under += ink - (ink.astype(np.uint16) * under // 255).astype(np.uint8)
            inked = max(inked, column + columns)
        pen += shape.advance


def _box(shapes: Iterable[Shape]) -> tuple[int, int, int, int, int]:
    """Advance, left, right, top and bottom of shapes that follow each other."""
    pen = 0
    left = bottom = 1 << 60
    right = top = -left
    for advance, shape_left, shape_right, shape_top, shape_bottom, *_ in shapes:
        if pen + shape_left < left:
            left = pen + shape_left
        if pen + shape_right > right:
            right = pen + shape_right
        if shape_top > top:
            top = shape_top
        if shape_bottom < bottom:
            bottom = shape_bottom
        pen += advance
    return pen, left, right, top, bottom


def _rest(glyphs: Iterable[Shape]) -> Shape:
    """A stand-in for characters that are out of sight: how high, how deep and how far back they reach."""
    glyphs = list(glyphs)
    left, top, bottom = min(g.left for g in glyphs), max(g.top for g in glyphs), min(g.bottom for g in glyphs)
    return Shape(0, left, left, top, bottom, None, "")


def _without_surrogate_pairs(text):
    """*text* with surrogate pairs joined to the characters that they mean, as pygame does."""
    if text.isascii() or not _SURROGATE.search(text):
        return text
    try:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError:
        code = ord(_SURROGATE.search(text)[0])
        raise UserError(f"U+{code:04X} (half of a surrogate pair) in the text is not a character") from None
