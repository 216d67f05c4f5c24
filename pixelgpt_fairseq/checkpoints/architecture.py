"""The checkpoint that training starts from supplies the sizes and settings that the command leaves open."""

import logging
import os
from pathlib import Path
from types import SimpleNamespace

from omegaconf import OmegaConf

from pixelgpt_fairseq.checkpoints.loading import read_state
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.models.architectures import ARCHITECTURES, SETTINGS, complete_config, fill_settings
from pixelgpt_fairseq.models.provenance import compare_architectures

logger = logging.getLogger(__name__)

SIZES = tuple(ARCHITECTURES["pixelgpt"])
LAST = "checkpoint_last.pt"  # fairseq's default of --restore-file, which lies in --save-dir


def resumed_checkpoint(options):
    """Path of the checkpoint that a run resumes from; None for a new run, or if fairseq has to download the file.

    Args:
        options: any configuration with ``restore_file``, ``save_dir``, ``checkpoint_suffix`` and ``continue_once``:
            fairseq's group ``checkpoint``, or the options of a task.
    """

    def option(name):  # a task that is set up in Python has no such options
        return OmegaConf.select(options, name, throw_on_resolution_failure=False)

    suffix, save_dir, path = option("checkpoint_suffix"), option("save_dir"), option("restore_file") or LAST
    path = suffixed(path, suffix)
    if path == suffixed(LAST, suffix):
        path = None if save_dir is None else os.path.join(save_dir, path)
        if path is None or not os.path.exists(path):
            path = option("continue_once")
    return None if path is None or "://" in path else path


def suffixed(path, suffix):
    """The file that fairseq reads where ``--checkpoint-suffix`` is given."""
    return path.replace(".pt", f"{suffix}.pt") if suffix else path


def starting_checkpoint(options):
    """Path of the checkpoint that training starts from; None if it starts from random weights.

    Args:
        options: see :func:`resumed_checkpoint`, with ``finetune_from_model``.
    """
    path = resumed_checkpoint(options)
    if path is None:
        return OmegaConf.select(options, "finetune_from_model", throw_on_resolution_failure=False)
    return path if os.path.exists(path) else None


def trained_settings(task_cfg) -> dict:
    """``data_settings`` of the checkpoint that training starts from; empty if there is none.

    Raises:
        UserError: if it is no checkpoint of such a model.
    """
    path = starting_checkpoint(task_cfg)
    return {} if path is None else _read(path)["task_state"].get("data_settings", {})


def take_architecture(cfg, task_cfg):
    """Fill in sizes and settings that the user did not give: from the checkpoint, or from the defaults.

    Args:
        cfg: the model configuration, with the fields of :class:`~pixelgpt_fairseq.models.architectures.PixelGPTConfig`;
            modified in place.
        task_cfg: see :func:`starting_checkpoint`.

    Raises:
        UserError: if it is no checkpoint of such a model, or the command gives different sizes; the message names the
        options.
    """
    path = starting_checkpoint(task_cfg)
    if path is None:
        fill_settings(cfg, SETTINGS)
        return
    held = _read(path)["cfg"]["model"]
    trained = complete_config(SimpleNamespace(**held))
    trained.patch_size = held.get("patch_size")  # None: it was trained on text alone
    # "pixelgpt" is also the name of the model class, so it does not ask for particular sizes.
    named = {} if cfg._name == "pixelgpt" else ARCHITECTURES.get(cfg._name, {})
    differing = [
        f"--{name.replace('_', '-')} {wanted} (the checkpoint: {getattr(trained, name)})"
        for name in SIZES
        if (wanted := getattr(cfg, name) or named.get(name)) and wanted != getattr(trained, name)
    ]
    if trained.patch_size and cfg.patch_size not in (None, trained.patch_size):
        differing.append(f"--patch-size {cfg.patch_size} (the checkpoint: {trained.patch_size})")
    if differing:
        arch = f"--arch {cfg._name}, " if named else ""
        raise UserError(
            f"{path} has other sizes than asked for: {arch}{', '.join(differing)}: with --arch pixelgpt and no sizes, "
            "they are the checkpoint's"
        )
    fill_settings(cfg, {name: getattr(trained, name) for name in (*SIZES, *SETTINGS)})
    compare_architectures(trained, cfg)
    logger.info(f"architecture of {path}: {', '.join(f'{name} {getattr(cfg, name)}' for name in SIZES)}")


def _read(path):
    if Path(path).is_dir():
        raise UserError(f"{path}: a folder: run pixelgpt convert-checkpoint import {path} CKPT.pt, and name CKPT.pt")
    return read_state(path)
