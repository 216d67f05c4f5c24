"""What happens before one of fairseq's commands begins: its mistakes are found at once and told in one line.

fairseq finds most of them only when it needs what is wrong, some after an epoch of training, and then prints a stack of
frames. All its commands go through ``fairseq.distributed.utils.call_main``, in every process that the user, torchrun or
Slurm starts and before any other is spawned: :func:`install` puts the checks there. They leave commands on tasks of
other packages alone.
"""

import contextlib
import functools
import importlib.util
import inspect
import logging
import os
import sys
import tempfile
from pathlib import Path

from fairseq import criterions, models, tasks
from fairseq.distributed import utils as distributed_utils
from omegaconf import OmegaConf

from pixelgpt_fairseq.architecture import LAST
from pixelgpt_fairseq.checkpoints import read_state
from pixelgpt_fairseq.data.data_folder import PIXEL, TEXT
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.locks import locked
from pixelgpt_fairseq.models.architectures import ARCHITECTURES
from pixelgpt_fairseq.models.pixelgpt import PixelGPTModel
from pixelgpt_fairseq.run_settings import check_same_run, check_same_task
from pixelgpt_fairseq.tasks.early_stopping import validations_without_a_better_one
from pixelgpt_fairseq.tasks.rendered_pretraining import PAIR
from pixelgpt_fairseq.tasks.rendered_task import RenderedTask

logger = logging.getLogger(__name__)

LOCK_FILE = "training.lock"
_RESETS = ("reset_optimizer", "reset_lr_scheduler", "reset_meters", "reset_dataloader")
_ARCHITECTURES = ", ".join(ARCHITECTURES)
_NO_ARCHITECTURE = (
    f"no --arch (Hydra: model._name): the models of this package are {_ARCHITECTURES}; with --finetune-from-model, "
    "--arch pixelgpt takes the sizes of the checkpoint"
)


def install():
    """Put the checks where fairseq's commands begin. Called once, when the package is imported."""
    distributed_utils.call_main = _checked(distributed_utils.call_main)
    # fairseq looks up the options of the architecture before there is a configuration to check. No name: None.
    models.ARCH_MODEL_REGISTRY[None] = _NoArchitecture


class _NoArchitecture:
    @staticmethod
    def add_args(parser):
        sys.exit(f"error: {_NO_ARCHITECTURE}")


def _checked(call_main):
    @functools.wraps(call_main)
    def checked_call_main(cfg, main, **kwargs):
        task = tasks.TASK_REGISTRY.get(getattr(cfg.task, "_name", None))
        if not (inspect.isclass(task) and issubclass(task, RenderedTask)):
            return call_main(cfg, main, **kwargs)
        training = Path(inspect.getsourcefile(main)).stem == "train"
        try:
            with contextlib.ExitStack() as held:
                if not training:
                    check_model_path(cfg)
                else:
                    check_options(cfg, task)
                    check_checkpoints(cfg.checkpoint)
                    check_same_task(cfg)
                    check_average(cfg)
                    check_modalities(cfg, task)
                    first_rank = _is_first_rank(cfg.distributed_training)
                    if not cfg.checkpoint.no_save:
                        check_save_dir(cfg.checkpoint.save_dir)
                        if first_rank:
                            held.enter_context(locked(Path(cfg.checkpoint.save_dir, LOCK_FILE), "training here"))
                    check_same_run(cfg)
                    if _is_finished(cfg):
                        return None
                return call_main(cfg, main, **kwargs)
        except UserError as error:
            # SystemExit passes through fairseq and Hydra untouched, and prints no frames.
            sys.exit(f"error: {error}")
        except KeyboardInterrupt:
            print(f"interrupted: {_what_is_left(cfg.checkpoint.save_dir) if training else 'no more'}", file=sys.stderr)
            sys.exit(130)

    return checked_call_main


