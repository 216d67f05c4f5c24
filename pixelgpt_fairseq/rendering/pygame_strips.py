"""Strips drawn by pygame itself, a call for every line, as the published code does: what ours are compared with.

Slow, and wrong for lines above 131,072 pixels: for measurements and comparisons only.
"""

import math

import numpy as np

from pixelgpt_fairseq.rendering.config import RendererConfig
from pixelgpt_fairseq.rendering.glyphs import pygame_freetype

# A Font that has drawn a long line takes time in proportion to it for everything it draws later.
_LONG_LINE = 1000


class PygameStrips:
    """Draws each line with one call of pygame on a strip of full width.

    Args:
        config: RendererConfig; its first font is used, black on white.
    """

    def __init__(self, config: RendererConfig):
        self._config = config
        self._open()

    def _open(self):
        path, size, dpi = self._config.fonts[0].path, self._config.font_size, self._config.dpi
        self._font = pygame_freetype().Font(str(path), size, resolution=dpi)

    def __call__(self, text: str) -> np.ndarray:
        """The patches in use, gray: uint8 ``[patch_size, width]``."""
        import pygame

        side, patches = self._config.patch_size, self._config.max_patches
        strip = pygame.Surface((patches * side, side))
        strip.fill((255, 255, 255))
        line, box = self._font.render(text, (0, 0, 0))
        box.midleft = (2, side // 2)
        strip.blit(line, box)
        end = min(math.ceil((2 + box.width + 2) / side) * side, (patches - 1) * side)
        pygame.draw.rect(strip, (0, 0, 0), (end, 0, side, side))
        if len(text) > _LONG_LINE:
            self._open()
        return pygame.surfarray.array3d(strip)[: end + side, :, 0].T
