"""Fine-tune a checkpoint by its published recipe: prints the command of fairseq-train, and runs it."""

import argparse
import contextlib
import itertools
import shlex
from pathlib import Path

from pixelgpt_fairseq.cli.variant_options import add_variant_options
from pixelgpt_fairseq.errors import UserError, command
from pixelgpt_fairseq.sources.glue import task_name

# What makes the name of a run's folder, and what this command computes from it.
_OPTIONS_OF_THIS_COMMAND = {
    "--lr": "--lr",
    "--seed": "--seed",
    "--save-dir": "--save-dir",
    "--batch-size": "--batch (examples an update) or --batch-size (at a time)",
    "--update-freq": "--batch (examples an update)",
}


def get_parser():
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="What follows -- goes to fairseq-train as it is, and wins over the recipe: ... -- --max-update 500. "
        "A command that was interrupted can be given again: finished runs are left as they are, and the one that was "
        "not goes on where it stopped.",
    )
    parser.add_argument("--model", required=True, help="whose recipe: textgpt, pixelgpt, monogpt, dualgpt")
    parser.add_argument(
        "--task",
        required=True,
        type=task_name,
        metavar="NAME|DIR",
        help="cola, sst2 (or SST-2), mrpc, ...; xnli_train_all, xnli_train_en; or the folder of a task of your own",
    )
    parser.add_argument("--modality", required=True, help="what the model reads: text, pixel, pair")
    parser.add_argument(
        "--data",
        metavar="DIR",
        help="what pixelgpt render-glue or render-xnli wrote (default: the folder that --task names)",
    )
    start = parser.add_mutually_exclusive_group(required=True)
    start.add_argument(
        "--checkpoint",
        metavar="CKPT",
        help="of pretraining, or a released folder, here or as OWNER/NAME on the Hugging Face hub; the architecture is "
        "read from it",
    )
    start.add_argument("--from-scratch", action="store_true", help="no pretraining: random weights, see --arch")
    parser.add_argument("--arch", metavar="NAME", help="with --from-scratch: the size (default: pixelgpt)")
    parser.add_argument(
        "--save-dir",
        metavar="DIR",
        help="default: checkpoints/MODEL-TASK-MODALITY; several runs, and those with values of your own where no "
        "--save-dir is given, get folders in it: lr3e-05-batch64-seed1",
    )
    parser.add_argument("--seed", type=int, nargs="+", metavar="N", help="several: a run for each (default: 1)")
    parser.add_argument("--lr", type=float, nargs="+", metavar="LR", help="rates of your own: a run for each")
    parser.add_argument(
        "--batch", type=int, nargs="+", metavar="N", help="examples an update, of your own: a run for each"
    )
    parser.add_argument("--sweep", action="store_true", help="a run for every value of the recipe (default: the first)")
    parser.add_argument("--gpus", type=int, metavar="N", help="GPUs to share the batch (default: all; 0: the CPU)")
    parser.add_argument(
        "--batch-size",
        type=int,
        metavar="N",
        help="most examples at a time on a GPU; those of an update stay the recipe's (default: as many as need no more "
        "room than the recipe's own, padded to its limit)",
    )
    add_variant_options(parser)
    parser.add_argument("--dry-run", action="store_true", help="print the commands, run nothing")
    parser.add_argument("fairseq_options", nargs="*", metavar="-- OPTION", help="options of fairseq-train")
    return parser