def check_options(cfg, task):
    """Check what fairseq-train is told, before any data or model is loaded.

    Args:
        cfg: fairseq's whole configuration.
        task: the class of the task, a :class:`~pixelgpt_fairseq.tasks.rendered_task.RenderedTask`.

    Raises:
        UserError: naming the option and what to give instead.
    """
    name = cfg.task._name
    task.modalities_of(cfg.task)
    architecture = getattr(cfg.model, "_name", None)
    if architecture is None:
        raise UserError(_NO_ARCHITECTURE)
    model = models.ARCH_MODEL_REGISTRY.get(architecture) or models.MODEL_REGISTRY.get(architecture)
    if not (inspect.isclass(model) and issubclass(model, PixelGPTModel)):
        raise UserError(f"--arch {architecture}: --task {name} trains {_ARCHITECTURES}")
    criterion = getattr(cfg.criterion, "_name", None)
    chosen, expected = (criterions.CRITERION_REGISTRY.get(each) for each in (criterion, task.criterion_name))
    # A criterion of the user's own is the user's to know; fairseq's and the other tasks' cannot work.
    foreign = not inspect.isclass(chosen) or chosen.__module__.split(".")[0] in ("fairseq", __package__)
    if foreign and not (inspect.isclass(chosen) and issubclass(chosen, expected)):
        asked = f"--criterion {criterion}"
        if criterion in (None, "cross_entropy"):  # which is what fairseq takes if there is none
            asked = "no --criterion, or fairseq's own"
        raise UserError(f"{asked}: --task {name} needs --criterion {task.criterion_name}")
    if cfg.optimizer is None:
        raise UserError("no --optimizer: the recipes train with --optimizer fused_adamw")
    if cfg.dataset.max_tokens is None and cfg.dataset.batch_size is None:
        raise UserError("no --batch-size (examples) and no --max-tokens (patches and tokens): give one of them")
    _check_rate(cfg)
    backend = cfg.distributed_training.ddp_backend
    if backend in ("fully_sharded", "slowmo") and importlib.util.find_spec("fairscale") is None:
        raise UserError(
            f"--ddp-backend {backend}: needs the package fairscale (pip install fairscale), which is no longer "
            "maintained: models of this size train with pytorch_ddp or legacy_ddp"
        )
    if not cfg.dataset.disable_validation:
        _check_validation(cfg, task)


def _check_rate(cfg):
    """Refuse a cosine schedule that has no updates to fall in: fairseq would divide by their number at the last one."""
    scheduler, last = cfg.lr_scheduler, cfg.optimization.max_update
    if getattr(scheduler, "_name", None) != "cosine" or scheduler.lr_period_updates > 0:
        return
    if not last:
        raise UserError("no --max-update: --lr-scheduler cosine needs it, or --lr-period-updates")
    if last == scheduler.warmup_updates:
        raise UserError(
            f"--warmup-updates {last}: as many as --max-update: --lr-scheduler cosine has no updates left in which the "
            "rate falls: give fewer"
        )


def _check_validation(cfg, task):
    if OmegaConf.is_missing(cfg.task, "data") or not cfg.task.data:
        return  # the task says so
    metric, subsets = cfg.checkpoint.best_checkpoint_metric, cfg.dataset.valid_subset.split(",")
    task.check_labels(cfg.task, cfg.dataset.train_subset, "--train-subset")
    for subset in subsets:
        task.check_labels(cfg.task, subset, "--valid-subset")
        reported = task.reported_metrics(cfg.task, subset)
        if metric not in reported:
            raise UserError(
                f"--best-checkpoint-metric {metric}: not among what --task {cfg.task._name} reports of {subset}: "
                f"{', '.join(reported)}"
            )
    falls = metric.endswith(("loss", "ppl"))
    if falls == cfg.checkpoint.maximize_best_checkpoint_metric:
        option = "without" if falls else "with"
        kept = "highest" if falls else "lowest"
        logger.warning(
            f"checkpoint_best.pt will be the one with the {kept} {metric}: give the command {option} "
            "--maximize-best-checkpoint-metric"
        )


