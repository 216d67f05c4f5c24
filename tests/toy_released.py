"""Rendered data and model folders in the layout that the authors released, made here."""

import base64
import gzip
import io
import json

import numpy as np
from PIL import Image

from pixelgpt_fairseq.rendering import RendererConfig, TextRenderer

STRIP_PATCHES = 64  # the released strips have 1024
ROWS = (
    ("It rains.", "It is wet outside, and has been for a while now.", 0),
    ("Dogs bark .", "Nothing can be heard.", 1),
    ("One and one", "is two", 0),
)


def png(pixels):
    """An array as a base64 PNG."""
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, format="PNG")
    return base64.b64encode(content.getvalue()).decode()


def strip(texts, width=STRIP_PATCHES):
    """(pixels uint8 [16, 16 * width, 3], num_patches) of a text or a pair, as the published code draws them."""
    drawn = TextRenderer(RendererConfig(max_patches=width))(tuple(texts) if len(texts) > 1 else texts[0])
    pixels = np.full((16, 16 * width, 3), 255, dtype=np.uint8)
    pixels[:, : drawn.pixels.shape[1]] = drawn.pixels[..., None]
    return pixels, drawn.num_text_patches


def row(first, second, label, **changes):
    """A line as a dictionary."""
    pixels, num_patches = strip((first, second))
    line = {"idx": 0, "sentence1": first, "sentence2": second, "label": label, "image": png(pixels)}
    return {**line, "num_patches": num_patches, **changes}


def write_rows(folder, rows, part=0):
    """Write dictionaries, or lines as they are, to a part of a released folder."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in rows]
    with gzip.open(folder / f"part-{part:05d}.gz", "wb") as file:
        file.write(b"".join(line + b"\n" for line in lines))
    return folder
