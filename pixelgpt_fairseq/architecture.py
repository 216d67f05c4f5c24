"""The sizes of a model that is fine-tuned are those of the checkpoint: fairseq itself does not look there."""

import logging
from pathlib import Path
from types import SimpleNamespace

from omegaconf import OmegaConf

from pixelgpt_fairseq.checkpoints import read_state
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.models.pixelgpt import ARCHITECTURES, PixelGPTConfig, complete_config

logger = logging.getLogger(__name__)

SIZES = tuple(ARCHITECTURES["pixelgpt"])
# These have one default for all architectures. A value that is the default counts as left open.
SETTINGS = (
    "max_position_embeddings",
    "rms_norm_eps",
    "rope_theta",
    "num_channels",
    "tie_word_embeddings",
    "extra_token_rows",
)


def take_architecture(cfg, task_cfg):
    """Fill what the user left open with what a checkpoint's model has.

    Args:
        cfg: what is to be built, with the fields of :class:`~pixelgpt_fairseq.models.pixelgpt.PixelGPTConfig`; changed
            in place.
        task_cfg: of the task: ``finetune_from_model`` is fairseq's option of this name; without it, or where all
            sizes are given, nothing is changed.

    Raises:
        UserError: if there is no checkpoint of such a model, or the user asks for other sizes; it names the options.
    """
    # A task that is set up in Python has no options of checkpoints to look at.
    path = OmegaConf.select(task_cfg, "finetune_from_model", throw_on_resolution_failure=False)
    if path is None or all(getattr(cfg, name) for name in SIZES):
        return
    if Path(path).is_dir():
        raise UserError(f"{path}: a folder: run scripts/convert_checkpoint.py import {path} CKPT.pt, and name CKPT.pt")
    trained = complete_config(SimpleNamespace(**read_state(path)["cfg"]["model"]))
    # "pixelgpt" is the name of the model, too, and so chooses nothing.
    named = {} if cfg._name == "pixelgpt" else ARCHITECTURES.get(cfg._name, {})
    differing = [
        f"--{name.replace('_', '-')} {wanted} (the checkpoint: {getattr(trained, name)})"
        for name in SIZES
        if (wanted := getattr(cfg, name) or named.get(name)) and wanted != getattr(trained, name)
    ]
    if differing:
        arch = f"--arch {cfg._name}, " if named else ""
        raise UserError(
            f"{path} has other sizes than asked for: {arch}{', '.join(differing)}: with --arch pixelgpt and no sizes, "
            "they are the checkpoint's"
        )
    for name in SIZES:
        setattr(cfg, name, getattr(trained, name))
    for name in SETTINGS:
        if getattr(cfg, name) == getattr(PixelGPTConfig, name):
            setattr(cfg, name, getattr(trained, name))
    logger.info(f"architecture of {path}: {', '.join(f'{name} {getattr(cfg, name)}' for name in SIZES)}")
