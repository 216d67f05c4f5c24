"""Render and tokenize GLUE, or a table of sentences with labels, for fine-tuning in every modality."""

import argparse
from pathlib import Path
from typing import NamedTuple

from pixelgpt_fairseq.cli.attack_options import RELEASED_STRIPS, add_attack_options, perturbations_of, refuse_attack
from pixelgpt_fairseq.cli.example_options import add_released_options, add_rendering_options, add_split_options
from pixelgpt_fairseq.errors import UserError, command
from pixelgpt_fairseq.sources import hatemoji
from pixelgpt_fairseq.sources.examples import SentenceTask, custom_task, label_column_of, read_examples
from pixelgpt_fairseq.sources.glue import GLUE_TASKS, find_source, task_name


def get_parser():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_split_options(parser)
    glue = parser.add_argument_group("GLUE")
    glue.add_argument("--glue-dir", metavar="DIR", help="GLUE as distributed: folders CoLA, SST-2, ...")
    glue.add_argument(
        "--task",
        type=task_name,
        choices=[*GLUE_TASKS, "all"],
        help="all that are there: each in a folder of its name in --destdir",
    )
    own = parser.add_argument_group("a task of your own (instead of GLUE)")
    own.add_argument(
        "--input", nargs="+", metavar="SPLIT=FILE", help="such as train=a.csv valid=b.csv; TSV, CSV, JSON lines"
    )
    own.add_argument("--name", default="custom", help="what to call it (default: custom)")
    own.add_argument("--columns", nargs="+", metavar="NAME", help="one or two: the sentences; numbers if no header")
    own.add_argument("--label-column", metavar="NAME", help="column of the labels; a number if there is no header")
    own.add_argument("--labels", nargs="+", metavar="WORD", help="the classes in order (default: labels are scores)")
    own.add_argument("--detokenize", action="store_true", help="mend tokenized English, as is done with GLUE's")
    parser.add_argument_group("HatemojiBuild (instead of GLUE)").add_argument(
        "--hatemoji",
        metavar="PATH",
        help="its CSV file, or the folder with train.csv, validation.csv, test.csv: texts with emoji, hateful or not",
    )
    add_released_options(parser, "rte-train")
    add_attack_options(parser)
    add_rendering_options(parser)
    return parser


class HatemojiJob(NamedTuple):
    """A split of HatemojiBuild to be rendered."""

    task: SentenceTask
    folder: Path
    split: str
    path: Path  # of the table
    source: tuple  # see hatemoji.find_sources

    def read(self, on_bad_row):
        """The examples, see :func:`~pixelgpt_fairseq.sources.examples.read_examples`."""
        return hatemoji.read_source(self.source, on_bad_row)


class Job(NamedTuple):
    """A split of GLUE, or of a task of the user's own, to be rendered."""

    task: SentenceTask
    folder: Path
    split: str
    path: Path  # of the table
    columns: tuple
    label_column: str | int | None
    detokenized: bool

    def read(self, on_bad_row):
        """The examples, see :func:`~pixelgpt_fairseq.sources.examples.read_examples`."""
        return read_examples(self.path, self.task, self.columns, self.label_column, self.detokenized, on_bad_row)


def glue_jobs(args):
    """Yield the jobs that ``--task`` asks for."""
    if not Path(args.glue_dir).is_dir():
        raise UserError(f"--glue-dir {args.glue_dir}: no such folder")
    found = False
    for name in GLUE_TASKS if args.task == "all" else [args.task]:
        task, sources = GLUE_TASKS[name]
        folder = Path(args.destdir, name) if args.task == "all" else Path(args.destdir)
        known = [source.split for source in sources]
        for split in args.splits or ():
            if split not in known and args.task != "all":
                raise UserError(f"--splits {split}: {name} has {', '.join(known)}")
        for source in sources:
            if args.splits and source.split not in args.splits:
                continue
            path = find_source(source, args.glue_dir)
            expected = Path(args.glue_dir, source.files[0])
            if path is not None:
                found = True
                yield Job(task, folder, source.split, path, source.columns, source.label, detokenized=True)
            elif args.task != "all" and (args.splits or not source.optional):
                raise UserError(f"{expected}: no such file (split {source.split} of {name})")
            else:
                print(f"{name}, {source.split}: left out, there is no {expected}")
    if not found:
        expected = Path(args.glue_dir, GLUE_TASKS["rte"][1][0].files[0])
        raise UserError(f"--glue-dir {args.glue_dir}: no files such as {expected} in it")


