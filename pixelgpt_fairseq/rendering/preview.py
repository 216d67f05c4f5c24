"""Pictures of strips for people to look at."""

import os
from pathlib import Path

from PIL import Image, ImageDraw

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.rendering.renderer import RenderedText

_GRID = (230, 80, 60)


def preview(rendered: RenderedText, scale: int = 1, grid: bool = False) -> Image.Image:
    """A strip as an RGB picture.

    Args:
        rendered: the strip.
        scale: how many times larger, in whole pixels.
        grid: draw a line to the left of every patch but the first, over its first column.
    """
    side = len(rendered.pixels) * scale
    picture = Image.fromarray(rendered.pixels.repeat(scale, axis=0).repeat(scale, axis=1)).convert("RGB")
    if grid:
        draw = ImageDraw.Draw(picture)
        for column in range(side, picture.width, side):
            draw.line([(column, 0), (column, side)], fill=_GRID)
    return picture


def save_preview(rendered: RenderedText, path, scale: int = 1, grid: bool = False, overwrite: bool = False):
    """Write :func:`preview` as a PNG file, whole or not at all.

    Raises:
        UserError: if the file is there already and not to be overwritten, or cannot be written.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise UserError(f"{path}: already there: choose another --output, or pass --overwrite")
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        preview(rendered, scale, grid).save(partial, format="PNG")
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UserError(f"{path}: cannot write: {error.strerror}") from None
