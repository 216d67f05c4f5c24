"""Draw a text as a model reads it, as patches, as tokens or as both, and below each what the model predicted there."""

import argparse

from pixelgpt_fairseq.cli.model_options import add_checkpoint
from pixelgpt_fairseq.cli.picture_options import add_row_options, check_limits, row_limits
from pixelgpt_fairseq.errors import UserError, command


def get_parser():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_checkpoint(parser)
    parser.add_argument("--text", required=True, help="what to render")
    parser.add_argument("--output", required=True, metavar="PNG", help="the picture")
    parser.add_argument("--overwrite", action="store_true", help="replace the picture if it is there")
    parser.add_argument("--font", nargs="+", metavar="FILE", help="fonts of the patches (default: the checkpoint's)")
    add_row_options(parser, 20, 4)
    return parser


@command
def main(argv=None):
    """Run the command."""
    args = get_parser().parse_args(argv)
    check_limits(row_limits(args))
    show(args)


def show(args):
    """Draw the picture, and print what it shows."""
    from pixelgpt_fairseq.checkpoints.loading import load_checkpoint
    from pixelgpt_fairseq.evaluation.pictures import draw_predictions
    from pixelgpt_fairseq.rendering.preview import save_picture

    checkpoint = load_checkpoint(args.checkpoint)
    try:
        patches, predictions, tokens = predict(checkpoint, args.text, args.font)
    except UserError as error:
        raise UserError(f"{args.checkpoint}: {error}") from None
    picture = draw_predictions(patches, predictions, tokens, args.patches_per_row, args.scale)
    save_picture(picture, args.output, args.overwrite)
    found = []
    if patches is not None:
        found.append(f"{len(patches)} patches")
    if tokens:
        right = sum(token.is_right for token in tokens)
        found.append(f"{len(tokens)} tokens, of which the model's first choice was right for {right}")
    print(f"{args.output}: {'; '.join(found)}")


def predict(checkpoint, text, fonts=None):
    """What the model predicts of *text* in all that it reads.

    Returns:
        (patches, predicted patches, predicted tokens): the first two None, or the last empty, where the model was not
        trained on them.

    Raises:
        UserError: if the model is a classifier, or was trained on text alone and its tokenizer is not there.
    """
    import torch

    from pixelgpt_fairseq.evaluation.pictures import predict_patches, predict_tokens

    model = checkpoint.model
    patches = predictions = None
    tokens = []
    if model.vocab_size is not None and checkpoint.tokenizer is not None:
        tokens = predict_tokens(model, checkpoint.tokenizer, text)
    elif not model.uses_patches:
        raise UserError("trained on text alone, and there is no tokenizer beside it to make tokens of the text with")
    if model.uses_patches:
        patches = torch.from_numpy(checkpoint.renderer(fonts)(text).patches())
        predictions = predict_patches(model, patches, checkpoint.patch_loss)
    return patches, predictions, tokens
