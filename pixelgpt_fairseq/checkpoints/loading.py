"""Reads checkpoints of fairseq-train, and released folders, with all that is needed to use the model."""

import contextlib
import contextvars
import logging
import os
import pickle
from dataclasses import dataclass, field
from types import SimpleNamespace

import torch

from pixelgpt_fairseq.checkpoints.auxiliary_files import read_auxiliary_files
from pixelgpt_fairseq.checkpoints.published import local_checkpoint
from pixelgpt_fairseq.checkpoints.released import load_released
from pixelgpt_fairseq.checkpoints.weight_files import check_plain
from pixelgpt_fairseq.data.patches import NORMALIZED_MSE, PATCH_LOSSES
from pixelgpt_fairseq.data.tokens import Tokenizer
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.models import provenance
from pixelgpt_fairseq.models.architectures import complete_config
from pixelgpt_fairseq.models.heads import LINEAR
from pixelgpt_fairseq.models.pixelgpt import PixelGPTModel
from pixelgpt_fairseq.rendering import RendererConfig, TextRenderer
from pixelgpt_fairseq.sources.examples import SentenceTask
from pixelgpt_fairseq.storage.files import file_version

logger = logging.getLogger(__name__)
_kept = contextvars.ContextVar("checkpoints that each_read_once() keeps", default=None)  # (path, version) -> state


@dataclass
class Checkpoint:
    """What :func:`load_checkpoint` reads."""

    path: str
    model: PixelGPTModel  # in eval mode, float32
    tokenizer: Tokenizer | None
    patch_loss: str  # what its predictions of patches are: see the criterion patch_token_loss
    task_options: dict = field(default_factory=dict)  # those of the fairseq task that it was trained on

    def __post_init__(self):
        self.model.patch_loss = self.patch_loss

    def renderer(self, fonts=None):
        """TextRenderer with the settings of the training data.

        Args:
            fonts: paths of other fonts; differences are logged.

        Raises:
            UserError: if a font cannot be found.
        """
        return TextRenderer(self.renderer_config({} if fonts is None else {"fonts": fonts}))

    def renderer_config(self, chosen):
        """Renderer settings of the training data, overridden by those that the user chose.

        Args:
            chosen: attributes of RendererConfig; differences are logged in one line.

        Raises:
            UserError: if a font cannot be found.
        """
        settings = self.model.data_settings.get("renderer")
        if not settings:
            logger.warning(f"{self.path}: does not say how its text was rendered: drawing it with the default settings")
            return RendererConfig(**{"patch_size": self.model.config.patch_size, **chosen}).located()
        return RendererConfig.from_dict(settings).with_settings(chosen, self.path)


def load_checkpoint(path):
    """Read a checkpoint, without its data folder and without running code from it.

    Args:
        path: a file of fairseq-train, a folder in the released layout, or the name of one on the Hugging Face hub:
            see :func:`~pixelgpt_fairseq.checkpoints.published.local_checkpoint`.

    Returns:
        Checkpoint

    Raises:
        UserError: if the file is absent, damaged, or not a checkpoint of a pixelgpt model.
    """
    path = local_checkpoint(path)
    if os.path.isdir(path):
        return _load_folder(path)
    state = read_state(path)
    try:
        data_settings = state["task_state"].get("data_settings")
        model = _build_model(SimpleNamespace(**state["cfg"]["model"]), state["model"], data_settings)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    tokenizer = state["task_state"].get("tokenizer")
    if tokenizer is not None:
        tokenizer = Tokenizer(bytes(tokenizer.numpy()), name=f"{path}: tokenizer")
    patch_loss = str((state["cfg"]["criterion"] or {}).get("patch_loss", NORMALIZED_MSE))
    if patch_loss not in PATCH_LOSSES:
        raise UserError(f"{path}: patch_loss {patch_loss!r} is not one of {', '.join(PATCH_LOSSES)}")
    return Checkpoint(str(path), model.eval(), tokenizer, patch_loss, dict(state["cfg"].get("task") or {}))