def binarize_released_glue(args):
    """Binarize the splits of ``--task`` that ``--released`` has."""
    from pixelgpt_fairseq.cli.released_splits import binarize_released_split, find_released_splits, missing_split
    from pixelgpt_fairseq.data.data_folder import DataFolder
    from pixelgpt_fairseq.preprocessing.partial_folder import check_destination
    from pixelgpt_fairseq.sources.released import released_name

    chosen, found = GLUE_TASKS if args.task == "all" else [args.task], []
    for name in chosen:
        task, sources = GLUE_TASKS[name]
        splits = [source.split for source in sources if source.submission != "AX.tsv"]
        for split in args.splits or ():
            if split not in splits and args.task != "all":
                raise UserError(f"--splits {split}: the released {name} has {', '.join(splits)}")
        there = find_released_splits(args, name, [split for split in splits if not args.splits or split in args.splits])
        folder = Path(args.destdir, name) if args.task == "all" else Path(args.destdir)
        if args.task != "all":
            for split in args.splits or splits[:2]:
                if split not in there:
                    raise missing_split(args, name, split)
        if not there:
            print(f"{name}: left out, there is no {released_name(name, (args.splits or splits)[0])}")
        found += [(folder, split, task, path) for split, path in there.items()]
    if not found:
        raise UserError(f"--released {args.released}: no folders such as {released_name('rte', 'train')} in it")
    for folder, split, _, _ in found:
        check_destination(DataFolder(folder), split, args.overwrite)
    for job in found:
        binarize_released_split(args, *job, detokenized=True)


def hatemoji_jobs(args):
    """Yield the jobs that ``--hatemoji`` asks for: a split's source takes the place of its table's columns."""
    there = hatemoji.find_sources(args.hatemoji)
    for split in args.splits or ():
        if split not in there:
            raise UserError(f"--splits {split}: {args.hatemoji} has {', '.join(there)}")
    for split, source in there.items():
        if not args.splits or split in args.splits:
            yield HatemojiJob(hatemoji.HATEMOJI, Path(args.destdir), split, source[0], source)


def own_jobs(args):
    """Yield the jobs that ``--input`` asks for."""
    if not args.columns or len(args.columns) > 2:
        raise UserError("--columns: name the one or two columns of the sentences")
    task = custom_task(args.name, args.labels, len(args.columns))
    given = args.columns if args.label_column is None else [*args.columns, args.label_column]
    numbers = [column.isdigit() and int(column) > 0 for column in given]
    if any(numbers) and not all(numbers):
        raise UserError("--columns and --label-column: names for tables with a header, numbers for those without")
    columns = [int(column) if all(numbers) else column for column in given]
    label_column = columns.pop() if args.label_column is not None else None
    for split_and_file in args.input:
        split, equals, path = split_and_file.partition("=")
        if not equals or not split.replace("_", "").isalnum():
            raise UserError(f"--input {split_and_file}: say which split it is, such as train={split_and_file}")
        if not args.splits or split in args.splits:
            label = label_column_of(path, label_column, split, task)
            yield Job(task, Path(args.destdir), split, Path(path), tuple(columns), label, args.detokenize)


@command
def main(argv=None):
    """Run the command."""
    args = get_parser().parse_args(argv)
    chosen = [bool(option) for option in (args.glue_dir, args.released, args.input, args.hatemoji)]
    if sum(chosen) != 1 or bool(args.input or args.hatemoji) == bool(args.task):
        raise UserError(
            "name --glue-dir and --task; or --released and --task; or --hatemoji; or, for a task of your own, "
            "--input, --columns and --label-column"
        )
    if args.verify_rendering and not args.released:
        raise UserError("--verify-rendering: there is nothing to compare with but in --released")
    if args.released:
        refuse_attack(args, RELEASED_STRIPS)
        binarize_released_glue(args)
        return
    render_all(args, list((glue_jobs if args.glue_dir else hatemoji_jobs if args.hatemoji else own_jobs)(args)))


def render_all(args, jobs):
    """Render splits, and print what came of each."""
    from pixelgpt_fairseq.cli.example_splits import render_split
    from pixelgpt_fairseq.data.data_folder import DataFolder
    from pixelgpt_fairseq.preprocessing.partial_folder import check_destination

    perturbations = perturbations_of(args, list(dict.fromkeys(job.split for job in jobs)))
    for job in jobs:
        check_destination(DataFolder(job.folder), job.split, args.overwrite)
    for job in jobs:
        perturbation = perturbations[job.split]
        render_split(args, job.folder, job.split, job.task, job.path, job.read, perturbation)
