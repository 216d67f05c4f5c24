"""Pictures of strips for people to look at."""

from PIL import Image, ImageDraw

from pixelgpt_fairseq.rendering.lettering import Lettering
from pixelgpt_fairseq.rendering.renderer import RenderedText
from pixelgpt_fairseq.storage.files import check_absent, whole_file

_GRID = (230, 80, 60)
_PAPER, _INK, _HEADING = (255, 255, 255), (0, 0, 0), (60, 90, 160)


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


def preview_rows(captions: list[RenderedText], strips: list[RenderedText], scale: int = 1, grid: bool = False):
    """Strips below each other, each with a caption on its left, without the caption's separator: an RGB picture."""
    lefts = [preview(caption, scale) for caption in captions]
    rights = [preview(strip, scale, grid) for strip in strips]
    sides = [strip.height for strip in rights]
    margin = max(left.width - side for left, side in zip(lefts, sides, strict=True))
    gap = scale
    size = (margin + max(right.width for right in rights), sum(sides) + gap * (len(rights) - 1))
    picture, top = Image.new("RGB", size, _PAPER), 0
    for left, right, side in zip(lefts, rights, sides, strict=True):
        picture.paste(left.crop((0, 0, left.width - side, side)), (0, top))
        picture.paste(right, (margin, top))
        top += side + gap
    return picture


def preview_texts(blocks, fonts, scale: int = 2, grid: bool = False) -> Image.Image:
    """Texts as people read them, each above its strip, in blocks with headings: an RGB picture.

    Args:
        blocks: list of (heading, rows); a row is (label on the left, text, RenderedText).
        fonts: FontFiles that texts are written in.
        scale: how many times larger strips are, in whole pixels.
        grid: see :func:`preview`.
    """
    writing, labels = Lettering(11 * scale, fonts), Lettering(9 * scale)
    gap, rows = 4 * scale, [row for _, found in blocks for row in found]
    left = gap + round(max(labels.length(label) for label, _, _ in rows)) + gap
    strips = {id(strip): preview(strip, scale, grid) for _, _, strip in rows}
    widest = [writing.length(text) for _, text, _ in rows] + [strip.width for strip in strips.values()]
    width = round(max(left + max(widest), *(gap + labels.length(heading) for heading, _ in blocks))) + gap
    row_height = writing.height + max(strip.height for strip in strips.values()) + gap
    height = gap + sum(labels.height + gap + row_height * len(found) + gap for _, found in blocks)
    picture = Image.new("RGB", (width, height), _PAPER)
    draw, top = ImageDraw.Draw(picture), gap
    for heading, found in blocks:
        labels.write(draw, (gap, top), heading, _HEADING)
        top += labels.height + gap
        for label, text, strip in found:
            labels.write(draw, (gap, top), label, _HEADING)
            writing.write(draw, (left, top), text, _INK)
            picture.paste(strips[id(strip)], (left, top + writing.height))
            top += row_height
        top += gap
    return picture


def save_picture(picture: Image.Image, path, overwrite: bool = False):
    """Write a picture as a PNG file, whole or not at all.

    Raises:
        UserError: if the file is there already and not to be overwritten, or cannot be written.
    """
    check_absent(path, "another --output", overwrite)
    with whole_file(path) as file:
        picture.save(file, format="PNG")
