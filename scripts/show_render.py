#!/usr/bin/env python3
"""Show what the model sees of a text: write its strip as a picture, print its patches and separators."""

import argparse

from pixelgpt_fairseq.errors import UserError, command
from pixelgpt_fairseq.rendering import RendererConfig, TextRenderer, missing_summary
from pixelgpt_fairseq.rendering.options import add_renderer_options, chosen_settings
from pixelgpt_fairseq.rendering.preview import save_preview


def get_parser():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text")
    layout = parser.add_mutually_exclusive_group()
    layout.add_argument("--pair", metavar="TEXT", help="a second text: draw both as a pair")
    layout.add_argument("--words", action="store_true", help="start every word at a patch of its own")
    parser.add_argument("--output", required=True, metavar="FILE", help="PNG file")
    parser.add_argument("--overwrite", action="store_true", help="replace the file if it is there")
    parser.add_argument("--grid", action="store_true", help="draw the borders of the patches")
    parser.add_argument("--scale", type=int, default=4, metavar="N", help="enlarge N times (default: 4)")
    parser.add_argument("--config", metavar="FILE", help="a text_renderer_config.json; the options below override it")
    add_renderer_options(parser)
    return parser


def choose_config(args):
    """The renderer's settings: the command line's over those of ``--config`` or the defaults."""
    chosen = chosen_settings(args)
    if args.config:
        return RendererConfig.from_json(args.config, **chosen)
    return RendererConfig(**chosen)


@command
def main(argv=None):
    """Run the command."""
    args = get_parser().parse_args(argv)
    if args.scale < 1:
        raise UserError("--scale: must be at least 1")
    config = choose_config(args)
    text = (args.text, args.pair) if args.pair is not None else args.text.split() if args.words else args.text
    rendered = TextRenderer(config)(text)
    save_preview(rendered, args.output, args.scale, args.grid, args.overwrite)
    print(f"fonts: {', '.join(str(font) for font in config.fonts)}")
    print(f"text patches: {rendered.num_text_patches} of at most {config.max_patches - 1}")
    print(f"separators at patches: {', '.join(map(str, rendered.separators))}")
    if args.words:
        print(f"words start at patches: {', '.join(map(str, rendered.word_starts[:-1]))}")
    for line in missing_summary(args.text + (args.pair or ""), config):
        print(f"no font has {line}")
    print(f"picture: {args.output}")


if __name__ == "__main__":
    main()
