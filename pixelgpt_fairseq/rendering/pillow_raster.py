"""Lines of text as Pillow draws them with Raqm: ligatures, marks in their places, right-to-left, emoji in color.

A line is made of units (:mod:`~pixelgpt_fairseq.rendering.units`), each shaped and drawn once and kept. They stand side
by side at whole pixels, so that a line is as wide as its units together, wherever it is cut.
"""

import functools
import unicodedata
from typing import NamedTuple

import numpy as np
import regex

from pixelgpt_fairseq.rendering.bidi import reads_left_to_right, visual_order
from pixelgpt_fairseq.rendering.lines import (
    CHARACTERS_PER_PIXEL,
    KEPT,
    KEPT_LENGTH,
    Line,
    code_points,
    joined,
    without_surrogate_pairs,
)
from pixelgpt_fairseq.rendering.pillow_fonts import OVERHANG, Drawing, PillowFont
from pixelgpt_fairseq.rendering.repertoire import Repertoire
from pixelgpt_fairseq.rendering.units import Unit, is_bidi_control, split_clusters, split_units, split_words

_POINTS_PER_INCH = 72

_EMOJI = regex.compile(r"\p{Emoji_Presentation}|\ufe0f")
_TEXT_STYLE = "\ufe0e"
_NOTHING = Drawing(0, 0, 0, np.zeros((0, 0), dtype=np.uint8), None)


class _Placed(NamedTuple):
    """A unit on a line: where its room begins, and whether it reads from right to left."""

    unit: Unit
    start: int  # of its characters, in the text
    column: int
    right_to_left: bool


