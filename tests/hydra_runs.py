"""fairseq-hydra-train in this process, on the recipes in ``pixelgpt_fairseq/config/``."""

import sys
import warnings

import fairseq_cli.hydra_train
import pytest
import torch
from fairseq_runs import nothing_left_behind
from hydra.core.global_hydra import GlobalHydra
from toy_corpus import ROOT

import pixelgpt_fairseq.training.hydra_callbacks  # noqa: F401  (registers the resolvers that the recipes name)

PRETRAINING, GLUE, XNLI = (ROOT / "pixelgpt_fairseq" / "config" / name for name in ("pretraining", "glue", "xnli"))
_SMALL = "dataset.num_workers=0 model.hidden_size=32 model.num_hidden_layers=1 model.intermediate_size=32".split()
SMALL_PRETRAINING = [*_SMALL, "task.tokens_per_sample=64", "dataset.batch_size=2"]
SMALL_FINETUNING = ["size=tiny", *(part if part.startswith("dataset.") else f"+{part}" for part in _SMALL)]
# Hydra knows the folder of a run only while it runs.
OUTSIDE_A_RUN = ["common.user_dir=.", "checkpoint.save_dir=checkpoints", "common.tensorboard_logdir=tensorboard"]


def hydra_options(folder, name, *arguments):
    """The command line of a recipe, as strings; flags such as ``--multirun`` may stand anywhere among *arguments*."""
    parts = [str(part) for part in ("--config-dir", folder, "--config-name", name, *arguments)]
    flags = [part for part in parts[4:] if part.startswith("--")]  # Hydra wants them before all overrides
    return [*flags, *(part for part in parts if part not in flags)]


def hydra_train(folder, name, *arguments):
    """Train by a recipe in ``pixelgpt_fairseq/config/``, from the folder that this process is in."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(), nothing_left_behind():
        warnings.simplefilter("ignore")  # Hydra's, of fairseq's ways
        patch.setattr(sys, "argv", ["fairseq-hydra-train", *hydra_options(folder, name, *arguments)])
        try:
            fairseq_cli.hydra_train.cli_main()
        finally:
            GlobalHydra.instance().clear()


def updates(checkpoint):
    """The number of updates after which a checkpoint was saved."""
    return torch.load(checkpoint, weights_only=True)["optimizer_history"][-1]["num_updates"]
