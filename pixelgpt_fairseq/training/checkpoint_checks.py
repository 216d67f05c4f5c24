"""Checks of the checkpoints that a command will read, made before fairseq reads them; each raises a one-line error."""

import os

from pixelgpt_fairseq.checkpoints.architecture import LAST, resumed_checkpoint, suffixed
from pixelgpt_fairseq.checkpoints.loading import read_state
from pixelgpt_fairseq.data.streams import PAIR, PIXEL, TEXT
from pixelgpt_fairseq.errors import UserError

RESETS = ("reset_optimizer", "reset_lr_scheduler", "reset_meters", "reset_dataloader")


def check_checkpoints(cfg):
    """Check that the checkpoint that training starts from exists and is complete.

    Without this check, fairseq silently trains from random weights if the file of ``--restore-file`` does not exist.

    Args:
        cfg: the options of fairseq's group ``checkpoint``.

    Raises:
        UserError: naming the option and the file, or options that exclude each other.
    """
    start = cfg.finetune_from_model
    resets = [f"--{name.replace('_', '-')}" for name in RESETS if getattr(cfg, name)]
    if cfg.restore_file != LAST:
        if start is not None:
            raise UserError("--finetune-from-model and --restore-file: give one of them")
        _check_checkpoint("--restore-file", suffixed(cfg.restore_file, cfg.checkpoint_suffix))
        return
    if start is not None and resets:
        raise UserError(f"--finetune-from-model starts all this anew by itself: leave out {', '.join(resets)}")
    last = os.path.join(cfg.save_dir, suffixed(LAST, cfg.checkpoint_suffix))
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
    """Check that ``--store-ema`` resumes from averaged weights, without which fairseq crashes.

    Raises:
        UserError: naming the checkpoint.
    """
    path = resumed_checkpoint(cfg.checkpoint) or cfg.checkpoint.finetune_from_model
    if not cfg.ema.store_ema or path is None or "://" in path:
        return
    if "ema" not in (read_state(path).get("extra_state") or {}):
        raise UserError(
            f"--store-ema: {path} has no averaged weights, from which alone fairseq can go on: leave out --store-ema"
        )


def check_modalities(cfg, task):
    """Check that a resumed run has the modalities of its checkpoint: the saved optimizer state covers no other weights.

    Args:
        cfg: fairseq's whole configuration.
        task: the class of the task.

    Raises:
        UserError: naming the checkpoint, the modalities of both, and what to do.
    """
    path = resumed_checkpoint(cfg.checkpoint)
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


def _modalities_option(options):
    name = next((each for each in ("source_modality", "modality") if options.get(each)), "modalities")
    return f"--{name.replace('_', '-')} {options.get(name) or '(unknown)'}"


def check_model_path(cfg):
    """Check that the checkpoint of ``--path`` exists and is complete.

    Raises:
        UserError: if it is not, or none is named.
    """
    path = cfg.common_eval.path
    if path is None:
        raise UserError("no --path: name the checkpoint")
    paths = [path] if os.path.exists(path) or "://" in path else path.split(os.pathsep)
    for each in paths:
        _check_checkpoint("--path", suffixed(each, cfg.checkpoint.checkpoint_suffix))


def _check_checkpoint(option, path):
    if "://" in path:  # fairseq fetches it
        return
    if os.path.isdir(path):
        raise UserError(
            f"{option} {path}: a folder, not a checkpoint: a released one becomes a checkpoint by "
            f"pixelgpt convert-checkpoint import {path} CKPT.pt"
        )
    try:
        read_state(path)
    except UserError as error:
        raise UserError(f"{option} {error}") from None
