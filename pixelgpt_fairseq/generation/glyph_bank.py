"""The shapes of which a strip of text can consist: the glyphs of an alphabet as arrays, without duplicates."""

import functools
import unicodedata
from typing import NamedTuple

import numpy as np

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.generation.spelling import preference, rarity
from pixelgpt_fairseq.rendering.colors import Palette
from pixelgpt_fairseq.rendering.glyphs import GlyphAtlas
from pixelgpt_fairseq.rendering.repertoire import Repertoire

# Without an alphabet, characters are looked for in three steps: first those that most languages in the Latin, Greek and
# Cyrillic scripts need; then all of these scripts, kana and the common ideographs; then everything that the fonts have.
_COMMON = ((0x20, 0x17F), (0x218, 0x21B), (0x370, 0x3FF), (0x400, 0x45F), (0x490, 0x491), (0x1EA0, 0x1EF9))
_COMMON_SIGNS = "–—‘’‚“”„†‡•…‰′″‹›€₽№™−"
_EAST_ASIAN = ((0x180, 0x24F), (0x460, 0x52F), (0x2000, 0x206F), (0x20A0, 0x20CF), (0x2100, 0x22FF), (0x3000, 0x30FF))
_IDEOGRAPHS = ((0x4E00, 0x9FFF), (0xFF00, 0xFFEF))
_ALL = ((0x20, 0x3FFFF),)
_STEPS = (_COMMON, (*_COMMON, *_EAST_ASIAN, *_IDEOGRAPHS), _ALL)
STEPS = len(_STEPS)
_UNREADABLE = (
    "Cc",
    "Cf",
    "Cn",
    "Co",
    "Cs",
    "Zl",
    "Zp",
)  # Unicode categories of characters without a shape of their own
_BLANKS = " \u3000"  # other blank characters look like one of these or like several in a row

_MAX_WIDTH = 64  # pixels; no letter is wider
# Shapes whose ink is at most so wide share an array.
_BUCKETS = (4, 8, 12, 16, 24, 40, _MAX_WIDTH)


class Bucket(NamedTuple):
    """Shapes of similar width.

    Attributes:
        first: number of the first shape; the others follow.
        coverage: uint8 ``[shapes, columns, rows of the atlas]``.
    """

    first: int
    coverage: np.ndarray


class GlyphBank:
    """The different shapes of an alphabet's glyphs; those of similar width follow each other.

    Args:
        config: RendererConfig with its fonts located, of the backend ``pygame``.
        characters: the alphabet.
        ink: uint8 ``[256]``: how dark each value of coverage looks, from 0 (background) to 255; not decreasing.

    Attributes:
        characters: for each shape a string of the characters that have it, the preferred one first.
        advances, lefts, widths: int64 ``[shapes]``: how far the pen moves, the first column of the ink (counted from
            the pen), and the number of columns with ink.
        ranks: int64 ``[shapes]``: see :func:`~pixelgpt_fairseq.generation.spelling.rarity`.
        blanks: characters without ink, and their advances.
        ink: as given.
        rows: height of a strip.

    Raises:
        UserError: if the fonts have none of the characters.
    """

    def __init__(self, config, characters: str, ink: np.ndarray):
        self.ink, self.rows = ink, config.patch_size
        atlas = GlyphAtlas(config.fonts, config.font_size, config.dpi)
        characters = _shown(config, characters)
        metrics = atlas.metrics(atlas.ids(characters))
        self._top = atlas.top
        shapes, self.blanks = {}, {}
        for number, character in enumerate(characters):
            advance, left, right, column = (
                int(values[number]) for values in (metrics.advance, metrics.left, metrics.right, metrics.column)
            )
            coverage = atlas.columns[column : column + right - left]
            inked = np.flatnonzero(ink[coverage].any(axis=1))
            if not inked.size:
                if character in _BLANKS:
                    self.blanks.setdefault(character, advance)
                continue
            first, last = int(inked[0]), int(inked[-1]) + 1
            if advance < 0 or last - first > _MAX_WIDTH:
                continue
            coverage = coverage[first:last]
            key = advance, left + first, ink[coverage].tobytes()
            shapes.setdefault(key, (advance, left + first, coverage, []))[3].append(character)
        if not shapes:
            raise UserError("alphabet: the fonts have none of its characters")
        self._arrange(list(shapes.values()))

    def _arrange(self, shapes):
        shapes.sort(key=lambda shape: len(shape[2]))
        self.advances, self.lefts, self.widths = (
            np.array([value(shape) for shape in shapes], dtype=np.int64)
            for value in (lambda s: s[0], lambda s: s[1], lambda s: len(s[2]))
        )
        self.characters = ["".join(sorted(shape[3], key=preference)) for shape in shapes]
        self.ranks = np.array([rarity(each[0]) for each in self.characters])
        self.buckets, first = [], 0
        for limit in _BUCKETS:
            end = int(np.searchsorted(self.widths, limit, side="right"))
            if end > first:
                coverage = np.zeros((end - first, limit, shapes[0][2].shape[1]), dtype=np.uint8)
                for row, shape in zip(coverage, shapes[first:end], strict=True):
                    row[: len(shape[2])] = shape[2]
                self.buckets.append(Bucket(first, coverage))
            first = end
        self.at_baseline = functools.cache(self._at_baseline)
        self.matching_arrays = {}  # what glyph_matching computes once for each baseline

    def _at_baseline(self, baseline: int) -> list[Bucket]:
        """The buckets with their coverage cut to the rows of a strip whose letters stand above row *baseline*."""
        first = self._top - baseline  # the row of the atlas at which the strip begins
        before = max(0, -first)
        placed = []
        for bucket in self.buckets:
            seen = bucket.coverage[:, :, max(0, first) : max(0, first + self.rows)]
            coverage = np.zeros((*bucket.coverage.shape[:2], self.rows), dtype=np.uint8)
            coverage[:, :, before : before + seen.shape[2]] = seen
            placed.append(Bucket(bucket.first, coverage))
        return placed


