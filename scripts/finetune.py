#!/usr/bin/env python3
"""Fine-tune a checkpoint by its published recipe: prints the command of fairseq-train, and runs it."""

import argparse
import itertools
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import torch

from pixelgpt_fairseq.checkpoints import load_checkpoint
from pixelgpt_fairseq.errors import UserError, command
from pixelgpt_fairseq.models.pixelgpt import ARCHITECTURES
from pixelgpt_fairseq.recipes import find_recipe, model_options, training_options


def get_parser():
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="What follows -- goes to fairseq-train as it is, and wins over the recipe: ... -- --max-update 500",
    )
    parser.add_argument("--model", required=True, help="whose recipe: textgpt, pixelgpt, monogpt, dualgpt")
    parser.add_argument("--task", required=True, help="which task of GLUE: cola, sst2, mrpc, ...")
    parser.add_argument("--modality", required=True, help="what the model reads: text, pixel, pair")
    parser.add_argument("--data", required=True, metavar="DIR", help="what scripts/render_glue.py wrote for the task")
    start = parser.add_mutually_exclusive_group(required=True)
    start.add_argument("--checkpoint", metavar="FILE", help="of pretraining; the architecture is read from it")
    start.add_argument("--from-scratch", action="store_true", help="no pretraining: random weights, see --arch")
    parser.add_argument("--arch", choices=ARCHITECTURES, help="with --from-scratch: the size (default: pixelgpt)")
    parser.add_argument(
        "--save-dir", metavar="DIR", help="default: checkpoints/MODEL-TASK-MODALITY; several runs get folders in it"
    )
    parser.add_argument("--seed", type=int, nargs="+", default=[1], metavar="N", help="several: a run for each")
    parser.add_argument("--sweep", action="store_true", help="a run for every value of the recipe (default: the first)")
    parser.add_argument("--gpus", type=int, metavar="N", help="GPUs to share the batch (default: all; 0: the CPU)")
    parser.add_argument(
        "--batch-size", type=int, metavar="N", help="the most examples that fit a GPU (default: the recipe's)"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the commands, run nothing")
    parser.add_argument("fairseq_options", nargs="*", metavar="-- OPTION", help="options of fairseq-train")
    return parser


def starting_point(args):
    """The options of fairseq-train that say what the model is and where its weights come from."""
    if args.from_scratch:
        return ["--arch", args.arch or "pixelgpt"]
    if args.arch:
        raise UserError("--arch: the checkpoint says what its architecture is; with --from-scratch you choose")
    return [*model_options(load_checkpoint(args.checkpoint).model.config), "--finetune-from-model", args.checkpoint]


def plan(args):
    """Yield the folder of checkpoints and the arguments of fairseq-train of every run."""
    recipe = find_recipe(args.model, args.task, args.modality)
    variants = recipe.variants()
    if len(variants) > 1 and not args.sweep:
        first = variants[0]
        print(
            f"{recipe.name}: the recipe is a sweep of {len(variants)} (lr {', '.join(map(str, recipe.lr))}; "
            f"{', '.join(map(str, recipe.effective_batches))} examples an update); this is its first, lr {first.lr[0]} "
            f"and {first.effective_batches[0]} examples; --sweep runs them all"
        )
        variants = variants[:1]
    gpus = torch.cuda.device_count() if args.gpus is None else args.gpus
    save_dir = Path(args.save_dir or f"checkpoints/{args.model}-{args.task}-{args.modality}")
    model = starting_point(args)
    several = len(variants) * len(args.seed) > 1
    for variant, seed in itertools.product(variants, args.seed):
        name = f"lr{variant.lr[0]}-batch{variant.effective_batches[0]}-seed{seed}"
        folder = save_dir / name if several else save_dir
        yield (
            folder,
            training_options(
                variant, args.data, folder, model, gpus, args.batch_size, seed, extra=args.fairseq_options
            ),
        )


@command
def main(argv=None):
    """Run the command."""
    args = get_parser().parse_args(argv)
    runs = list(plan(args))
    program = shutil.which("fairseq-train", path=Path(sys.executable).parent) or "fairseq-train"
    for number, (folder, options) in enumerate(runs, start=1):
        if len(runs) > 1:
            print(f"run {number} of {len(runs)}: {folder}")
        print(shlex.join(["fairseq-train", *options]), flush=True)
        if args.dry_run:
            continue
        status = subprocess.run([program, *options]).returncode
        if status:
            sys.exit(status)
        print(f"best checkpoint: {folder / 'checkpoint_best.pt'}", flush=True)


if __name__ == "__main__":
    main()
