"""Put what fine-tuning runs reached into one table: a row for every model and modality, a column for every task.

Scores are those of the validation at which a run was best, in percent. A run's checkpoint tells its best score by the
metric that chose it; the task's other metrics, and MNLI's mismatched set, are in its log: a file *.log beside the
checkpoints (fairseq-train's --log-file, or what it printed), or where Hydra writes it.
"""

import argparse
from pathlib import Path

from pixelgpt_fairseq.errors import UserError, command
from pixelgpt_fairseq.evaluation.result_tables import tabulate, to_markdown, to_tsv
from pixelgpt_fairseq.storage.files import check_absent, write_whole

FORMATS = {".md": to_markdown, ".tsv": to_tsv}


def get_parser():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "runs",
        nargs="*",
        default=["checkpoints"],
        metavar="PATH",
        help="folders with runs in them, at any depth, or log files (default: checkpoints). The names of models come "
        "from folders named MODEL-TASK-MODALITY, as pixelgpt finetune makes them",
    )
    parser.add_argument(
        "--output", nargs="+", metavar="FILE", help="write it, too: table.md (Markdown), table.tsv (a number on a line)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the file if it is there")
    return parser


@command
def main(argv=None):
    """Run the command."""
    args = get_parser().parse_args(argv)
    outputs = [Path(output) for output in args.output or ()]
    for path in outputs:
        if path.suffix not in FORMATS:
            raise UserError(f"--output {path}: the name must end in {' or '.join(FORMATS)}")
        check_absent(path, "another --output", args.overwrite)
    from pixelgpt_fairseq.evaluation.runs import find_runs

    tables = tabulate(find_runs(args.runs))
    print(to_markdown(tables), end="")
    for path in outputs:
        write_whole(path, FORMATS[path.suffix](tables))
