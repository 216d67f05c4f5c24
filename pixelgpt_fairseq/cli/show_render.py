"""Show what the model sees of a text, or of several: write strips as a picture, print their patches and separators."""

import argparse
import dataclasses
import itertools

from pixelgpt_fairseq.cli.renderer_options import add_renderer_options, chosen_settings
from pixelgpt_fairseq.errors import UserError, command
from pixelgpt_fairseq.rendering import RendererConfig, TextRenderer, missing_summary
from pixelgpt_fairseq.rendering.preview import preview, preview_rows, save_picture
from pixelgpt_fairseq.rendering.pygame_fonts import FontFace
from pixelgpt_fairseq.sources.tables import read_rows

MAX_ROWS = 100


def get_parser():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", nargs="?")
    parser.add_argument(
        "--input",
        metavar="FILE",
        help="instead of a text: a table without a header (TSV, CSV), a caption and a text a row",
    )
    parser.add_argument(
        "--both-backends", action="store_true", help="with --input: draw each text with pygame, and below with pillow"
    )
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
    if (args.text is None) == (args.input is None):
        raise UserError("name a text, or a table of texts with --input")
    if args.both_backends and not args.input:
        raise UserError("--both-backends goes with --input")
    config = choose_config(args)
    if args.input:
        show_table(args, config)
    else:
        show_text(args, config)
    print(f"picture: {args.output}")


def show_text(args, config):
    """Draw one text, or a pair."""
    text = (args.text, args.pair) if args.pair is not None else args.text.split() if args.words else args.text
    rendered = TextRenderer(config)(text)
    save_picture(preview(rendered, args.scale, args.grid), args.output, args.overwrite)
    print(f"fonts: {', '.join(str(font) for font in config.fonts)}")
    print(f"text patches: {rendered.num_text_patches} of at most {config.max_patches - 1}")
    print(f"separators at patches: {', '.join(map(str, rendered.separators))}")
    if args.words:
        print(f"words start at patches: {', '.join(map(str, rendered.word_starts[:-1]))}")
    for line in missing_summary(args.text + (args.pair or ""), config):
        print(f"no font has {line}")


def show_table(args, config):
    """Draw every text of a table, below each other."""
    if args.pair is not None:
        raise UserError("--pair goes with a text, not with --input")
    rows = [row.values for row in itertools.islice(read_rows(args.input, (1, 2)), MAX_ROWS + 1)]
    if not 0 < len(rows) <= MAX_ROWS:
        raise UserError(f"--input {args.input}: a picture takes 1 to {MAX_ROWS} texts, this has {len(rows) or 'none'}")
    configs = [config]
    if args.both_backends:
        configs = [config_of_pygame(config), dataclasses.replace(config, backend="pillow")]
    renderers = [TextRenderer(each) for each in configs]
    captions, strips = [], []
    for caption, text in rows:
        captions += [renderers[0](caption), *(renderer("") for renderer in renderers[1:])]
        strips += [renderer(text.split() if args.words else text) for renderer in renderers]
    save_picture(preview_rows(captions, strips, args.scale, args.grid), args.output, args.overwrite)
    print(f"fonts: {', '.join(str(font) for font in config.fonts)}")
    for i, (caption, text) in enumerate(rows):
        drawn = strips[i * len(renderers) : (i + 1) * len(renderers)]
        patches = " and ".join(str(strip.num_text_patches) for strip in drawn)
        lacking = "; ".join(missing_summary(text, config))
        print(f"{caption}: {patches} text patches" + (f"; no font has {lacking}" if lacking else ""))


def config_of_pygame(config):
    """The same look for pygame, without the fonts that it cannot draw with: those of bitmaps alone."""
    drawn = tuple(font for font in config.fonts if FontFace(font.path).has_outlines())
    for font in config.fonts:
        if font not in drawn:
            print(f"pygame: left out {font}: a font of bitmaps alone")
    return dataclasses.replace(config, backend="pygame", fonts=drawn)
