"""The reference look, drawn by pygame itself, for lines short enough that pygame draws them right.

Written from the layout's rules alone: it shares no code with the package.
"""

import importlib.resources
import math
import os
from pathlib import Path

import numpy as np

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
import pygame
import pygame.freetype
import pygame.surfarray

_WEBLATE = Path(str(importlib.resources.files("weblate_fonts"))) / "static" / "weblate_fonts"


def font_path(name):
    """A font of the weblate-fonts package by file name."""
    return next(_WEBLATE.glob(f"*/ttf/{name}"))


class Reference:
    """Draws like the published code; returns pixels, number of text patches, separators and word starts.

    The pixels are gray; ``rgb`` has those of the last drawing in color.
    """

    def __init__(self, font, size=8, dpi=120, max_patches=1024, background="white", color="black"):
        pygame.freetype.init()
        self.font = pygame.freetype.Font(str(font), size, resolution=dpi)
        self.patches, self.background, self.color = max_patches, pygame.Color(background), pygame.Color(color)

    def __call__(self, text):
        self.strip = pygame.Surface((16 * self.patches, 16))
        self.strip.fill(self.background)
        if isinstance(text, str):
            separators, starts = [self._line(text, 2)], []
        elif isinstance(text, tuple):
            first = self._line(text[0], 2)
            separators, starts = [first, self._line(text[1], first + 16 + 2)], []
        else:
            separators, starts = self._words(text)
        for column in separators:
            pygame.draw.rect(self.strip, (0, 0, 0), (column, 0, 16, 16))
        end = separators[-1]
        rgb = pygame.surfarray.array3d(self.strip).swapaxes(0, 1)[:, : end + 16]
        self.rgb = rgb
        gray = np.rint(rgb @ [0.299, 0.587, 0.114]).astype(np.uint8)
        return gray, end // 16, [column // 16 for column in separators], starts

    def next(self, column):
        return min(math.ceil(column / 16) * 16, 16 * (self.patches - 1))

    def _line(self, text, left):
        surface, box = self.font.render(text, self.color)
        box.midleft = (left, 8)
        self.strip.blit(surface, box)
        return self.next(left + box.width + 2)

    def _words(self, words):
        column, starts = 2, [0]
        for i, word in enumerate(words):
            last = i == len(words) - 1
            surface, box = self.font.render(word if last else word + " ", self.color)
            box.left, box.top = column, 3 + (8 - box.top)
            self.strip.blit(surface, box)
            column = self.next(column + box.width + (2 if last else 0))
            starts.append(column // 16)
            if column >= 16 * (self.patches - 1):
                break
        return [column], starts
