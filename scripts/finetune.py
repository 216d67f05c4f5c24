#!/usr/bin/env python3
"""Fine-tune a checkpoint by its published recipe: prints the command of fairseq-train, and runs it."""

import argparse
import contextlib
import itertools
import json
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import torch

from pixelgpt_fairseq.checkpoints import read_state
from pixelgpt_fairseq.conversion import import_released
from pixelgpt_fairseq.errors import UserError, command
from pixelgpt_fairseq.files import read_json, write_whole
from pixelgpt_fairseq.locks import locked
from pixelgpt_fairseq.models.pixelgpt import ARCHITECTURES
from pixelgpt_fairseq.recipes import best_metric, find_recipe, longest_example, training_options
from pixelgpt_fairseq.sources.glue import task_name

LOCK_FILE = "run.lock"  # fairseq-train holds one of its own while it trains, which another process may have started
SECONDS_TO_END = 30  # for fairseq-train, when it is interrupted: its data loaders alone may take 5
INTERRUPTED = 130  # the exit status of a command that was interrupted and has said what is left
RECORD = "run.json"  # in the folder of a run's checkpoints: which run it is, and whether it is finished


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
        "--task", required=True, type=task_name, help="cola, sst2 (or SST-2), mrpc, ...; xnli_train_all, xnli_train_en"
    )
    parser.add_argument("--modality", required=True, help="what the model reads: text, pixel, pair")
    parser.add_argument(
        "--data", required=True, metavar="DIR", help="what scripts/render_glue.py or render_xnli.py wrote"
    )
    start = parser.add_mutually_exclusive_group(required=True)
    start.add_argument(
        "--checkpoint", metavar="CKPT", help="of pretraining, or a released folder; the architecture is read from it"
    )
    start.add_argument("--from-scratch", action="store_true", help="no pretraining: random weights, see --arch")
    parser.add_argument("--arch", choices=ARCHITECTURES, help="with --from-scratch: the size (default: pixelgpt)")
    parser.add_argument(
        "--save-dir", metavar="DIR", help="default: checkpoints/MODEL-TASK-MODALITY; several runs get folders in it"
    )
    parser.add_argument("--seed", type=int, nargs="+", default=[1], metavar="N", help="several: a run for each")
    parser.add_argument("--sweep", action="store_true", help="a run for every value of the recipe (default: the first)")
    parser.add_argument("--gpus", type=int, metavar="N", help="GPUs to share the batch (default: all; 0: the CPU)")
    parser.add_argument(
        "--batch-size",
        type=int,
        metavar="N",
        help="most examples at a time on a GPU; those of an update stay the recipe's (default: as many as need no more "
        "room than the recipe's own, padded to its limit)",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the commands, run nothing")
    parser.add_argument("fairseq_options", nargs="*", metavar="-- OPTION", help="options of fairseq-train")
    return parser


def starting_point(args, recipe, save_dir):
    """The options of fairseq-train that say what the model is, where its weights come from, and a pair's layout."""
    if args.from_scratch:
        return ["--arch", args.arch or "pixelgpt"]
    if args.arch:
        raise UserError("--arch: the checkpoint says what its architecture is; with --from-scratch you choose")
    checkpoint = Path(args.checkpoint)
    start = ["--arch", "pixelgpt", "--finetune-from-model"]  # sizes that are left open are the checkpoint's
    if checkpoint.is_dir():
        folder, checkpoint = checkpoint, save_dir / f"{checkpoint.resolve().name}.pt"
        if args.dry_run and not checkpoint.exists():
            print(f"{folder}: would first be converted to {checkpoint}")
            return [*start, str(checkpoint)]
        if not checkpoint.exists():
            print(f"{folder}: converting to {checkpoint}", flush=True)
            import_released(folder, checkpoint)
    else:
        read_state(checkpoint)  # which is refused before anything is written if it is none
    return [*start, str(checkpoint)]


def plan(args):
    """Yield, for every run, its folder, what makes it this run, and the arguments of fairseq-train."""
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
    model, batch_size = starting_point(args, recipe, save_dir), args.batch_size
    if batch_size is None:
        # With --dry-run, what is to be converted first is not there yet.
        start = model if args.from_scratch or Path(model[-1]).exists() else model[:2]
        batch_size = recipe.fitting(
            longest_example(training_options(variants[0], args.data, save_dir, start, gpus, extra=args.fairseq_options))
        )
    several = len(variants) * len(args.seed) > 1
    for variant, seed in itertools.product(variants, args.seed):
        batch = variant.effective_batches[0]
        folder = save_dir / f"lr{variant.lr[0]}-batch{batch}-seed{seed}" if several else save_dir
        identity = {
            "recipe": recipe.name,
            "checkpoint": args.checkpoint or f"none, {model[1]}",
            "data": args.data,
            "lr": variant.lr[0],
            "batch": batch,
            "seed": seed,
            "options": shlex.join(args.fairseq_options),
        }
        extra = args.fairseq_options
        yield folder, identity, training_options(variant, args.data, folder, model, gpus, batch_size, seed, extra)


def is_finished(folder, identity):
    """Whether a run is: what the folder of its checkpoints tells.

    Raises:
        UserError: if the folder holds another run.
    """
    record = folder / RECORD
    if not record.exists():
        if (folder / "checkpoint_last.pt").exists():
            raise UserError(f"{folder}: holds checkpoints of a run that is not known: choose another --save-dir")
        return False
    found = read_json(record)
    if not isinstance(found, dict):
        raise UserError(f"{record}: does not say which run it is: choose another --save-dir")
    for name, value in identity.items():
        if found.get(name) != value:
            raise UserError(
                f"{folder}: holds another run ({name} {found.get(name)}, not {value}): choose another --save-dir"
            )
    return found.get("finished") is True


def write_record(folder, identity, finished):
    """Note in a run's folder which run it is, and whether it is finished."""
    write_whole(folder / RECORD, json.dumps({**identity, "finished": finished}, indent=2) + "\n")


def best_score(folder):
    """The best value of the recipe's metric in a run's validations; None if there was none."""
    checkpoint = folder / "checkpoint_best.pt"
    return (read_state(checkpoint).get("extra_state") or {}).get("best") if checkpoint.exists() else None


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


def hold(folders, held):
    """Lock the folders of runs for this process, so that no other trains in them.

    Args:
        folders: those of the runs that are to be trained.
        held: ExitStack, which ends the locks.

    Returns:
        dict: folder -> its lock file, open.

    Raises:
        UserError: if another process holds one of them; nothing has been trained then.
    """
    locks = {}
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"--save-dir {folder}: {error.strerror}") from None
        locks[folder] = held.enter_context(locked(folder / LOCK_FILE, "fine-tuning here"))
    return locks


