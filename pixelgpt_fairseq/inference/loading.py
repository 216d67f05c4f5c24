"""A trained model in the hands of a person who works in Python: :func:`load`, and what to ask of it."""

import functools

import torch

from pixelgpt_fairseq.checkpoints.loading import load_checkpoint


def load(path, device="cpu", dtype=None):
    """Read a trained model with its renderer and tokenizer; no code of the files is run.

    Args:
        path: a checkpoint of fairseq-train, or a folder in the released layout.
        device: where the model is to compute.
        dtype: torch.dtype of its weights (default: float32).

    Returns:
        LoadedModel

    Raises:
        UserError: if it cannot be read; the message says why.
    """
    return LoadedModel(load_checkpoint(path), torch.device(device), dtype)


class LoadedModel:
    """What :func:`load` gives.

    Attributes:
        path: where it was read.
        model: PixelGPTModel in eval mode.
        tokenizer: Tokenizer; None if the model reads no tokens, or none lies beside it.
    """

    def __init__(self, checkpoint, device, dtype):
        self._checkpoint = checkpoint
        self.path, self.tokenizer = checkpoint.path, checkpoint.tokenizer
        self.model = checkpoint.model.to(device=device, dtype=dtype)

    @functools.cached_property
    def renderer(self):
        """TextRenderer with the settings of the training data.

        Raises:
            UserError: if a font cannot be found.
        """
        return self._checkpoint.renderer()