class PillowRaster:
    """Draws lines with a chain of fonts.

    Args:
        config: RendererConfig with its fonts located.

    Raises:
        UserError: for a file that is not a usable font, or a Pillow without Raqm.
    """

    def __init__(self, config):
        size = config.font_size * config.dpi / _POINTS_PER_INCH
        self._fonts = [PillowFont(font.path, size) for font in config.fonts]
        self._repertoires = [Repertoire(font.path, config.backend) for font in config.fonts]
        self._font_rgb = config.font_rgb
        keep = functools.lru_cache(maxsize=KEPT)
        self._choose_font_kept, self._units_kept = keep(self._choose_font), keep(self._units_of_word)
        self._draw_kept, self._pens_kept = keep(self._draw), keep(self._pens)

    def boxes(self, text: str) -> np.ndarray:
        """Advance, left and right of every character's box, in pixels from its pen: int64 ``[3, len(text)]``.

        They are in the order of the text, whichever way it is written: a line is as wide either way.

        Raises:
            UserError: for a surrogate, or a damaged glyph.
        """
        code_points(text)
        pens = [np.diff(self._unit_pens(unit)) for unit in self._units(text)]
        advances = np.concatenate([np.zeros(0, dtype=np.int64), *pens])
        return np.stack([advances, np.zeros_like(advances), advances])

    def columns(self, text: str) -> np.ndarray:
        """Where each character of a line begins and ends, in columns from the line's left edge: int64 ``[length, 2]``.

        Raises:
            UserError: for a surrogate, or a damaged glyph.
        """
        code_points(text)
        columns = np.zeros((len(text), 2), dtype=np.int64)
        for unit, start, column, right_to_left in self._placed(list(self._units(text)), text)[0]:
            pens = self._unit_pens(unit)
            ends = np.stack([pens[:-1], pens[1:]], axis=1)
            ends = column + (pens[-1] - ends[:, ::-1] if right_to_left else ends)
            drawing = self._drawing(unit, right_to_left)
            if drawing.coverage.size:  # ink may reach out of the unit's room
                leftmost, rightmost = (len(ends) - 1, 0) if right_to_left else (0, len(ends) - 1)
                ink = column + drawing.left
                ends[leftmost, 0] = min(ends[leftmost, 0], ink)
                ends[rightmost, 1] = max(ends[rightmost, 1], ink + drawing.coverage.shape[1])
            columns[start : start + len(unit.text)] = ends
        return columns

    def reads_left_to_right(self, text: str) -> bool:
        """Whether the line has its characters in the order of the text."""
        return reads_left_to_right(text)

    def line(self, text: str, max_width: int) -> Line:
        """Draw *text* up to *max_width* pixels.

        Of a wider line the end is left out: what is at the right or, where the line begins at the right, at the left.

        Raises:
            UserError: for a lone surrogate, or a damaged glyph.
        """
        text = without_surrogate_pairs(text)[: CHARACTERS_PER_PIXEL * (max_width + 1)]
        code_points(text)
        units, length, width = [], 0, 0
        for unit in self._units(text):
            units.append(unit)
            length += len(unit.text)
            width += self._drawing(unit).advance
            if width > max_width:
                break
        placed, from_the_right = self._placed(units, text[:length])
        cut_at_left = max(0, width - max_width) if from_the_right else 0
        drawn = []
        for unit, _, column, right_to_left in placed:
            drawing = self._drawing(unit, right_to_left)
            if drawing.coverage.size:
                drawn.append((column + drawing.left - cut_at_left, drawing))
        first = 0 if cut_at_left else -OVERHANG
        return joined(drawn, width, first, min(width + OVERHANG, max_width), self._font_rgb)

    def _placed(self, units, text):
        """Units in the order of the line, and whether it begins at the right.

        Returns:
            (list of _Placed, bool)
        """
        starts = np.cumsum([0, *(len(unit.text) for unit in units)])[:-1].tolist()
        order, levels, from_the_right = range(len(units)), None, False
        if units and not reads_left_to_right(text):
            found = visual_order(text)
            levels, from_the_right = found.levels, found.right_to_left
            order = np.argsort(found.positions[starts], kind="stable").tolist()
        placed, column = [], 0
        for i in order:
            placed.append(_Placed(units[i], starts[i], column, levels is not None and bool(levels[starts[i]] & 1)))
            column += self._drawing(units[i]).advance
        return placed, from_the_right

    def _units(self, text):
        """The units of *text*, which together have its length."""
        for word in split_words(text):
            if word.isspace():
                # Tabs, ends of lines and the like are blanks, which fonts do not have.
                blank = " " if unicodedata.category(word) in ("Cc", "Zl", "Zp") else word
                yield Unit(blank, self._choose_font_kept(blank))
            elif len(word) <= KEPT_LENGTH:
                yield from self._units_kept(word)
            else:
                yield from split_units(word, self._choose_font_kept)

    def _units_of_word(self, word):
        return tuple(split_units(word, self._choose_font_kept))

    def _choose_font(self, cluster):
        """The number of the first font that shows all of *cluster*, else of the first that shows its base, else 0.

        For what is an emoji, or asked to look like one, fonts with colors come first.
        """
        numbers = range(len(self._fonts))
        as_emoji = bool(_EMOJI.search(cluster)) and _TEXT_STYLE not in cluster
        if as_emoji or _TEXT_STYLE in cluster:
            numbers = sorted(numbers, key=lambda number: self._fonts[number].has_colors != as_emoji)
        composed = unicodedata.normalize("NFC", cluster)
        for text in (cluster, composed, composed[0]):
            for number in numbers:
                repertoire = self._repertoires[number]
                if all(map(repertoire.has, _visible(text))) and repertoire.shows(text):
                    return number
        return 0

    def _drawing(self, unit, right_to_left=None):
        """The Drawing of a unit: in the direction that it has by itself, or in another."""
        if is_bidi_control(unit.text):
            return _NOTHING
        draw = self._draw_kept if len(unit.text) <= KEPT_LENGTH else self._draw
        if right_to_left is None or right_to_left == unit.right_to_left:
            return draw(unit, unit.right_to_left)
        # Others around it, or a control character, have given it this direction; its room stays the same.
        return draw(unit, right_to_left, override=True)

    def _draw(self, unit, right_to_left, override=False):
        return self._fonts[unit.font].draw(unit.text, _direction(right_to_left), override)

    def _unit_pens(self, unit):
        return self._pens_kept(unit) if len(unit.text) <= KEPT_LENGTH else self._pens(unit)

    def _pens(self, unit):
        """The pen before each character of a unit and after its last, from where it begins: int64 ``[length + 1]``."""
        advance = self._drawing(unit).advance
        font, direction = self._fonts[unit.font], _direction(unit.right_to_left)
        pens, position, last = np.zeros(len(unit.text) + 1, dtype=np.int64), 0, 0
        for cluster in split_clusters(unit.text):
            position += len(cluster)
            # The marks of a cluster stand where its base ends.
            reached = advance
            if position < len(unit.text):
                reached = min(advance, max(last, round(font.length(unit.text[:position], direction))))
            pens[position - len(cluster) + 1 : position + 1] = last = reached
        return pens


def _visible(cluster):
    """The characters of a cluster for which a font needs glyphs: no joiners, selectors of style, or tags."""
    return [character for character in cluster if not _is_ignorable(character)] or cluster[0]


def _is_ignorable(character):
    return unicodedata.category(character) == "Cf" or "\ufe00" <= character <= "\ufe0f"


def _direction(right_to_left):
    return "rtl" if right_to_left else "ltr"
