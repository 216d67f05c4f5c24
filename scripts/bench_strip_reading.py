#!/usr/bin/env python3
"""Render lines of text files and read the strips back: how many come back, and how fast."""

import argparse
import time


def get_parser():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--input", nargs="+", required=True, metavar="FILE", help="UTF-8, a text a line")
    parser.add_argument("--lines", type=int, default=1000, metavar="N", help="of each file (default: 1000)")
    parser.add_argument("--alphabet", metavar="CHARACTERS", help="what may be read (default: the fonts' characters)")
    parser.add_argument("--expected-words", metavar="FILE", help="a word on each line (default: no list)")
    parser.add_argument(
        "--noise", type=float, metavar="SHARE", help="make strips black and white, and invert so many of their pixels"
    )
    return parser


if __name__ == "__main__":
    get_parser().parse_args()  # --help and mistakes do not wait for what follows, which takes seconds to import

import numpy as np

from pixelgpt_fairseq.criterions.text_scores import edit_distance
from pixelgpt_fairseq.errors import UserError, command
from pixelgpt_fairseq.generation import look_alikes, read_strip, read_word_list
from pixelgpt_fairseq.rendering import RendererConfig, TextRenderer


@command
def main(argv=None):
    """Run the command."""
    args = get_parser().parse_args(argv)
    config, words = RendererConfig(), read_word_list(args.expected_words) if args.expected_words else None
    renderer, alike = TextRenderer(config), {}
    for group in look_alikes(config):
        alike.update(dict.fromkeys(group, group[0]))
    for path in args.input:
        try:
            with open(path, encoding="utf-8") as file:
                lines = [line.strip() for line in file if line.strip()][: args.lines]
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: {error}") from None
        if lines:
            print(f"{path}: {measure(lines, renderer, alike, args, words)}", flush=True)


def measure(lines, renderer, alike, args, words):
    """One line of results."""
    random = np.random.default_rng(0)
    strips = [noisy(renderer(line).pixels, args.noise, random) for line in lines]
    read_strip(strips[0], renderer.config, args.alphabet, words)  # draws the glyphs
    began = time.process_time()
    found = [read_strip(strip, renderer.config, args.alphabet, words) for strip in strips]
    seconds = time.process_time() - began
    texts = [reading.text for reading in found]

    def same_looks(text):
        return "".join(alike.get(character, character) for character in text.replace("\xa0", " "))

    characters = sum(map(len, lines))
    wrong = sum(edit_distance(same_looks(a), same_looks(b)) for a, b in zip(texts, lines, strict=True))
    return (
        f"{len(lines)} lines, {sum(reading.score == 1 for reading in found)} pixel for pixel, "
        f"{sum(map(str.__eq__, texts, lines))} the same text, "
        f"{sum(same_looks(a) == same_looks(b) for a, b in zip(texts, lines, strict=True))} but for look-alikes; "
        f"{wrong / characters:.2%} of {characters} characters wrong; {characters / seconds:.0f} characters/s"
    )


def noisy(pixels, share, random):
    """A strip in black and white, in which a share of the pixels before the separator is inverted."""
    if share is None:
        return pixels
    pixels = np.where(pixels > 127, 255, 0).astype(np.uint8)
    inverted = random.random(pixels.shape) < share
    inverted[:, -len(pixels) :] = False
    return np.where(inverted, 255 - pixels, pixels)


if __name__ == "__main__":
    main()