def read_state(path):
    """Read a checkpoint file without running code from it; tensors are memory-mapped.

    Returns:
        dict: ``model`` (name -> tensor), ``cfg`` (group -> options), ``task_state``, and fairseq's other entries.

    Raises:
        UserError: see :func:`load_checkpoint`.
    """
    kept = _kept.get()
    if kept is None:
        return _read_state(path)
    key = str(path), file_version(path)
    if key not in kept:
        kept[key] = _read_state(path)
    return dict(kept[key])


@contextlib.contextmanager
def each_read_once():
    """While this lasts, a checkpoint file is read once, however often it is asked for, unless it changes.

    For a command's checks, which look into the same file and change nothing of what they find. In the end, nothing is
    held of it.
    """
    token = _kept.set({})
    try:
        yield
    finally:
        _kept.reset(token)


def _read_state(path):
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from None
    except (RuntimeError, EOFError, ValueError, pickle.UnpicklingError):
        raise UserError(f"{path}: not a checkpoint, or damaged") from None
    try:
        state["model"]["model.norm.weight"]
        dict(state["cfg"]["model"], **(state["cfg"]["criterion"] or {}))
        state["task_state"] = dict(state.get("task_state") or {})
        state["task_state"]["data_settings"] = dict(state["task_state"].get("data_settings") or {})
    except (TypeError, KeyError, AttributeError, ValueError):
        raise UserError(f"{path}: not a checkpoint of fairseq-train with a pixelgpt model") from None
    return state


def _load_folder(folder):
    model = load_released(folder)
    auxiliary_files = read_auxiliary_files(folder, model.released_settings, model)
    model.data_settings = auxiliary_files.data_settings
    patch_loss, task_options = auxiliary_files.patch_loss, auxiliary_files.task_options
    return Checkpoint(str(folder), model, auxiliary_files.tokenizer, patch_loss, task_options)


def shapes_of(config, weights, data_settings=None) -> PixelGPTModel:
    """The model of a checkpoint on the meta device, so that a wrong size in the configuration allocates no memory.

    Args:
        config: the checkpoint's, complete or not.
        weights: name -> tensor.
        data_settings: the checkpoint's; needed for the number of outputs of a head that is not linear.

    Raises:
        UserError: if a tensor has another shape than the configuration implies, or is not a plain tensor of numbers.
    """
    check_plain(weights, "it")
    config = complete_config(config)
    if config.num_hidden_layers > len(weights):
        raise UserError(f"{config.num_hidden_layers} layers in {len(weights)} weights")
    embedding = weights.get("model.embed_tokens.weight")
    if embedding is not None and not 0 <= config.extra_token_rows < len(embedding):
        raise UserError(f"{config.extra_token_rows} extra rows in an embedding of {len(embedding)}")
    with torch.device("meta"):
        model = PixelGPTModel(
            config,
            uses_patches=any(name.startswith("model.embed_patches.") for name in weights),
            vocab_size=None if embedding is None else len(embedding) - config.extra_token_rows,
            num_labels=_num_labels(config, weights, data_settings or {}),
        )
    expected = dict(model.named_parameters())
    heads = ({name: held[name] for name in held if name.startswith("score.")} for held in (expected, weights))
    provenance.check_tensors(*heads, "the checkpoint's classification head")
    common = expected.keys() & weights.keys()
    provenance.check_tensors(*({name: held[name] for name in common} for held in (expected, weights)), "the checkpoint")
    return model


def _num_labels(config, weights, data_settings):
    """The outputs of a checkpoint's classification head; None where it has none."""
    if not any(name.startswith("score.") for name in weights):
        return None
    if config.classifier_head == LINEAR and "score.weight" in weights:
        return len(weights["score.weight"])
    task = data_settings.get("classification")
    if task is None:
        raise UserError(f"a head {config.classifier_head}, without the task that it was trained on")
    return SentenceTask.from_dict(task).num_labels


def _build_model(config, weights, data_settings):
    shapes = shapes_of(config, weights, data_settings)
    model = PixelGPTModel(config, shapes.uses_patches, shapes.vocab_size, shapes.num_labels, data_settings)
    state = {name: weight.float() for name, weight in weights.items()}
    provenance.reconcile(model, state)  # raises a UserError for tensors that do not fit, before load_state_dict does
    model.load_state_dict(state)
    return model
