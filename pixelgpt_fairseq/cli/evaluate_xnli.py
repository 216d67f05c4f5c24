"""Answer XNLI with fine-tuned checkpoints, and print one table: a row for each, every language and the average.

Model, setting and modality come from the checkpoint.
"""

import argparse
import logging
import sys
from pathlib import Path

from pixelgpt_fairseq.errors import UserError, command
from pixelgpt_fairseq.evaluation import MAX_TOKENS
from pixelgpt_fairseq.sources.xnli import parse_languages
from pixelgpt_fairseq.storage.files import check_absent, write_whole

FORMATS = (".md", ".tsv")


def get_parser():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--checkpoint", nargs="+", required=True, metavar="CKPT", help="fine-tuned with --task rendered_xnli"
    )
    parser.add_argument("--data", required=True, metavar="DIR", help="folder that pixelgpt render-xnli wrote")
    parser.add_argument("--subset", default="test", metavar="SPLIT", help="which split of it (default: test)")
    parser.add_argument(
        "--languages", metavar="CODES", help="only these, such as en,sw (default: all that the folder has)"
    )
    parser.add_argument("--output", metavar="FILE", help="write the table here as well: a name in .md or .tsv")
    parser.add_argument(
        "--predictions",
        metavar="FILE",
        help="write every example's label and answer here, a row each, as TSV; for one checkpoint",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")
    parser.add_argument("--batch-size", type=int, metavar="N", help="examples of a batch (default: any number)")
    parser.add_argument(
        "--max-tokens", type=int, metavar="N", help=f"patches and tokens of a batch (default: {MAX_TOKENS})"
    )
    parser.add_argument("--cpu", action="store_true", help="leave a GPU alone")
    return parser


def check_outputs(args):
    """Refuse, before any work is done, what could not be written in the end."""
    if args.predictions and len(args.checkpoint) > 1:
        raise UserError("--predictions: name one --checkpoint")
    if args.output and Path(args.output).suffix not in FORMATS:
        raise UserError(f"--output {args.output}: the name must end in {' or '.join(FORMATS)}")
    if args.output and args.predictions and Path(args.output).resolve() == Path(args.predictions).resolve():
        raise UserError(f"--output and --predictions are the same file: {args.output}")
    for path in filter(None, (args.output, args.predictions)):
        if not Path(path).parent.is_dir():
            raise UserError(f"{Path(path).parent}: no such folder")
        check_absent(path, "another name", args.overwrite)


@command
def main(argv=None):
    """Run the command."""
    args = get_parser().parse_args(argv)
    from pixelgpt_fairseq.evaluation import xnli_results

    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s: %(message)s")
    check_outputs(args)
    languages = parse_languages(args.languages) if args.languages is not None else None
    languages = xnli_results.languages_to_answer(args.data, args.subset, languages)
    options = {"max_tokens": args.max_tokens, "batch_size": args.batch_size, "cpu": args.cpu}
    results = [
        xnli_results.answer(checkpoint, args.data, args.subset, languages, **options) for checkpoint in args.checkpoint
    ]
    rows = xnli_results.table(results)
    print(xnli_results.format_table(rows, ".md"), end="")
    for one in results:
        number = sum(len(answers.logits) for answers in one.predictions.values())
        seconds = sum(answers.seconds for answers in one.predictions.values())
        print(
            f"{one.checkpoint}, {args.subset}: {number:,} examples in {len(one.predictions)} languages; "
            f"{seconds:.1f} s, {number / seconds:,.0f} examples/s"
        )
    if args.output:
        write_whole(args.output, xnli_results.format_table(rows, Path(args.output).suffix))
        print(f"table: {args.output}")
    if args.predictions:
        write_whole(args.predictions, xnli_results.format_table(xnli_results.prediction_table(results[0]), ".tsv"))
        print(f"predictions: {args.predictions}")