def train(arguments, folder, lock):
    """Run fairseq-train; returns whether it ended well.

    Args:
        arguments: its command line.
        folder: of the run.
        lock: the folder's lock file, open: if this process is killed, fairseq-train holds it on.

    Raises:
        KeyboardInterrupt: saying what the interrupted run leaves, when fairseq-train has ended.
    """
    program = shutil.which("fairseq-train", path=Path(sys.executable).parent) or "fairseq-train"
    with subprocess.Popen([program, *arguments], pass_fds=[lock.fileno()]) as process:
        try:
            return process.wait() == 0
        except KeyboardInterrupt:
            # A terminal sends Ctrl-C to both processes. Whoever else interrupts this one means both, too.
            for end in (lambda: process.send_signal(signal.SIGINT), process.kill):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(SECONDS_TO_END)
                    break
                end()
            if process.wait() == INTERRUPTED:  # it has told what is left
                sys.exit(INTERRUPTED)
            raise KeyboardInterrupt(f"{folder} stays as it is: the same command goes on there") from None


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
    done = {folder: is_finished(folder, identity) for folder, identity, _ in runs}
    locks = {}
    if not args.dry_run:
        locks = hold([folder for folder in done if not done[folder]], held)
        done = {folder: is_finished(folder, identity) for folder, identity, _ in runs}  # nobody changes that now
    failed = []
    for number, (folder, identity, arguments) in enumerate(runs, start=1):
        if len(runs) > 1:
            print(f"run {number} of {len(runs)}: {folder}{': finished before' if done[folder] else ''}")
        elif done[folder]:
            print(f"{folder}: finished before")
        if not args.dry_run and not done[folder]:
            write_record(folder, identity, finished=False)
            arguments = [*arguments, "--log-file", str(folder / "train.log")]  # for which the folder must be there
        print(shlex.join(["fairseq-train", *arguments]), flush=True)
        if args.dry_run or done[folder]:
            continue
        if train(arguments, folder, locks[folder]):
            write_record(folder, identity, finished=True)
        else:
            failed.append(str(folder))
    if failed:
        raise UserError(f"{len(failed)} of {len(runs)} runs failed, see above: {', '.join(failed)}")
    if not args.dry_run:
        metric = best_metric(find_recipe(args.model, args.task, args.modality))
        report({folder: best_score(folder) for folder, _, _ in runs}, metric)


if __name__ == "__main__":
    main()
