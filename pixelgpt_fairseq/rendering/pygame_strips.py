"""Strips drawn by pygame itself, a call for every line, as the published code does: what ours are compared with.

Slow, and wrong for lines above 131,072 pixels: for measurements and comparisons only.
"""

import math

import numpy as np

from pixelgpt_fairseq.rendering.config import RendererConfig
from pixelgpt_fairseq.rendering.pygame_fonts import pygame_freetype

# A Font that has drawn a long line takes time in proportion to it for everything it draws later.
_LONG_LINE = 1000


class PygameStrips:
    """Draws each line with one call of pygame.

    Args:
        config: RendererConfig; its first font is used, black on white.
        full_width: draw on a strip of the greatest width, as the published code does; else on one just wide enough.
    """

    def __init__(self, config: RendererConfig, full_width: bool = True):
        self._config, self._full_width = config, full_width
        self._open()

    def _open(self):
        path, size, dpi = self._config.fonts[0].path, self._config.font_size, self._config.dpi
        self._font = pygame_freetype().Font(str(path), size, resolution=dpi)

    def __call__(self, text: str) -> np.ndarray:
        """The patches in use, gray: uint8 ``[patch_size, width]``."""
        import pygame

        side, patches = self._config.patch_size, self._config.max_patches
        line, box = self._font.render(text, (0, 0, 0))
        end = min(math.ceil((2 + box.width + 2) / side) * side, (patches - 1) * side)
        strip = pygame.Surface((patches * side if self._full_width else end + side, side))
        strip.fill((255, 255, 255))
        box.midleft = (2, side // 2)
        strip.blit(line, box)
        pygame.draw.rect(strip, (0, 0, 0), (end, 0, side, side))
        if len(text) > _LONG_LINE:
            self._open()
        return pygame.surfarray.array3d(strip)[: end + side, :, 0].T
