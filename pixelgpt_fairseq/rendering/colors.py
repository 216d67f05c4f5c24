"""Ink on paper: what coverage and colors become in each render mode."""

import numpy as np


class Palette:
    """Turns drawn lines into pixels of one render mode.

    Args:
        config: RendererConfig.

    Attributes:
        channels: values of a pixel: 3 in the mode ``rgb``, else 1.
        shades: uint8 ``[256]``, in rgb ``[256, 3]``: the pixel that each coverage becomes, the first the background.
    """

    def __init__(self, config):
        self._mode = config.render_mode
        self._background = np.array(config.background_rgb)
        self.channels = config.channels
        self.shades = self._in_mode(_blend_as_sdl(self._background, np.array(config.font_rgb)))
        self._inverts = np.array_equal(self.shades, np.arange(255, -1, -1))

    def paper(self, height: int, width: int) -> np.ndarray:
        """An empty strip: uint8 ``[height, width]``, in rgb ``[height, width, 3]``."""
        pixels = np.empty((height, width) if self.channels == 1 else (height, width, self.channels), dtype=np.uint8)
        pixels[...] = self.shades[0]
        return pixels

    def paint(self, there: np.ndarray, coverage: np.ndarray, colors: np.ndarray | None = None):
        """Put ink on a part of a strip.

        Args:
            there: is changed, uint8 ``[h, w]`` or ``[h, w, 3]``.
            coverage: uint8 ``[h, w]``: 0 is background, 255 ink.
            colors: uint8 ``[h, w, 3]``: of the ink; None is that of the text everywhere.
        """
        if colors is not None:
            share = coverage[..., None].astype(np.int64)
            there[:] = self._in_mode((share * colors + (255 - share) * self._background + 127) // 255)
        elif self._inverts:
            np.invert(coverage, out=there)  # the same, several times faster
        else:
            there[:] = self.shades[coverage]

    def _in_mode(self, rgb):
        """Red, green and blue ``[..., 3]`` as uint8 pixels of the mode."""
        if self._mode == "rgb":
            return rgb.astype(np.uint8)
        # Pillow's luminance: ITU-R 601-2 in 16-bit fixed point.
        gray = (rgb @ np.array([19595, 38470, 7471]) + 0x8000) >> 16
        if self._mode == "binary":
            gray = np.where(gray > 127, 255, 0)
        return gray.astype(np.uint8)


def _blend_as_sdl(background, font):
    """int64 ``[256, 3]``: the text's color over the background's at every coverage, as SDL rounds it."""
    coverage = np.arange(256)[:, None]
    blended = background + (((font - background) * coverage + font) >> 8)
    blended[0], blended[255] = background, font
    return blended
