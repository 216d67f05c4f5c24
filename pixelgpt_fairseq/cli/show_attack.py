"""Show what attacks make of a text: each at each severity, as text and as the model sees it, in one picture."""

import argparse

from pixelgpt_fairseq.cli.attack_options import chosen_attacks, chosen_severities
from pixelgpt_fairseq.cli.renderer_options import add_renderer_options, chosen_settings
from pixelgpt_fairseq.errors import UserError, command
from pixelgpt_fairseq.perturbations import ATTACKS, Perturbation, read_typos
from pixelgpt_fairseq.rendering import RendererConfig, TextRenderer, missing_summary
from pixelgpt_fairseq.rendering.preview import preview_texts, save_picture
from pixelgpt_fairseq.storage.files import check_absent


def get_parser():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text")
    parser.add_argument(
        "--attacks",
        default="all",
        metavar="NAMES",
        help=f"with commas between them, from {', '.join(ATTACKS)} (default: all; natural-typo if there is --typos)",
    )
    parser.add_argument("--severities", default="0.2,0.5,0.8", metavar="NUMBERS", help="default: 0.2,0.5,0.8")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="changes other words (default: 1)")
    parser.add_argument("--typos", metavar="FILE", help="natural-typo: on each line a word, then misspellings of it")
    parser.add_argument("--output", required=True, metavar="FILE", help="PNG file")
    parser.add_argument("--overwrite", action="store_true", help="replace the file if it is there")
    parser.add_argument("--grid", action="store_true", help="draw the borders of the patches")
    parser.add_argument("--scale", type=int, default=2, metavar="N", help="enlarge N times (default: 2)")
    parser.add_argument("--config", metavar="FILE", help="a text_renderer_config.json; the options below override it")
    add_renderer_options(parser)
    return parser


@command
def main(argv=None):
    """Run the command."""
    args = get_parser().parse_args(argv)
    if args.scale < 1:
        raise UserError("--scale: must be at least 1")
    if not args.text.strip():
        raise UserError("name a text that is not empty")
    typos = read_typos(args.typos) if args.typos else None
    attacks, severities = chosen_attacks(args.attacks, typos), chosen_severities(args.severities)
    check_absent(args.output, "another --output", args.overwrite)
    chosen = chosen_settings(args)
    config = RendererConfig.from_json(args.config, **chosen) if args.config else RendererConfig(**chosen)
    renderer = TextRenderer(config)
    blocks = [("as it is", [("", args.text, renderer(args.text))])]
    for name in attacks:
        rows = []
        for severity in severities:
            attacked = Perturbation(name, severity, args.seed, typos if name == "natural-typo" else None)(args.text)
            rows.append((f"{severity:g}", attacked, renderer(attacked)))
            print(f"{name}, {severity:g}: {attacked}")
            for line in missing_summary(attacked, config):
                print(f"  no font has {line}")
        blocks.append((f"{name}: {ATTACKS[name].summary}", rows))
    save_picture(preview_texts(blocks, config.fonts, args.scale, args.grid), args.output, args.overwrite)
    print(f"picture: {args.output}")
