"""Checks that run before one of fairseq's commands starts, so that mistakes are reported at once and in one line.

fairseq detects most mistakes only when it uses the wrong value, sometimes after an epoch of training, and then prints a
stack trace. All its commands except fairseq-generate go through ``fairseq.distributed.utils.call_main``, in every
process that the user, torchrun or Slurm starts, before any worker is spawned: :func:`install` adds the checks there.
Commands that run tasks of other packages are not affected.
"""

import contextlib
import functools
import inspect
import logging
import os
import sys
import traceback
from pathlib import Path

from fairseq import models, tasks
from fairseq.distributed import utils as distributed_utils

from pixelgpt_fairseq.checkpoints.architecture import LAST
from pixelgpt_fairseq.checkpoints.loading import each_read_once, read_state
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.storage.locks import locked
from pixelgpt_fairseq.tasks.early_stopping import validations_without_a_better_one
from pixelgpt_fairseq.tasks.rendered_task import RenderedTask
from pixelgpt_fairseq.training.checkpoint_checks import (
    RESETS,
    check_average,
    check_checkpoints,
    check_modalities,
    check_model_path,
)
from pixelgpt_fairseq.training.option_checks import NO_ARCHITECTURE, check_options, check_save_dir
from pixelgpt_fairseq.training.run_settings import check_same_run, check_same_task

logger = logging.getLogger(__name__)

LOCK_FILE = "training.lock"


def install():
    """Add the checks to fairseq's commands. Called once, by :mod:`pixelgpt_fairseq.training.registration`."""
    distributed_utils.call_main = _checked(distributed_utils.call_main)
    # fairseq looks up the architecture before there is a configuration to check; without --arch, under None.
    models.ARCH_MODEL_REGISTRY[None] = _NoArchitecture
    sys.excepthook = _without_frames(sys.excepthook)


class _NoArchitecture:
    @staticmethod
    def add_args(parser):
        sys.exit(f"error: {NO_ARCHITECTURE}")


class InOneLine:
    """Wraps the ``main`` of a fairseq command: a :class:`UserError` ends the process with its one line.

    A class rather than a closure, because fairseq pickles it for the workers that it spawns.
    """

    def __init__(self, main):
        self.main = main

    def __call__(self, *args, **kwargs):
        """Run the command, or its part in this worker."""
        try:
            return self.main(*args, **kwargs)
        except Exception as error:
            if (found := user_error_in(error)) is None:
                raise
            # SystemExit passes through fairseq and Hydra untouched, and prints no frames.
            sys.exit(f"error: {found}")


def user_error_in(error):
    """The :class:`UserError` that *error* is or hides, or None.

    While weights are loaded, fairseq replaces any exception by a bare ``Exception`` without its message.
    """
    while type(error) is Exception:
        error = error.__cause__ or error.__context__
    return error if isinstance(error, UserError) else None


def _without_frames(excepthook):
    """An excepthook for fairseq-generate, which bypasses ``call_main``: prints a UserError raised there as one line."""

    @functools.wraps(excepthook)
    def print_error(kind, error, frames):
        modules = (frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(frames))
        found = user_error_in(error)
        if found is not None and any(name.partition(".")[0] == "fairseq_cli" for name in modules):
            print(f"error: {found}", file=sys.stderr)
        else:
            excepthook(kind, error, frames)

    return print_error


def _checked(call_main):
    @functools.wraps(call_main)
    def checked_call_main(cfg, main, **kwargs):
        task = tasks.TASK_REGISTRY.get(getattr(cfg.task, "_name", None))
        if not (inspect.isclass(task) and issubclass(task, RenderedTask)):
            return call_main(cfg, main, **kwargs)
        training = Path(inspect.getsourcefile(main)).stem == "train"
        main = InOneLine(main)

        def check_and_call():
            with contextlib.ExitStack() as held:
                find_ranks(cfg.distributed_training)
                with each_read_once():
                    if not training:
                        check_model_path(cfg)
                    elif not check_training(cfg, task, held):
                        return None
                return call_main(cfg, main, **kwargs)

        try:
            return InOneLine(check_and_call)()
        except KeyboardInterrupt:
            print(f"interrupted: {_what_is_left(cfg.checkpoint.save_dir) if training else 'no more'}", file=sys.stderr)
            sys.exit(130)

    return checked_call_main


def check_training(cfg, task, held):
    """Check the options of fairseq-train, and lock its checkpoint folder.

    Args:
        cfg: fairseq's whole configuration.
        task: the class of the task, a :class:`~pixelgpt_fairseq.tasks.rendered_task.RenderedTask`.
        held: ExitStack that keeps the lock while the command runs.

    Returns:
        whether there are updates left to train.

    Raises:
        UserError: see the checks.
    """
    check_options(cfg, task)
    check_checkpoints(cfg.checkpoint)
    check_same_task(cfg)
    check_average(cfg)
    check_modalities(cfg, task)
    if not cfg.checkpoint.no_save:
        check_save_dir(cfg.checkpoint.save_dir)
        if cfg.distributed_training.distributed_rank == 0:
            held.enter_context(locked(Path(cfg.checkpoint.save_dir, LOCK_FILE), "training here"))
    check_same_run(cfg)
    return not _is_finished(cfg)


def find_ranks(cfg):
    """Let fairseq find this process's rank and the number of workers now, rather than after the checks.

    Args:
        cfg: fairseq's ``distributed_training`` options.

    Raises:
        UserError: this machine lacks the GPUs for so many workers.
    """
    try:
        distributed_utils.infer_init_method(cfg)
    except AssertionError as error:
        raise UserError(
            f"--distributed-world-size {cfg.distributed_world_size}: {error}: give a number that this machine has"
        ) from None
    except ZeroDivisionError:  # fairseq divides the rank that torchrun gives by the number of GPUs
        raise UserError(
            "torchrun started this process, and torch sees no GPU here. On CPUs, start every worker yourself, with "
            "--cpu --distributed-backend gloo --ddp-backend legacy_ddp --distributed-no-spawn "
            "--distributed-init-method tcp://HOST:PORT --distributed-world-size N --distributed-rank 0 (1, 2 ...)"
        ) from None


def _is_finished(cfg):
    """Whether the run in the folder has all its updates or was stopped early; fairseq would train one more update."""
    checkpoint, last = cfg.checkpoint, os.path.join(cfg.checkpoint.save_dir, LAST)
    if checkpoint.restore_file != LAST or any(getattr(checkpoint, name) for name in RESETS):
        return False
    if not os.path.exists(last):
        return False
    state, most = read_state(last), cfg.optimization.max_update
    done = (state.get("optimizer_history") or [{}])[-1].get("num_updates", 0)
    worse = validations_without_a_better_one(state.get("extra_state") or {})
    if most and done >= most:
        reason = f"{done} updates, and --max-update is {most}"
    elif 0 < checkpoint.patience <= worse:
        reason = f"stopped early: no better validation in the last {worse}, and --patience is {checkpoint.patience}"
    else:
        return False
    logger.info(f"{last}: finished before: {reason}")
    return True


def _what_is_left(save_dir):
    if os.path.exists(os.path.join(save_dir, LAST)):
        return f"{save_dir} keeps the checkpoints saved so far: the same command goes on from the last"
    return f"no checkpoint has been saved in {save_dir} yet: the same command starts over"
