#!/usr/bin/env python3
"""Compare this package's strips with those that pygame draws, pixel for pixel, on every line of text files.

Each line is drawn with the first font of the chain that has all of its characters (where none has, with the first), on
a strip of 1,024 patches. Empty lines are left out. Exit status 1 if any line differs.
"""

import argparse
import collections
import functools
import sys

import numpy as np
from tqdm import tqdm

from pixelgpt_fairseq.cli.renderer_options import add_renderer_options, chosen_settings
from pixelgpt_fairseq.errors import UserError, command
from pixelgpt_fairseq.rendering import RendererConfig, TextRenderer, missing_characters
from pixelgpt_fairseq.rendering.pygame_strips import PygameStrips

_SHOWN = 3  # lines that differ, of each file
_MOST_CHARACTERS = 8_000  # pygame gets lines above 131,072 pixels wrong


class Comparison:
    """Draws lines with both.

    Args:
        config: RendererConfig; black on white.
    """

    def __init__(self, config):
        self._alone = [RendererConfig(**{**_settings(config), "fonts": (font,)}) for font in config.fonts]
        self._ours = [TextRenderer(alone) for alone in self._alone]
        self._pygames = [PygameStrips(alone, full_width=False) for alone in self._alone]
        self._chain = TextRenderer(config)
        self._has = functools.lru_cache(maxsize=1 << 16)(self._has_uncached)

    def _has_uncached(self, character, number):
        return not missing_characters(character, self._alone[number])

    def __call__(self, text):
        """Whether the two strips of *text* are identical."""
        fonts = range(len(self._alone))
        number = next((i for i in fonts if all(self._has(character, i) for character in set(text))), None)
        ours = self._ours[0] if number is None else self._chain if number == 0 else self._ours[number]
        return np.array_equal(ours(text).pixels, self._pygames[number or 0](text))


def _settings(config):
    return {name: getattr(config, name) for name in ("font_size", "dpi", "max_patches")}


def read_lines(path):
    """The lines of a file without their ends; empty ones are left out."""
    try:
        with open(path, encoding="utf-8", newline="\n") as file:
            for line in file:
                if line.strip("\r\n"):
                    yield line.rstrip("\r\n")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8: {error.reason}") from None


def get_parser():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", nargs="+", metavar="FILE", help="UTF-8 text")
    parser.add_argument("--lines", type=int, metavar="N", help="only the first N of each file (default: all)")
    add_renderer_options(parser)
    return parser


@command
def main(argv=None):
    """Run the command."""
    args = get_parser().parse_args(argv)
    config = RendererConfig(**chosen_settings(args)).located()
    look = (config.backend, config.render_mode, config.font_color, config.background_color)
    if look != ("pygame", "gray", "black", "white"):
        raise UserError("the comparison is of pygame's gray strips, black on white: leave those options out")
    if args.lines is not None and args.lines < 1:
        raise UserError(f"--lines {args.lines}: at least 1")
    compare, totals = Comparison(config), collections.Counter()
    for path in args.input:
        counts = collections.Counter()
        for line in tqdm(read_lines(path), desc=path, unit=" lines", leave=False):
            if counts.total() == args.lines:
                break
            if len(line) > _MOST_CHARACTERS:
                counts["too long"] += 1
                continue
            same = compare(line)
            counts["identical" if same else "different"] += 1
            if not same and counts["different"] <= _SHOWN:
                print(f"{path}: differs: {line[:200]!r}")
        print(f"{path}: {_summary(counts)}", flush=True)
        totals += counts
    print(f"in all: {_summary(totals)}")
    if totals["different"]:
        sys.exit(1)


def _summary(counts):
    compared = counts["identical"] + counts["different"]
    passed_over = f"; {counts['too long']:,} too long for pygame" if counts["too long"] else ""
    return f"{counts['identical']:,} of {compared:,} lines identical{passed_over}"


if __name__ == "__main__":
    main()
