"""Text for people in pictures: smooth, of any size, each character in a font that has it."""

import itertools

from PIL import ImageFont

from pixelgpt_fairseq.rendering.fonts import default_fonts
from pixelgpt_fairseq.rendering.repertoire import Repertoire


class Lettering:
    """Writes in a chain of fonts.

    Args:
        size: height of the letters, in pixels per em.
        fonts: FontFiles, best first (default: the package's own).
        apart: characters that are written by themselves, not shaped together with their neighbors.

    Attributes:
        height: of a line, in pixels.
    """

    def __init__(self, size, fonts=None, apart=""):
        files = [font.path for font in fonts or default_fonts()]
        self.fonts = [(Repertoire(path), ImageFont.truetype(path, size)) for path in files]
        self.apart = apart
        ascent, descent = self.fonts[0][1].getmetrics()
        self.height = ascent + descent

    def runs(self, text):
        """Yield the parts of *text* that one font draws, with that font: the first that has a character, or the first.

        Characters that are to be written by themselves are parts of their own.
        """

        def kind(character):
            having = (n for n, (repertoire, _) in enumerate(self.fonts) if repertoire.has(character))
            return character in self.apart, next(having, 0)

        for (_, number), part in itertools.groupby(text, kind):
            yield "".join(part), self.fonts[number][1]

    def length(self, text):
        """How wide *text* is, in pixels."""
        return sum(font.getlength(part) for part, font in self.runs(text))

    def write(self, draw, position, text, fill):
        """Write *text* on a PIL.ImageDraw, its upper left corner at *position*, on the baseline of the first font."""
        left, top = position
        for part, font in self.runs(text):
            draw.text((left, top + self.fonts[0][1].getmetrics()[0]), part, fill=fill, font=font, anchor="ls")
            left += font.getlength(part)
