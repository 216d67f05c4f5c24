#!/usr/bin/env python3
"""Draw a text as a model reads it, with the model's next-patch predictions below, patch by patch."""

import argparse

import torch

from pixelgpt_fairseq.checkpoints import load_checkpoint
from pixelgpt_fairseq.errors import UserError, command
from pixelgpt_fairseq.pictures import draw_predictions, predict_patches
from pixelgpt_fairseq.rendering.preview import save_picture


def get_parser():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", required=True, metavar="CKPT", help="a checkpoint of fairseq-train")
    parser.add_argument("--text", required=True, help="what to render")
    parser.add_argument("--output", required=True, metavar="PNG", help="the picture")
    parser.add_argument("--overwrite", action="store_true", help="replace the picture if it is there")
    parser.add_argument("--font", nargs="+", metavar="FILE", help="fonts (default: those of the checkpoint)")
    parser.add_argument(
        "--patches-per-row", type=int, default=40, metavar="N", help="where rows are broken (default: 40)"
    )
    parser.add_argument("--scale", type=int, default=2, metavar="N", help="screen pixels per pixel (default: 2)")
    return parser


@command
def main(argv=None):
    """Run the command."""
    args = get_parser().parse_args(argv)
    for option, number, most in (("--patches-per-row", args.patches_per_row, 1024), ("--scale", args.scale, 16)):
        if not 1 <= number <= most:
            raise UserError(f"{option} {number}: from 1 to {most}")
    checkpoint = load_checkpoint(args.checkpoint)
    patches = torch.from_numpy(checkpoint.renderer(args.font)(args.text).patches())
    try:
        predictions = predict_patches(checkpoint.model, patches, checkpoint.raw_patch_targets)
    except UserError as error:
        raise UserError(f"{args.checkpoint}: {error}") from None
    picture = draw_predictions(
        patches,
        predictions,
        patches_per_row=args.patches_per_row,
        scale=args.scale,
    )
    save_picture(picture, args.output, args.overwrite)
    print(f"{args.output}: {len(patches)} patches; rows of text, and below each what the model predicted")


if __name__ == "__main__":
    main()
