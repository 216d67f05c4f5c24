"""Render and tokenize sources, and tokenize their targets: transcription, transliteration, translation, summaries."""

import argparse
from pathlib import Path
from typing import NamedTuple

from pixelgpt_fairseq.cli.attack_options import add_attack_options, perturbations_of
from pixelgpt_fairseq.cli.example_options import add_rendering_options, add_split_options
from pixelgpt_fairseq.cli.reports import print_warnings
from pixelgpt_fairseq.errors import UserError, command
from pixelgpt_fairseq.sources.bad_rows import SkippedRows
from pixelgpt_fairseq.sources.translations import read_parallel, read_table


def get_parser():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_split_options(parser)
    table = parser.add_argument_group("two columns of a table")
    table.add_argument(
        "--input", nargs="+", metavar="SPLIT=FILE", help="such as train=a.csv valid=b.csv; TSV, CSV, JSON lines"
    )
    table.add_argument(
        "--columns", nargs=2, metavar=("SOURCE", "TARGET"), help="names; numbers if the table has no header"
    )
    files = parser.add_argument_group("two parallel files (instead of a table)")
    files.add_argument("--sources", nargs="+", metavar="SPLIT=FILE", help="such as train=train.sw valid=valid.sw")
    files.add_argument("--targets", nargs="+", metavar="SPLIT=FILE", help="such as train=train.en valid=valid.en")
    add_attack_options(parser)
    add_rendering_options(parser)
    return parser


class Job(NamedTuple):
    """A split to be rendered."""

    split: str
    paths: tuple[Path, ...]  # of the table, or of sources and targets
    columns: tuple | None


def table_jobs(args):
    """The jobs that ``--input`` asks for."""
    if not args.columns:
        raise UserError("--columns: name the columns of the source and of the target")
    numbers = [column.isdigit() and int(column) > 0 for column in args.columns]
    if any(numbers) and not all(numbers):
        raise UserError("--columns: names for tables with a header, numbers for those without")
    columns = tuple(map(int, args.columns) if all(numbers) else args.columns)
    return [Job(split, (path,), columns) for split, path in _by_split("--input", args.input).items()]


def parallel_jobs(args):
    """The jobs that ``--sources`` and ``--targets`` ask for."""
    sources, targets = _by_split("--sources", args.sources), _by_split("--targets", args.targets or [])
    if sources.keys() != targets.keys():
        (split, *_) = sorted(sources.keys() ^ targets.keys())
        raise UserError(f"split {split}: name a file for it with --sources and with --targets")
    return [Job(split, (path, targets[split]), None) for split, path in sources.items()]


def _by_split(option, given):
    """Split -> path."""
    found = {}
    for split_and_file in given:
        split, equals, path = split_and_file.partition("=")
        if not equals or not split.replace("_", "").isalnum():
            raise UserError(f"{option} {split_and_file}: say which split it is, such as train={split_and_file}")
        if split in found:
            raise UserError(f"{option}: split {split} is named twice")
        found[split] = Path(path)
    return found


@command
def main(argv=None):
    """Run the command."""
    args = get_parser().parse_args(argv)
    if bool(args.input) == bool(args.sources):
        raise UserError("name --input and --columns for a table, or --sources and --targets for parallel files")
    jobs = table_jobs(args) if args.input else parallel_jobs(args)
    for split in args.splits or ():
        if split not in (job.split for job in jobs):
            raise UserError(f"--splits {split}: there are {', '.join(job.split for job in jobs)}")
    render_all(args, [job for job in jobs if not args.splits or job.split in args.splits])


def render_all(args, jobs):
    """Render splits, and print what came of each."""
    from pixelgpt_fairseq.data.data_folder import DataFolder
    from pixelgpt_fairseq.preprocessing.partial_folder import check_destination

    folder = DataFolder(args.destdir)
    perturbations = perturbations_of(args, [job.split for job in jobs])
    for job in jobs:
        check_destination(folder, job.split, args.overwrite)
    for job in jobs:
        render(args, folder, job, perturbations[job.split])


def render(args, folder, job, perturbation=None):
    """Render one split, its sources attacked by *perturbation*, and print what came of it."""
    from pixelgpt_fairseq.cli.example_splits import choose_rendering
    from pixelgpt_fairseq.preprocessing.binarize_translations import binarize_translations

    config, tokenizer = choose_rendering(args, folder)
    if tokenizer is None:
        raise UserError("no tokenizer, with which targets are written: give --tokenizer FILE, or --like CHECKPOINT")
    skipped = SkippedRows()
    on_bad_row = skipped if args.skip_bad_rows else None
    if job.columns:
        translations = read_table(*job.paths, job.columns, on_bad_row)
    else:
        translations = read_parallel(*job.paths, on_bad_row)
    summary = binarize_translations(
        translations,
        folder.path,
        job.split,
        config,
        tokenizer,
        max_missing=args.max_missing,
        workers=args.workers,
        overwrite=args.overwrite,
        perturbation=perturbation,
    )
    print_warnings(job.paths[0], summary, skipped, perturbation, "sources")
    counts = summary.counts
    print(
        f"{folder.path}, {job.split}: {counts.translations:,} translations"
        + (f", {skipped.count:,} rows skipped" if skipped.count else "")
        + (f", {summary.attacked:,} sources changed by {perturbation}" if perturbation else "")
        + f", {counts.patches:,} patches, {counts.tokens:,} source and {counts.target_tokens:,} target tokens, "
        f"{counts.full_strips:,} strips cut at {config.max_patches} patches, {summary.bytes:,} bytes; "
        f"{summary.seconds:.1f} s, {counts.translations / summary.seconds:,.0f} translations/s"
    )
