"""Continue a text, patch by patch or token by token, and draw the prompt, what came of it and what it reads as."""

import argparse

from pixelgpt_fairseq.cli.model_options import add_checkpoint
from pixelgpt_fairseq.cli.picture_options import add_row_options, check_limits, row_limits
from pixelgpt_fairseq.cli.reading_options import add_expected_words, expected_words
from pixelgpt_fairseq.errors import UserError, command


def get_parser():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_checkpoint(parser)
    parser.add_argument("--text", required=True, help="the prompt")
    limit = parser.add_mutually_exclusive_group()
    limit.add_argument("--patches", type=int, metavar="N", help="the most patches to draw (default: 40)")
    limit.add_argument("--tokens", type=int, metavar="N", help="write so many tokens at most instead")
    parser.add_argument("--output", required=True, metavar="PNG", help="the picture")
    parser.add_argument("--overwrite", action="store_true", help="replace the picture if it is there")
    parser.add_argument("--shift", action="store_true", help="let the next word begin at a patch border")
    parser.add_argument("--alphabet", metavar="CHARACTERS", help="what may be read (default: the fonts' characters)")
    add_expected_words(parser)
    parser.add_argument(
        "--temperature",
        type=float,
        default=0.0,
        metavar="T",
        help="draw tokens, or pixels of a model trained with --patch-loss bce, by chance (default: 0: the likeliest)",
    )
    parser.add_argument("--seed", type=int, default=1, help="of what is drawn by chance (default: 1)")
    parser.add_argument(
        "--modality",
        choices=("text", "pixel"),
        default="text",
        help="with --tokens: continue the text, or write what its picture says (default: text)",
    )
    add_row_options(parser, 24, 3)
    return parser


@command
def main(argv=None):
    """Run the command."""
    args = get_parser().parse_args(argv)
    limits = (
        ("--patches", 40 if args.patches is None else args.patches, 1 << 16),
        ("--tokens", 40 if args.tokens is None else args.tokens, 1 << 16),
        *row_limits(args),
    )
    check_limits(limits)
    if args.tokens and (args.shift or args.alphabet is not None or args.expected_words):
        raise UserError("--shift, --alphabet and --expected-words are for patches: leave --tokens out")
    generate(args)


def generate(args):
    """Generate, draw and print."""
    import torch

    import pixelgpt_fairseq
    from pixelgpt_fairseq.evaluation.generation_pictures import draw_generation
    from pixelgpt_fairseq.rendering.preview import save_picture
    from pixelgpt_fairseq.storage.files import check_absent

    check_absent(args.output, "another --output", args.overwrite)
    words = expected_words(args)
    loaded = pixelgpt_fairseq.load(args.checkpoint)
    torch.manual_seed(args.seed)
    if args.tokens:
        options = {"sampling": True, "temperature": args.temperature} if args.temperature else {}
        found = loaded.generate_text(args.text, args.tokens, args.modality, **options)
        strip, prompt, lines = _prompt_strip(loaded.renderer, args.text), None, [f"tokens: {found.text}"]
        print(f"{args.text}\n{found.text}")
        told = f"{len(found.ids)} tokens"
    else:
        options = {"alphabet": args.alphabet, "words": words}
        found = loaded.generate_patches(args.text, args.patches or 40, args.shift, args.temperature, **options)
        strip, prompt = found.strip, found.prompt_patches
        new = strip.shape[1] // len(strip) - prompt
        told = f"{new} patches, {'up to a separator' if found.ended else 'up to the limit'}"
        if found.text is None:
            lines = []
            told += "; strips of this look (--renderer-backend pillow) cannot be read back"
        else:
            lines = [f"reads as: {found.text.strip()}"]
            mean = sum(found.scores) / len(found.scores) if found.scores else 0.0
            told += f"; characters fit {mean:.2f} on average (1: pixel for pixel)"
        print(f"{args.text}\n{(found.text or '').strip()}")
    if prompt is None:
        prompt = strip.shape[1] // len(strip)
    picture = draw_generation(strip, prompt, lines, loaded.renderer, args.patches_per_row, args.scale)
    save_picture(picture, args.output, args.overwrite)
    print(f"{args.output}: {told}")


def _prompt_strip(renderer, text):
    strip = renderer(text)
    return strip.pixels[:, : strip.num_text_patches * len(strip.pixels)]
