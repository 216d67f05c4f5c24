"""Writes checkpoints that did not come from training, with all entries that fairseq expects."""

from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.storage.files import whole_file


def new_checkpoint(cfg: dict, weights: dict[str, Tensor], task_state: dict) -> dict:
    """The checkpoint that fairseq-train would save before its first update.

    Args:
        cfg: group -> options, plain data.
        weights: name -> tensor.
        task_state: what the task keeps: ``data_settings``, ``tokenizer`` and so on.
    """
    history = {"criterion_name": "", "optimizer_name": "", "lr_scheduler_state": {}, "num_updates": 0}
    iterator = {"version": 2, "epoch": 1, "iterations_in_epoch": 0, "shuffle": True}
    return {
        "args": None,
        "cfg": cfg,
        "model": weights,
        "criterion": None,
        "optimizer_history": [history],
        "task_state": task_state,
        "extra_state": {"train_iterator": iterator, "val_loss": None},
        "last_optimizer_state": None,
    }


def bytes_as_tensor(content: bytes) -> Tensor:
    """The content of a file as checkpoints keep it: uint8 ``[n]``."""
    return torch.frombuffer(bytearray(content), dtype=torch.uint8) if content else torch.empty(0, dtype=torch.uint8)


def save_checkpoint(state: dict, path: Path, progress: bool):
    """Write a checkpoint, whole or not at all.

    Raises:
        UserError: if it cannot be written.
    """
    size = sum(tensor.numel() * tensor.element_size() for tensor in state["model"].values())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            whole_file(path) as file,
            tqdm(total=size, unit="B", unit_scale=True, desc=f"writing {path.name}", disable=not progress) as bar,
        ):
            torch.save(state, _Counted(file, bar))
    except (OSError, RuntimeError) as error:  # torch hides the reason of a failed write
        reason = getattr(error, "strerror", None) or "is the disk full?"
        raise UserError(f"{path}: cannot write: {reason}") from error


class _Counted:
    """A file object that advances a progress bar with every write."""

    def __init__(self, file, bar):
        self.file, self.bar = file, bar

    def write(self, content):
        self.bar.update(len(content))
        return self.file.write(content)

    def flush(self):
        self.file.flush()
