"""Which characters a font really has: those with a glyph that shows something.

Some fonts have glyphs without ink for characters that are to be seen: most often, because their ink is in colors of a
format that the backend does not draw.
"""

import functools
import logging
import multiprocessing

import numpy as np
import regex

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.rendering.font_tables import BITMAP_FORMATS, color_formats
from pixelgpt_fairseq.rendering.pillow_fonts import PillowFont
from pixelgpt_fairseq.rendering.pygame_fonts import FontFace

logger = logging.getLogger(__name__)

_PIXELS = 16  # per em: no glyph is lost at this size
_KEPT = 1 << 14
# What shows nothing, and is to show nothing: white space, what Unicode calls ignorable (joiners, fillers, selectors),
# signs that only join others, the blanks of Braille and of musical notation, the place of an object.
_BLANK = regex.compile(
    r"[\p{White_Space}\p{Default_Ignorable_Code_Point}\p{Cc}\p{Cf}\u2800\u2D7F\uFFFC\U0001D159"
    r"\p{InSC=Invisible_Stacker}\p{InSC=Number_Joiner}]"
)
_REGIONAL_INDICATORS = [chr(code) for code in range(0x1F1E6, 0x1F200)]
_SKIN_TONES = "\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff"
_KEYCAP = "\u20e3"


class Repertoire:
    """The characters of a font file that a backend draws with ink.

    Args:
        path: of the font.
        backend: ``pygame``, which draws characters one by one; or ``pillow``, which draws sequences as one.
    """

    def __init__(self, path, backend: str = "pygame"):
        self._path, self._backend = path, backend
        self._face = FontFace(path)
        self._font = None
        self.shows = functools.lru_cache(maxsize=_KEPT)(self._shows)
        self._has_ink = functools.lru_cache(maxsize=_KEPT)(self._character_has_ink)

    def has(self, character: str) -> bool:
        """Whether the font has a glyph for *character*, with or without ink.

        Raises:
            UserError: if the file is not a font.
        """
        return self._face.has(character)

    def has_visibly(self, character: str) -> bool:
        """Whether the font has *character*, alone or (pillow) in the sequences that it is there for, and shows it."""
        if not self.has(character):
            return False
        return self.shows(character) or any(
            self.has(others) and self.shows(sequence) for others, sequence in self._sequences(character)
        )

    def _shows(self, text):
        """Whether drawing *text* shows all that is to be seen of it; the font has its characters.

        Args:
            text: a character; with pillow, also several.
        """
        seen = [character for character in text if not _BLANK.match(character)]
        if not seen:
            return True
        try:
            if len(text) == 1:
                shown = self._has_ink(text)
            else:
                drawn = self._draw(text)
                shown = drawn.any() and all(self._has_ink(c) or self._changes(text, drawn, c) for c in seen)
        except UserError:  # a damaged glyph: let drawing it tell
            return True
        if not shown:
            _warn_of_colors(self._path, self._backend)
        return bool(shown)

    def _character_has_ink(self, character):
        if self._backend == "pygame":
            ink = self._face.draw(character).ink
            return ink is not None and ink.any()
        return self._pillow_font().has_ink(character) or self._draw(character).any()

    def _changes(self, text, drawn, character):
        """Whether a character without ink of its own changes how *text* is drawn: with others, it may be one glyph."""
        others = text.replace(character, "")
        return not others or not np.array_equal(drawn, self._draw(others))

    def _draw(self, text):
        """What pillow draws: uint8 ``[rows, columns]``, or ``[rows, columns, 4]`` with colors."""
        drawing = self._pillow_font().draw(text, "ltr")
        if drawing.colors is None:
            return drawing.coverage
        return np.concatenate([drawing.coverage[..., None], drawing.colors], axis=-1)

    def _pillow_font(self):
        if self._font is None:
            self._font = PillowFont(self._path, _PIXELS)
        return self._font

    def _sequences(self, character):
        """Pairs: other characters, and a sequence with them in which *character* is there to be seen."""
        if self._backend == "pygame":
            return
        if character in _REGIONAL_INDICATORS:
            for other in _REGIONAL_INDICATORS:
                yield other, character + other
                yield other, other + character
        elif character in _SKIN_TONES:
            for other in "👍👋👩":
                yield other, other + character
        elif character == _KEYCAP:
            yield "1", f"1\ufe0f{_KEYCAP}"
            yield "1", f"1{_KEYCAP}"


@functools.cache
def _warn_of_colors(path, backend):
    """Warn once of a font whose format of colors is not drawn; not in the processes that a command starts."""
    formats = color_formats(path)
    if not formats or set(formats) & set(BITMAP_FORMATS) or multiprocessing.parent_process() is not None:
        return
    logger.warning(
        "%s: its colored glyphs are %s, of which %s draws nothing here: other fonts are taken where they have the "
        "characters, else they are missing; a font of colored bitmaps (CBDT, sbix), with --renderer-backend pillow, "
        "shows them",
        path,
        " and ".join(formats),
        backend,
    )