def starting_point(args, recipe, save_dir):
    """The options of fairseq-train that say what the model is, where its weights come from, and a pair's layout."""
    from pixelgpt_fairseq.checkpoints.loading import read_state
    from pixelgpt_fairseq.checkpoints.published import local_checkpoint
    from pixelgpt_fairseq.conversion.released_folders import import_released
    from pixelgpt_fairseq.models.architectures import ARCHITECTURES
    from pixelgpt_fairseq.storage.hub import is_hub_name

    if args.arch is not None and args.arch not in ARCHITECTURES:
        raise UserError(f"--arch {args.arch}: none of {', '.join(ARCHITECTURES)}")
    if args.from_scratch:
        return ["--arch", args.arch or "pixelgpt"]
    if args.arch:
        raise UserError("--arch: the checkpoint says what its architecture is; with --from-scratch you choose")
    checkpoint = Path(args.checkpoint)
    start = ["--arch", "pixelgpt", "--finetune-from-model"]  # sizes that are left open are the checkpoint's
    if checkpoint.is_dir() or is_hub_name(checkpoint):
        folder, checkpoint = checkpoint, save_dir / f"{checkpoint.resolve().name}.pt"
        if args.dry_run and not checkpoint.exists():
            print(f"{folder}: would first be {'' if folder.is_dir() else 'fetched and '}converted to {checkpoint}")
            return [*start, str(checkpoint)]
        if not checkpoint.exists():
            print(f"{folder}: converting to {checkpoint}", flush=True)
            import_released(local_checkpoint(folder), checkpoint)
    else:
        read_state(checkpoint)  # which is refused before anything is written if it is none
    return [*start, str(checkpoint)]


def runs_of(args, recipe):
    """(lr, examples an update) of every run but for its seed, and a line that says what was chosen, or None."""
    lrs, batches, line = args.lr or recipe.lr, args.batch or recipe.effective_batches, None
    if not args.sweep and len(lrs) * len(batches) > 1:
        chosen = args.lr or lrs[:1], args.batch or batches[:1]
        if chosen != (lrs, batches):
            number = len(lrs) * len(batches)
            line = (
                f"{recipe.name}: the recipe is a sweep of {number} (lr {', '.join(map(str, lrs))}; "
                f"{', '.join(map(str, batches))} examples an update); this is its first, lr {chosen[0][0]} and "
                f"{chosen[1][0]} examples; --sweep runs them all"
            )
        lrs, batches = chosen
    return list(itertools.product(lrs, batches)), line


def plan(args):
    """Yield, for every run, its folder, what makes it this run, and the arguments of fairseq-train."""
    from pixelgpt_fairseq.cli.data_variants import folder_of, variants_of
    from pixelgpt_fairseq.finetuning.recipes import is_own_task

    for option in args.fairseq_options:
        if (name := option.partition("=")[0]) in _OPTIONS_OF_THIS_COMMAND:
            raise UserError(f"{name} after --: give {_OPTIONS_OF_THIS_COMMAND[name]} before it; folders are named so")
    own = is_own_task(args.task)
    data = args.data or (args.task if own else None)
    if data is None:
        raise UserError(f"--data: name the folder of {args.task}'s rendered examples")
    recipe = recipe_of(args, own, data)
    values, line = runs_of(args, recipe)
    if line:
        print(line)
    task = Path(args.task).resolve().name if own else args.task
    top = Path(args.save_dir or f"checkpoints/{args.model}-{task}-{args.modality}")
    variants = variants_of(args, recipe, data)
    for variant in variants:
        folder = folder_of(variant, args, data, args.dry_run)
        save_dir = top / variant.name if len(variants) > 1 or not args.save_dir else top
        yield from plan_variant(args, recipe, variant, folder, save_dir, values)


def recipe_of(args, own, data):
    """The recipe that the command names; of a task of one's own (*own*), that for its folder *data*."""
    from pixelgpt_fairseq.finetuning.recipes import experiment_recipe, find_recipe, own_recipe

    if args.experiment:
        return experiment_recipe(args.experiment, args.model, args.task, args.modality)
    return own_recipe(args.model, args.modality, data) if own else find_recipe(args.model, args.task, args.modality)


