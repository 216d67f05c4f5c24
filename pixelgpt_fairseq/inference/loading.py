"""Reading a trained model for use in Python."""

import torch

from pixelgpt_fairseq.checkpoints.loading import load_checkpoint
from pixelgpt_fairseq.inference.loaded_model import LoadedModel


def load(path, device="cpu", dtype=None):
    """Read a trained model with its renderer and tokenizer; no code of the files is run.

    Args:
        path: a checkpoint of fairseq-train; a folder in the released layout; or ``owner/name``, such a folder on the
            Hugging Face hub, unless something here has this name.
        device: where the model computes.
        dtype: torch.dtype of its weights (default: float32).

    Returns:
        LoadedModel

    Raises:
        UserError: if it cannot be read; the message says why.
    """
    return LoadedModel(load_checkpoint(path), torch.device(device), dtype)