def strip_ink(pixels: np.ndarray, config) -> np.ndarray:
    """How dark each pixel of a strip is, whatever its colors: uint8 ``[rows, columns]``, 0 background, 255 text.

    Args:
        pixels: uint8 ``[rows, columns]`` or ``[rows, columns, 3]``.
        config: RendererConfig.
    """
    shades = Palette(config).shades
    if pixels.ndim == 3 and shades.ndim == 1:
        pixels = pixels.mean(axis=2)
    elif pixels.ndim == 2 and shades.ndim == 2:
        pixels = pixels[..., None].repeat(3, axis=2)
    return _between(pixels, shades)


def coverage_ink(config, black_and_white: bool) -> np.ndarray:
    """How dark each coverage looks on strips of *config*: uint8 ``[256]``.

    Args:
        config: RendererConfig.
        black_and_white: whether the strip has no shades of gray, as with the render mode ``binary``.
    """
    shades = Palette(config).shades
    ink = _between(shades, shades)
    return np.where(ink > 127, 255, 0).astype(np.uint8) if black_and_white else ink


def _between(colors, shades):
    """How far colors are from the background's toward the text's: 0 (background) to 255 (text)."""
    paper, text = shades[0].astype(float), shades[255].astype(float)
    span = np.atleast_1d(text - paper)
    length = float((span * span).sum())
    if not length:
        raise UserError("background_color and font_color are the same: there is nothing to read")
    offsets = colors - paper if paper.ndim else (colors - paper)[..., None]
    return (offsets @ span * (255 / length)).round().clip(0, 255).astype(np.uint8)


def step_alphabet(step: int) -> str:
    """The characters of a step of the default alphabet, 0 to ``STEPS - 1``."""
    codes = {code for first, last in _STEPS[step] for code in range(first, last + 1)} | set(map(ord, _COMMON_SIGNS))
    characters = (chr(code) for code in sorted(codes))
    if step < STEPS - 1:  # Combining marks are left to the last step: they would explain any noise above a letter.
        characters = (each for each in characters if unicodedata.category(each)[0] != "M")
    return "".join(characters)


@functools.lru_cache(maxsize=16)
def glyph_bank(config, characters: str | int, black_and_white: bool) -> GlyphBank:
    """The bank of an alphabet, or of a step of the default one. The most recent banks stay in memory."""
    if isinstance(characters, int):
        characters = step_alphabet(characters)
    return GlyphBank(config, characters, coverage_ink(config, black_and_white))


def look_alikes(config, alphabet: str | None = None) -> list[str]:
    """Groups of characters that the fonts draw alike, so that no reader can tell one from another.

    Args:
        config: RendererConfig, of the backend ``pygame``.
        alphabet: characters; None is the first step of the default alphabet (Latin, Greek, Cyrillic).

    Returns:
        list: strings of two characters or more. The first of each is read if its neighbors do not decide.

    Raises:
        UserError: if a font is missing.
    """
    bank = glyph_bank(config.located(), 0 if alphabet is None else alphabet, config.render_mode == "binary")
    return sorted(group for group in bank.characters if len(group) > 1)


def _shown(config, characters):
    """Those of *characters* that a font of the chain has. A font draws all others as the same placeholder."""
    repertoires = [Repertoire(font.path) for font in config.fonts]
    return "".join(
        character
        for character in dict.fromkeys(characters)
        if unicodedata.category(character) not in _UNREADABLE
        and any(repertoire.has(character) for repertoire in repertoires)
    )
