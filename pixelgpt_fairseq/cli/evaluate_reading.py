"""How well a model reads: draw lines of text, let it write what they say, and count mistakes by the number of words."""

import argparse

from pixelgpt_fairseq.cli.model_options import add_checkpoint
from pixelgpt_fairseq.errors import UserError, command


def get_parser():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_checkpoint(parser)
    parser.add_argument("--input", required=True, metavar="FILE", help="lines of text, which the model has not seen")
    parser.add_argument("--lines", type=int, metavar="N", help="read so many at most (default: all)")
    parser.add_argument(
        "--max-tokens",
        type=int,
        metavar="N",
        help="write so many tokens of a line at most (default: what the model's positions allow, at most 200)",
    )
    parser.add_argument("--beam", type=int, default=1, metavar="N", help="hypotheses that are kept (default: 1)")
    parser.add_argument("--batch-size", type=int, default=32, metavar="N", help="lines at a time (default: 32)")
    parser.add_argument("--output", metavar="TSV", help="every line, what the model read and how many edits away it is")
    parser.add_argument("--overwrite", action="store_true", help="replace --output if it is there")
    return parser


@command
def main(argv=None):
    """Run the command."""
    args = get_parser().parse_args(argv)
    for name in ("lines", "max_tokens", "beam", "batch_size"):
        number = getattr(args, name)
        if number is not None and number < 1:
            raise UserError(f"--{name.replace('_', '-')} {number}: at least 1")
    evaluate(args)


def evaluate(args):
    """Read the lines, print the table, and write every line."""
    import pixelgpt_fairseq
    from pixelgpt_fairseq.evaluation.transcription import numbered_lines, reading_table, tabulate_reading, transcribe
    from pixelgpt_fairseq.storage.files import check_absent, write_whole

    if args.output:
        check_absent(args.output, "another --output", args.overwrite)
    lines = numbered_lines(args.input, args.lines)
    loaded = pixelgpt_fairseq.load(args.checkpoint)
    found = transcribe(loaded, lines, args.max_tokens, args.beam, args.batch_size, args.input)
    print(reading_table(tabulate_reading(found)), end="")
    if args.output:
        rows = [("text", "read", "edits"), *((line.text, line.read, str(line.edits)) for line in found)]
        write_whole(args.output, "".join("\t".join(row) + "\n" for row in rows))
