#!/usr/bin/env python3
"""Measure rendering on one core: every line drawn by pygame, as the published code does, against this package.

Both draw the same lines in the same run, to a strip with its separator; pygame's pixels are compared too. Texts:
running English (that of Python's own help), and invented ones in which words or characters seldom come again. Last,
what this package takes to draw the English with every word at a patch, and with its other backend, which shapes text.
"""

import argparse
import random
import statistics
import time
from pydoc_data.topics import topics

import numpy as np
from PIL import features

from pixelgpt_fairseq.errors import command
from pixelgpt_fairseq.rendering import RendererConfig, TextRenderer, default_fonts
from pixelgpt_fairseq.rendering.pygame_strips import PygameStrips

LINE = 250  # characters


def invented_texts(seed=1):
    """Name -> lines and the number of the default font that has their characters."""
    rng = random.Random(seed)
    words = ("".join(rng.choices("aaabcdeeefghiiklmnnoopqrrssttuvwxyz", k=rng.randint(2, 10))) for _ in range(10_000))
    numbers = (str(rng.randrange(10 ** rng.randint(1, 8))) for _ in range(10_000))
    chinese = ["".join(chr(0x4E00 + rng.randrange(3000)) for _ in range(LINE)) for _ in range(200)]
    return {
        "running English": (wrap(" ".join(topics.values()).split()), 0),
        "random words": (wrap(words), 0),
        "numbers": (wrap(numbers), 0),
        "random Chinese": (chinese, 1),
    }


def wrap(words):
    """Join words to lines of about ``LINE`` characters."""
    lines, line = [], ""
    for word in words:
        if len(line) + len(word) >= LINE:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return lines


def seconds_each(draw, lines):
    """The time that each line takes."""
    times = []
    for line in lines:
        start = time.perf_counter()
        draw(line)
        times.append(time.perf_counter() - start)
    return times


def measure(name, lines, config, compared):
    """Print a line of the table."""
    reference, ours = PygameStrips(config), TextRenderer(config)
    lines = lines[: 50 * compared]
    # What it costs to draw each glyph for the first time is soon forgotten in a corpus.
    for line in lines:
        ours(line)
    few = lines[:compared]
    same = all(np.array_equal(reference(line), ours(line).pixels) for line in few)
    if not same and (config.backend, config.structure) == ("pygame", "continuous"):
        print(f"{name}: the pixels differ")
    slow, fast = seconds_each(reference, few), seconds_each(ours, lines)
    patches = sum(ours(line).num_text_patches + 1 for line in lines)
    print(
        f"{name:16} {statistics.median(slow) / statistics.median(fast):7.1f} x {sum(map(len, few)) / sum(slow):12,.0f}"
        f" {sum(map(len, lines)) / sum(fast):12,.0f} {patches / sum(fast):12,.0f}"
    )


@command
def main(argv=None):
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--lines",
        type=int,
        default=200,
        metavar="N",
        help="lines of each text to draw with pygame, and up to 50 times as many without (default: 200)",
    )
    args = parser.parse_args(argv)
    print(f"{'':16} {'ratio of':>9} {'pygame':>12} {'this package':>12} {'this package':>12}")
    print(f"{'text':16} {'medians':>9} {'chars/s':>12} {'chars/s':>12} {'patches/s':>12}")
    fonts = default_fonts()
    for name, (lines, font) in invented_texts().items():
        measure(name, lines, RendererConfig(fonts=(fonts[font],)), args.lines)
    lines, _ = invented_texts()["running English"]
    measure("English, words", lines, RendererConfig(fonts=fonts[:1], structure="words"), args.lines)
    if features.check("raqm"):
        measure("English, shaped", lines[: args.lines], RendererConfig(fonts=fonts[:1], backend="pillow"), args.lines)


if __name__ == "__main__":
    main()