def check_save_dir(path):
    """Make the folder of the checkpoints, and check that files can be written to it.

    Raises:
        UserError: if that fails.
    """
    if "://" in str(path):
        return
    try:
        os.makedirs(path, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise UserError(f"--save-dir {path}: cannot write there: {error.strerror}: choose another") from None


def check_checkpoints(cfg):
    """Check that the checkpoint that training is to begin with is there and whole.

    Without this, fairseq trains from random weights if the file of ``--restore-file`` is absent.

    Args:
        cfg: the options of fairseq's group ``checkpoint``.

    Raises:
        UserError: naming the option and the file, or options that exclude each other.
    """
    start = cfg.finetune_from_model
    resets = [f"--{name.replace('_', '-')}" for name in _RESETS if getattr(cfg, name)]
    if cfg.restore_file != LAST:
        if start is not None:
            raise UserError("--finetune-from-model and --restore-file: give one of them")
        _check_checkpoint("--restore-file", _suffixed(cfg.restore_file, cfg.checkpoint_suffix))
        return
    if start is not None and resets:
        raise UserError(f"--finetune-from-model starts all this anew by itself: leave out {', '.join(resets)}")
    last = os.path.join(cfg.save_dir, _suffixed(LAST, cfg.checkpoint_suffix))
    if os.path.exists(last):
        try:
            read_state(last)
        except UserError as error:
            raise UserError(
                f"{error}: put another checkpoint of the run in its place, or remove it to start the run over"
            ) from None
    elif cfg.continue_once is not None:
        _check_checkpoint("--continue-once", cfg.continue_once)
    elif start is not None:
        _check_checkpoint("--finetune-from-model", start)


def check_average(cfg):
    """Check that averaged weights can go on: fairseq ends in an error where a checkpoint to begin with has none.

    Raises:
        UserError: naming the checkpoint.
    """
    path = _resumed_checkpoint(cfg.checkpoint) or cfg.checkpoint.finetune_from_model
    if not cfg.ema.store_ema or path is None or "://" in path:
        return
    if "ema" not in (read_state(path).get("extra_state") or {}):
        raise UserError(
            f"--store-ema: {path} has no averaged weights, from which alone fairseq can go on: leave out --store-ema"
        )


def check_modalities(cfg, task):
    """Check that a run that goes on reads what its checkpoint's model reads; its optimizer knows no other weights.

    Args:
        cfg: fairseq's whole configuration.
        task: the class of the task.

    Raises:
        UserError: naming the checkpoint, the modalities of both, and what to do.
    """
    path = _resumed_checkpoint(cfg.checkpoint)
    if path is None or cfg.checkpoint.reset_optimizer:
        return
    state = read_state(path)
    names = set(task.modalities_of(cfg.task))
    reads = {"embed_patches": bool(names & {PIXEL, PAIR}), "embed_tokens": bool(names & {TEXT, PAIR})}
    weights = tuple(state["model"])
    if all(any(name.startswith(f"model.{part}.") for name in weights) == wanted for part, wanted in reads.items()):
        return
    trained, given = (_modalities_option(options) for options in (state["cfg"].get("task") or {}, cfg.task))
    raise UserError(
        f"{path}: trained with {trained}, this run has {given}: give {trained} to go on, or start another run from its "
        f"weights with --finetune-from-model {path} and another --save-dir"
    )


def _resumed_checkpoint(cfg):
    """The checkpoint with which a run goes on; None where it starts, or where fairseq fetches the file."""
    if cfg.restore_file != LAST:
        path = _suffixed(cfg.restore_file, cfg.checkpoint_suffix)
    else:
        path = os.path.join(cfg.save_dir, _suffixed(LAST, cfg.checkpoint_suffix))
        if not os.path.exists(path):
            path = cfg.continue_once
    return None if path is None or "://" in path else path


def _modalities_option(options):
    name = "modality" if options.get("modality") else "modalities"
    return f"--{name} {options.get(name) or '(unknown)'}"


def check_model_path(cfg):
    """Check that the checkpoint of ``--path`` is there and whole.

    Raises:
        UserError: if it is not, or none is named.
    """
    path = cfg.common_eval.path
    if path is None:
        raise UserError("no --path: name the checkpoint")
    paths = [path] if os.path.exists(path) or "://" in path else path.split(os.pathsep)
    for each in paths:
        _check_checkpoint("--path", _suffixed(each, cfg.checkpoint.checkpoint_suffix))


def _check_checkpoint(option, path):
    if "://" in path:  # fairseq fetches it
        return
    if os.path.isdir(path):
        raise UserError(
            f"{option} {path}: a folder, not a checkpoint: a released one becomes a checkpoint by "
            f"scripts/convert_checkpoint.py import {path} CKPT.pt"
        )
    try:
        read_state(path)
    except UserError as error:
        raise UserError(f"{option} {error}") from None


def _suffixed(path, suffix):
    """The file that fairseq reads where ``--checkpoint-suffix`` is given."""
    return path.replace(".pt", f"{suffix}.pt") if suffix else path


def _is_first_rank(cfg):
    """Whether this process, or one that it will spawn, is the one that writes checkpoints."""
    if cfg.distributed_init_method is None:
        try:
            distributed_utils.infer_init_method(cfg)  # fairseq would do so next
        except AssertionError as error:
            raise UserError(
                f"--distributed-world-size {cfg.distributed_world_size}: {error}: give a number that this machine has"
            ) from None
    return cfg.distributed_rank == 0


def _is_finished(cfg):
    """Whether the run in the folder has all its updates, or was stopped early; fairseq would go on, and save that."""
    checkpoint, last = cfg.checkpoint, os.path.join(cfg.checkpoint.save_dir, LAST)
    if checkpoint.restore_file != LAST or any(getattr(checkpoint, name) for name in _RESETS):
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
