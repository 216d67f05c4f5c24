"""Answer splits of a GLUE task with a fine-tuned checkpoint, and write the files that GLUE takes.

The model, its task and its modality come from the checkpoint. MNLI's splits are test, test_mismatched and ax.
"""

import argparse
import os

from pixelgpt_fairseq.errors import UserError, command
from pixelgpt_fairseq.evaluation import MAX_TOKENS


def get_parser():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", required=True, metavar="CKPT", help="a fine-tuned checkpoint of fairseq-train")
    parser.add_argument("--data", required=True, metavar="DIR", help="folder that pixelgpt render-glue wrote")
    parser.add_argument(
        "--subset",
        nargs="+",
        default=["test"],
        metavar="SPLIT",
        help="which splits of it, such as test test_mismatched ax (default: test)",
    )
    parser.add_argument(
        "--output",
        required=True,
        metavar="FILE",
        help="the file; or a folder (DIR/ is made), where each split gets GLUE's own name (RTE.tsv). Several splits: a "
        "folder",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the file if it is there")
    parser.add_argument(
        "--probabilities",
        action="store_true",
        help="add a column with the probability of each label, for analysis: not a file to submit any more",
    )
    parser.add_argument("--batch-size", type=int, metavar="N", help="examples of a batch (default: any number)")
    parser.add_argument(
        "--max-tokens", type=int, metavar="N", help=f"patches and tokens of a batch (default: {MAX_TOKENS})"
    )
    parser.add_argument("--cpu", action="store_true", help="leave a GPU alone")
    return parser


@command
def main(argv=None):
    """Run the command."""
    args = get_parser().parse_args(argv)
    from pixelgpt_fairseq.evaluation.prediction import output_path, predict, task_of

    subsets = list(dict.fromkeys(args.subset))
    output = args.output if len(subsets) == 1 else f"{args.output.rstrip(os.sep)}{os.sep}"
    paths = {}
    for subset in subsets:
        task = task_of(args.data, subset)
        if args.probabilities and task.regression:
            raise UserError(f"--probabilities: {task.name} has scores, no classes")
        paths[subset] = output_path(output, task, subset, args.probabilities, args.overwrite)
    answers = predict(args.checkpoint, args.data, subsets, args.max_tokens, args.batch_size, args.cpu)
    for subset, path in paths.items():
        report(answers[subset], subset, path, args.probabilities)


def report(answers, subset, path, probabilities):
    """Write the predictions of one split, and print what they are."""
    from pixelgpt_fairseq.evaluation.prediction import write_predictions

    write_predictions(answers, path, probabilities)
    number, metrics = len(answers.logits), answers.metrics()
    print(
        f"{path}: {number:,} predictions of {answers.task.name}, {subset}, modality {answers.modality}"
        + "".join(f", {name} {value:.4f}" for name, value in metrics.items())
        + f"; {answers.seconds:.1f} s, {number / answers.seconds:,.0f} examples/s"
    )
