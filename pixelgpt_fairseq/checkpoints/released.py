"""Folders in the layout of the released checkpoints: ``config.json`` and ``model.safetensors``.

The model uses the released tensor names, so loading a folder only checks settings, names and shapes. Unsupported
settings are refused by name rather than ignored, and no pickled code is run.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from pixelgpt_fairseq.checkpoints.released_config import is_on, read_config, written_config
from pixelgpt_fairseq.checkpoints.weight_files import WeightFiles, write_safetensors
from pixelgpt_fairseq.data.data_folder import TOKENIZER_FILE
from pixelgpt_fairseq.data.patches import PATCH_SIZE
from pixelgpt_fairseq.data.tokens import Tokenizer
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.models import provenance
from pixelgpt_fairseq.models.architectures import PixelGPTConfig
from pixelgpt_fairseq.models.heads import LINEAR
from pixelgpt_fairseq.models.pixelgpt import PixelGPTModel
from pixelgpt_fairseq.sources.class_names import read_class_names
from pixelgpt_fairseq.storage.files import check_absent, read_json, whole_folder

# An embedding with more padding rows than this belongs to another tokenizer.
MAX_EXTRA_ROWS = 1024
# Placeholder of Git LFS for a large file that was not fetched.
_POINTER, _LONGEST_POINTER = b"version https://git-lfs.github.com/spec/", 1024
# Defaults for a config.json that is written from scratch; a folder that was read keeps its own values.
RELEASED_SETTINGS = {
    "hidden_act": "silu",
    "image_size": [PATCH_SIZE, 16384],
    "patch_size": PATCH_SIZE,
    "norm_pix_loss": True,
    "attention_bias": False,
    "rope_scaling": None,
    "pretraining_tp": 1,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "model_type": "ernie-pixel",
    "use_cache": True,
}


@dataclass
class ReleasedFolder:
    """A folder whose settings, tensor names and shapes have been checked; no tensor has been read yet."""

    path: Path
    settings: dict  # config.json
    weights: WeightFiles
    model: PixelGPTModel  # shapes only
    redundant: list[str]  # redundant tensors: stored rotary frequencies, the copy of a tied embedding


def open_released(folder: str | os.PathLike) -> ReleasedFolder:
    """Check a folder in the released layout.

    Weights are those of ``model.safetensors``, its sharded form (``model.safetensors.index.json``) or
    ``pytorch_model.bin`` (also sharded), in that order.

    Raises:
        UserError: if the folder is incomplete or damaged, a setting is not supported, or tensors are missing, unknown
            or of another shape; all are named.
    """
    folder = Path(folder)
    _check_files(folder)
    settings = read_json(folder / "config.json", dict)
    config = read_config(settings, folder / "config.json")
    weights = WeightFiles(folder)
    if config.num_hidden_layers > len(weights.names):  # refuse an absurd number of layers before building the model
        raise UserError(f"{folder}: {config.num_hidden_layers} layers (config.json) in {len(weights.names)} tensors")
    tokens = _count_tokens(settings, folder) if is_on(settings, "reads_tokens") else None
    config.extra_token_rows = 0 if tokens is None else settings["vocab_size"] - tokens
    try:
        with torch.device("meta"):  # shapes only
            model = PixelGPTModel(
                config,
                uses_patches=is_on(settings, "reads_patches"),
                vocab_size=tokens,
                num_labels=_num_labels(settings, weights.shapes),
            )
    except UserError as error:
        raise UserError(f"{folder}/config.json: {error}") from None
    redundant = _redundant(weights, config, folder)
    found = {name: torch.empty(weights.shapes[name], device="meta") for name in weights.names if name not in redundant}
    provenance.check_tensors(dict(model.named_parameters()), found, str(folder))
    if model.num_labels is not None:
        read_class_names(settings, folder / "config.json", model.num_labels)  # raises if it cannot
    return ReleasedFolder(folder, settings, weights, model, redundant)


def load_released(folder: str | os.PathLike) -> PixelGPTModel:
    """Read a released-layout folder, a language model or a classifier: the model in eval mode, float32, on the CPU.

    The settings are kept as ``model.released_settings``; among them is ``norm_pix_loss``, which concerns the criterion.

    Raises:
        UserError: see :func:`open_released`.
    """
    opened = open_released(folder)
    model = opened.model
    model.to_empty(device="cpu")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(opened.weights.read(name))
    model.released_settings = opened.settings
    return model.eval()


def save_released(model: PixelGPTModel, folder: str | os.PathLike):
    """Write *model* as a released-layout folder, whole or not at all; weights as they are, bit for bit.

    The caller adds the tokenizer and the renderer settings.

    Raises:
        UserError: if *folder* exists and is not empty, or cannot be written.
    """
    tensors = {name: parameter.detach() for name, parameter in model.named_parameters()}
    settings = released_settings(model, next(iter(tensors.values())).dtype)
    write_released(folder, tensors, {"config.json": settings_text(settings)})


def write_released(folder, tensors: dict[str, Tensor], files: dict[str, bytes], progress: bool = False):
    """Write a released-layout folder, whole or not at all.

    Args:
        folder: the folder to create; an empty one may exist.
        tensors: contents of ``model.safetensors``.
        files: name -> content of the others.
        progress: show a bar.

    Raises:
        UserError: if *folder* exists and is not empty, or cannot be written.
    """
    folder = Path(folder)
    check_absent(folder, "another folder", folder=True)
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    with whole_folder(folder) as unfinished:
        with tqdm(total=size, unit="B", unit_scale=True, desc=folder.name, disable=not progress) as bar:
            for written in write_safetensors(tensors, unfinished / "model.safetensors"):
                bar.update(written)
        for name, content in files.items():
            (unfinished / name).write_bytes(content)


def settings_text(settings: dict) -> bytes:
    """The content of a ``config.json``."""
    return json.dumps(settings, indent=2, sort_keys=True).encode() + b"\n"


def check_layout(model: PixelGPTModel):
    """Check that the released layout has a place for *model*.

    Raises:
        UserError: if its patches are not of the published size, or its classification head is not linear.
    """
    head = model.config.classifier_head
    if model.num_labels is not None and head != LINEAR:
        raise UserError(f"the model has the classification head {head}; the released layout has linear ones alone")
    side = model.config.patch_size
    if model.uses_patches and side != PATCH_SIZE:
        raise UserError(
            f"the model's patches are {side} x {side} pixels; the released layout has models of {PATCH_SIZE} x "
            f"{PATCH_SIZE} alone"
        )


def released_settings(model: PixelGPTModel, dtype: torch.dtype) -> dict:
    """Contents of ``config.json`` for *model*, whose weights have type *dtype*.

    Raises:
        UserError: see :func:`check_layout`.
    """
    check_layout(model)
    settings = written_config(model.config, RELEASED_SETTINGS | getattr(model, "released_settings", {}))
    for name in {"torch_dtype", "dtype"} & settings.keys() or {"torch_dtype"}:  # versions 4 and 5 of transformers
        settings[name] = str(dtype).removeprefix("torch.")
    settings.pop("extra_token_rows", None)
    if model.vocab_size is not None:
        settings["vocab_size"] = model.vocab_size + model.config.extra_token_rows
        if model.config.extra_token_rows:  # a setting of this package, for folders without a tokenizer
            settings["extra_token_rows"] = model.config.extra_token_rows
    settings.setdefault("vocab_size", 0)
    kind = "CausalLM" if model.num_labels is None else "SequenceClassification"
    settings["architectures"] = [f"ErniePixelFor{kind}"]
    if model.num_labels is not None and len(settings.get("id2label") or {}) != model.num_labels:
        settings["id2label"] = {str(label): f"LABEL_{label}" for label in range(model.num_labels)}
        settings.pop("label2id", None)
    # Two settings of this package, written only if the model lacks an embedding that all released models have.
    for name, reads in (("reads_patches", model.uses_patches), ("reads_tokens", model.vocab_size is not None)):
        settings.pop(name, None)
        if not reads:
            settings[name] = False
    return settings


def _num_labels(settings: dict, shapes: dict[str, torch.Size]) -> int | None:
    """Outputs of a classifier, None for a language model."""
    if "score.weight" in shapes:  # a tensor that is no matrix is refused by its shape
        return max(1, shapes["score.weight"][0]) if len(shapes["score.weight"]) == 2 else 1
    architectures = settings.get("architectures") or ()
    is_classifier = "SequenceClassification" in json.dumps(architectures)
    return 1 if is_classifier else None  # a classifier without its head is refused because the tensor is missing


def _check_files(folder: Path):
    """Refuse a folder that is not in the released layout, and Git LFS placeholders."""
    if folder.is_file():
        raise UserError(f"{folder}: a file: name the folder that holds config.json and weights")
    if not (folder / "config.json").exists():
        raise UserError(f"{folder} is not a released checkpoint: it has no config.json")
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.is_file() and path.stat().st_size < _LONGEST_POINTER and path.read_bytes().startswith(_POINTER):
            raise UserError(f"{path}: only a pointer to the file: run git lfs pull in {folder}")


def _count_tokens(settings: dict, folder: Path) -> int:
    """Number of rows of the token embedding that are tokens of the tokenizer; the rest is padding.

    Embeddings are often padded, for example to a multiple of 64.

    Raises:
        UserError: if the tokenizer is damaged, or of another size.
    """
    rows, path = settings["vocab_size"], folder / TOKENIZER_FILE
    if rows < 1:
        raise UserError(f"{folder}/config.json: vocab_size {rows} is not a valid value")
    if not path.exists():
        extra = settings.get("extra_token_rows") or 0
        if isinstance(extra, bool) or not isinstance(extra, int) or not 0 <= extra < rows:
            raise UserError(f"{folder}/config.json: extra_token_rows {json.dumps(extra)} is not a valid value")
        return rows - extra
    tokens = len(Tokenizer.load(path))
    if not tokens <= rows <= tokens + MAX_EXTRA_ROWS:
        raise UserError(f"{path} has {tokens:,} tokens, the model's embedding {rows:,}: they do not belong together")
    return tokens


def _redundant(weights: WeightFiles, config: PixelGPTConfig, folder: Path) -> list[str]:
    """Names of redundant tensors: stored rotary frequencies, and the copy of a tied embedding."""
    names = [name for name in weights.names if name.endswith("rotary_emb.inv_freq")]
    head, embedding = "lm_token_head.weight", "model.embed_tokens.weight"
    if config.tie_word_embeddings and head in weights.shapes:
        if embedding in weights.shapes and not torch.equal(weights.read(head), weights.read(embedding)):
            raise UserError(f"{folder}: tie_word_embeddings is true, yet {head} is no copy of the embedding")
        names.append(head)
    return names