def plan_variant(args, recipe, variant, data, save_dir, values):
    """Yield what :func:`plan` does, of the runs that read one folder *data*.

    Args:
        args: the command line.
        recipe: Recipe.
        variant: what the folder differs in, see :mod:`~pixelgpt_fairseq.cli.data_variants`.
        data: the folder.
        save_dir: of the checkpoints.
        values: (lr, examples an update) of each run.
    """
    import torch

    from pixelgpt_fairseq.finetuning.recipes import OWN_TASK, longest_example, training_options

    gpus = torch.cuda.device_count() if args.gpus is None else args.gpus
    model, batch_size = [*starting_point(args, recipe, save_dir), *variant.model_options], args.batch_size
    if batch_size is None:
        # With --dry-run, what is to be converted first is not there yet.
        there = args.from_scratch or Path(model[model.index("--finetune-from-model") + 1]).exists()
        start = model if there else [*model[:2], *variant.model_options]
        first = training_options(
            recipe.with_values(*values[0]), data, save_dir, start, gpus, extra=args.fairseq_options
        )
        batch_size = recipe.fitting(longest_example(first))
    seeds = args.seed or [1]
    named = len(values) * len(seeds) > 1 or (not args.save_dir and (args.lr or args.batch or args.seed))
    for (lr, batch), seed in itertools.product(values, seeds):
        folder = save_dir / f"lr{lr}-batch{batch}-seed{seed}" if named else save_dir
        one = recipe.with_values(lr, batch)
        if recipe.task == OWN_TASK:
            print(
                f"{data}: {one.max_steps} updates of {batch} examples, a validation every {one.eval_every} "
                f"({one.eval_every * batch:,} examples); the best by {one.best_metric}"
            )
        identity = {
            "recipe": recipe.name,
            "checkpoint": args.checkpoint or f"none, {model[1]}",
            "data": data,
            "lr": lr,
            "batch": batch,
            "seed": seed,
            "options": shlex.join(args.fairseq_options),
            **variant.record,
        }
        extra = args.fairseq_options
        yield folder, identity, training_options(one, data, folder, model, gpus, batch_size, seed, extra)


def report(scores, metric):
    """Print the best score of each run, and of several the best run.

    Args:
        scores: folder -> score, or None.
        metric: what was measured.
    """
    for folder, score in scores.items():
        print(f"{folder / 'checkpoint_best.pt'}: {metric} {score}" if score is not None else f"{folder}: no validation")
    known = {folder: score for folder, score in scores.items() if score is not None}
    if len(known) > 1:
        best = max(known, key=known.get)
        print(f"best of {len(known)} runs: {best}, {metric} {known[best]}")


@command
def main(argv=None):
    """Run the command."""
    args = get_parser().parse_args(argv)
    runs = list(plan(args))
    with contextlib.ExitStack() as held:
        run_all(args, runs, held)


def run_all(args, runs, held):
    """Train the *runs* that are not finished, one after the other, and report the scores of all.

    Args:
        args: the command line.
        runs: what :func:`plan` yields.
        held: ExitStack for the locks of their folders.
    """
    from pixelgpt_fairseq.finetuning.recipes import configuration
    from pixelgpt_fairseq.finetuning.runs import best_score, hold, is_finished, train, write_record

    done = {run[0]: is_finished(*run) for run in runs}
    locks = {}
    if not args.dry_run:
        locks = hold([folder for folder in done if not done[folder]], held)
        done = {run[0]: is_finished(*run) for run in runs}  # nobody changes that now
    failed = []
    for number, (folder, identity, arguments) in enumerate(runs, start=1):
        if len(runs) > 1:
            print(f"run {number} of {len(runs)}: {folder}{': finished before' if done[folder] else ''}")
        elif done[folder]:
            print(f"{folder}: finished before")
        if not args.dry_run and not done[folder]:
            write_record(folder, identity, arguments, finished=False)
            arguments = [*arguments, "--log-file", str(folder / "train.log")]  # for which the folder must be there
        print(shlex.join(["fairseq-train", *arguments]), flush=True)
        if args.dry_run or done[folder]:
            continue
        if train(arguments, folder, locks[folder]):
            write_record(folder, identity, arguments, finished=True)
        else:
            failed.append(str(folder))
    if failed:
        raise UserError(f"{len(failed)} of {len(runs)} runs failed, see above: {', '.join(failed)}")
    if not args.dry_run:
        metric = configuration(runs[0][2]).checkpoint.best_checkpoint_metric
        report({folder: best_score(folder) for folder, _, _ in runs}, metric)
