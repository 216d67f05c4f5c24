"""Pictures of what a model generated: the prompt, what follows it, and what that reads as."""

import dataclasses

import numpy as np
from PIL import Image

from pixelgpt_fairseq.rendering import TextRenderer

_PAPER = (255, 255, 255)
_NEW = np.array([255, 236, 200]) / 255  # what is white in new patches
_LABEL = np.array([60, 90, 160])  # ink of the lines below the strip
_GAP = 3  # pixels between rows, before scaling


def draw_generation(strip, prompt_patches, lines, renderer, patches_per_row=24, scale=3):
    """A strip in rows, its new patches on colored paper, and lines of text below.

    Args:
        strip: uint8 ``[side, columns]``, or with colors ``[side, columns, 3]``.
        prompt_patches: how many of the first patches are the prompt's.
        lines: strings, drawn by the same renderer.
        renderer: TextRenderer.
        patches_per_row: where rows are broken.
        scale: screen pixels per pixel.

    Returns:
        PIL.Image, RGB
    """
    side, width = len(strip), patches_per_row * len(strip)
    colors = strip[..., None].repeat(3, axis=2) if strip.ndim == 2 else strip
    colors = colors.astype(np.float64)
    colors[:, prompt_patches * side :] *= _NEW
    rows = [colors[:, start : start + width] for start in range(0, colors.shape[1], width)]
    writer = TextRenderer(dataclasses.replace(renderer.config, max_patches=patches_per_row + 1))
    for line in lines:
        for start, end in writer.cut(line):
            drawn = writer(line[start:end])
            pixels = drawn.pixels[:, : drawn.num_text_patches * side]
            gray = (pixels if pixels.ndim == 2 else pixels.mean(axis=2))[..., None] / 255
            rows.append(_LABEL + (255 - _LABEL) * gray)
    picture = Image.new("RGB", (width * scale, (len(rows) * (side + _GAP) - _GAP) * scale), _PAPER)
    for number, row in enumerate(rows):
        image = Image.fromarray(row.round().astype(np.uint8))
        image = image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)
        picture.paste(image, (0, number * (side + _GAP) * scale))
    return picture
