#!/usr/bin/env python3
"""Answer a split of a GLUE task with a fine-tuned checkpoint, and write the file that GLUE takes.

The model, its task and its modality come from the checkpoint. MNLI's splits are test, test_mismatched and ax.
"""

import argparse

from pixelgpt_fairseq.errors import UserError, command
from pixelgpt_fairseq.evaluation.prediction import MAX_TOKENS, output_path, predict, task_of, write_predictions


def get_parser():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", required=True, metavar="CKPT", help="a fine-tuned checkpoint of fairseq-train")
    parser.add_argument("--data", required=True, metavar="DIR", help="folder that scripts/render_glue.py wrote")
    parser.add_argument("--subset", default="test", metavar="SPLIT", help="which split of it (default: test)")
    parser.add_argument(
        "--output", required=True, metavar="FILE", help="the file; or a folder, where it gets GLUE's own name (RTE.tsv)"
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
    task = task_of(args.data, args.subset)
    if args.probabilities and task.regression:
        raise UserError(f"--probabilities: {task.name} has scores, no classes")
    path = output_path(args.output, task, args.subset, args.probabilities, args.overwrite)
    answers = predict(args.checkpoint, args.data, [args.subset], args.max_tokens, args.batch_size, args.cpu)[
        args.subset
    ]
    write_predictions(answers, path, args.probabilities)
    number, metrics = len(answers.logits), answers.metrics()
    print(
        f"{path}: {number:,} predictions of {answers.task.name}, {args.subset}, modality {answers.modality}"
        + "".join(f", {name} {value:.4f}" for name, value in metrics.items())
        + f"; {answers.seconds:.1f} s, {number / answers.seconds:,.0f} examples/s"
    )


if __name__ == "__main__":
    main()
