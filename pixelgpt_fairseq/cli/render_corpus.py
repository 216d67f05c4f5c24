"""Render and tokenize a text corpus into fairseq's indexed format, for pretraining."""

import argparse
import sys

from pixelgpt_fairseq.cli.renderer_options import add_max_missing, add_renderer_options, chosen_settings
from pixelgpt_fairseq.cli.reports import print_skipped
from pixelgpt_fairseq.data.streams import STORES
from pixelgpt_fairseq.errors import UserError, command
from pixelgpt_fairseq.rendering import RendererConfig
from pixelgpt_fairseq.sources.row_documents import Fields
from pixelgpt_fairseq.sources.standard_input import STANDARD_INPUT


def get_parser():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--input",
        nargs="+",
        required=True,
        metavar="PATH",
        help="text, JSON lines or Parquet, plain or compressed (.gz, .zst, .xz, .bz2): files, folders, quoted patterns "
        "such as 'c4-*.json.gz', or - for standard input",
    )
    parser.add_argument("--destdir", required=True, metavar="DIR", help="data folder, made if absent")
    parser.add_argument(
        "--split", default="train", choices=("train", "valid", "test"), help="name of this split (default: train)"
    )
    parser.add_argument(
        "--documents",
        default="blank-line",
        choices=("blank-line", "line"),
        help="what ends a document of a text: an empty line (the lines before it are joined; default), or every line",
    )
    rows = parser.add_argument_group("JSON lines and Parquet, of which every row is a document")
    rows.add_argument(
        "--text-field",
        default=Fields().text,
        metavar="NAME",
        help="field or column of the text (default: text); dots lead into nested ones: content.body",
    )
    rows.add_argument(
        "--id-field",
        metavar="NAME",
        help="field or column of an id, which is written beside the data (ids.txt of each shard) and never read",
    )
    rows.add_argument("--skip-bad-rows", action="store_true", help="pass over rows without a text, and count them")
    parser.add_argument(
        "--encoding-errors",
        default="fail",
        choices=("fail", "replace"),
        help="bytes that are not UTF-8 (default: fail)",
    )
    tokens = parser.add_mutually_exclusive_group()
    tokens.add_argument(
        "--tokenizer",
        metavar="FILE",
        help="SentencePiece model, such as LLaMA's tokenizer.model, or tokenizer.json (default: the data folder's, if "
        "it has one)",
    )
    tokens.add_argument("--train-tokenizer", type=int, metavar="N", help="train a tokenizer of N tokens on --input")
    add_renderer_options(parser, "look (default: the data folder's, if it has one)")
    add_max_missing(parser)
    parser.add_argument(
        "--store",
        default="patches",
        choices=STORES,
        help="patches (default): read fastest in training; text: a hundredth of the space, rendered while training",
    )
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes (default: 1)")
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="Dask scheduler, such as tcp://host:8786, whose workers render in place of --workers (examples/cluster)",
    )
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument(
        "--repair",
        action="store_true",
        help="read the split, which is there, and make again what is damaged of it: give the options of before",
    )
    existing.add_argument(
        "--overwrite",
        action="store_true",
        help="replace the split if it is there, and what an unfinished run with other options left",
    )
    return parser


def choose_config(args, folder):
    """The renderer's settings: the command line's, else the data folder's, else the defaults."""
    chosen = chosen_settings(args)
    if not folder.splits():
        return RendererConfig(**chosen)
    return folder.renderer_config(locate_fonts="fonts" not in chosen).replaced(chosen)


def choose_tokenizer(args, folder):
    """The tokenizer: given, how many tokens of one to train, the data folder's, or none."""
    from pixelgpt_fairseq.data.tokens import Tokenizer

    if args.tokenizer:
        return Tokenizer.load(args.tokenizer)
    if args.train_tokenizer is None:
        return folder.tokenizer()
    others = [split for split in folder.splits() if split != args.split]
    if others:
        raise UserError(
            f"{folder.path}: split {others[0]} is there with its own tokenizer: leave out --train-tokenizer, "
            "or choose another --destdir"
        )
    return args.train_tokenizer


@command
def main(argv=None):
    """Run the command."""
    args = get_parser().parse_args(argv)
    for option, number in (("--workers", args.workers), ("--train-tokenizer", args.train_tokenizer)):
        if number is not None and number < 1:
            raise UserError(f"{option} {number}: at least 1")
    if not 0 <= args.max_missing <= 1:
        raise UserError(f"--max-missing {args.max_missing}: a share, from 0 to 1")
    render(args)


def render(args):
    """Render one split, and print what came of it."""
    from pixelgpt_fairseq.data.data_folder import DataFolder
    from pixelgpt_fairseq.preprocessing.binarize import binarize
    from pixelgpt_fairseq.preprocessing.partial_folder import check_destination
    from pixelgpt_fairseq.sources.corpus_inputs import find_inputs

    inputs = find_inputs(args.input)
    if args.train_tokenizer is not None and STANDARD_INPUT in inputs:
        raise UserError("--train-tokenizer reads the input twice, and - once: write it to a file, or pass --tokenizer")
    folder = DataFolder(args.destdir)
    if not args.repair:
        check_destination(folder, args.split, args.overwrite)
    config = choose_config(args, folder)
    tokenizer = choose_tokenizer(args, folder)
    summary = binarize(
        inputs,
        args.destdir,
        args.split,
        config,
        tokenizer=tokenizer,
        documents=args.documents,
        encoding_errors=args.encoding_errors,
        store=args.store,
        max_missing=args.max_missing,
        workers=args.workers,
        overwrite=args.overwrite,
        fields=Fields(args.text_field, args.id_field),
        skip_bad_rows=args.skip_bad_rows,
        scheduler=args.scheduler,
        repair=args.repair,
    )
    if args.repair:
        made = f"made again: {', '.join(summary.repaired)}" if summary.repaired else "nothing is damaged"
        print(f"{args.destdir}, {args.split}: {made}")
        return
    counts, skipped = summary.counts, summary.skipped
    print_skipped(skipped)
    for line in summary.missing:
        print(f"warning: no font has a glyph for {line}", file=sys.stderr)
    print(
        f"{args.destdir}, {args.split}: {counts.documents:,} documents, "
        + (f"{skipped.count:,} rows skipped, " if skipped.count else "")
        + f"{counts.patches:,} patches, "
        f"{counts.tokens:,} tokens, {summary.bytes:,} bytes in {len(summary.files)} files; "
        f"{summary.seconds:.1f} s, {(counts.patches - summary.resumed.patches) / summary.seconds:,.0f} patches/s"
    )
