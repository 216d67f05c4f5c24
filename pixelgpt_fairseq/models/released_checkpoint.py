"""Folders in the layout of the released checkpoints: ``config.json`` and ``model.safetensors``.

The model's own tensor names are the released ones, so reading a folder is checking it: settings, names and shapes. What
this package does not do is refused by name rather than ignored, and no pickled code is ever run.
"""

import json
import os
import pickle
import shutil
import tempfile
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from pixelgpt_fairseq.data.patches import PATCH_SIZE
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.models import provenance
from pixelgpt_fairseq.models.pixelgpt import PixelGPTConfig, PixelGPTModel

# Settings of config.json that the model takes over under the same name, without which there is no model.
REQUIRED = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "vocab_size",
    "max_position_embeddings",
    "rms_norm_eps",
)
# Those that older folders may lack.
DEFAULTS = {
    "num_key_value_heads": None,  # None: as many as query heads
    "rope_theta": 10000.0,
    "num_channels": 3,
    "tie_word_embeddings": False,
    "initializer_range": 0.02,
    "attention_dropout": 0.0,
}
# Settings that change what a model computes, and the only values of them that this package computes.
SUPPORTED = {
    "hidden_act": ("silu",),
    "patch_size": (PATCH_SIZE, [PATCH_SIZE, PATCH_SIZE]),
    "rope_scaling": (None,),
    "attention_bias": (False,),
    "mlp_bias": (False,),
    "pretraining_tp": (1,),
    "sliding_window": (None,),
}
# Written where nothing is known; a folder that was read keeps its own.
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


def load_released(folder: str | os.PathLike) -> PixelGPTModel:
    """Read a released-layout folder, a language model or a classifier: the model in eval mode, float32, on the CPU.

    Weights are taken from ``model.safetensors``, its sharded form (``model.safetensors.index.json``) or
    ``pytorch_model.bin`` (also sharded), in that order. The settings as read stay with the model
    (``model.released_settings``), among them ``norm_pix_loss``, which is the criterion's business.

    Raises:
        UserError: if the folder is incomplete or damaged, a setting is not supported, or tensors are missing, unknown
            or of another shape; all are named.
    """
    folder = Path(folder)
    settings = _read_json(folder / "config.json")
    config = _read_config(settings, folder)
    tensors = _read_tensors(folder)
    with torch.device("meta"):  # shapes only: initialising what is overwritten at once would take longer than reading
        model = PixelGPTModel(
            config,
            uses_patches=settings.get("reads_patches", True),
            vocab_size=settings["vocab_size"] if settings.get("reads_tokens", True) else None,
            num_labels=_num_labels(settings, tensors),
        )
    tensors = _without_redundant(tensors, config, folder)
    provenance.check_tensors(dict(model.named_parameters()), tensors, str(folder))
    for tensor in tensors.values():
        if not tensor.is_floating_point():
            raise UserError(f"{folder}: its tensors are {tensor.dtype}, not floating-point numbers")
    record = provenance.read(model)
    model.to_empty(device="cpu")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(tensors[name])
    setattr(model, provenance.RECORD, provenance.encode(record))
    model.released_settings = settings
    return model.eval()


def save_released(model: PixelGPTModel, folder: str | os.PathLike):
    """Write *model* as a released-layout folder, whole or not at all; weights as they are, bit for bit.

    The tokenizer and renderer settings, which a released folder also holds, are the caller's to add.

    Raises:
        UserError: if *folder* exists and is not empty, or cannot be written.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} already exists: choose another folder, or remove it first")
    tensors = {name: p.detach().cpu().contiguous() for name, p in model.named_parameters()}
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
            unfinished = Path(scratch, "released")
            unfinished.mkdir()
            save_file(tensors, unfinished / "model.safetensors", metadata={"format": "pt"})
            text = json.dumps(_settings_of(model), indent=2, sort_keys=True)
            (unfinished / "config.json").write_text(text + "\n", encoding="utf-8")
            # safetensors writes for its owner's eyes only; the folder's own rules shall hold.
            shutil.copymode(unfinished / "config.json", unfinished / "model.safetensors")
            os.replace(unfinished, folder)  # an empty folder may stand there
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror or error}") from error


def _settings_of(model: PixelGPTModel) -> dict:
    settings = RELEASED_SETTINGS | getattr(model, "released_settings", {})
    for name in (*REQUIRED, *DEFAULTS):
        if name != "vocab_size":
            settings[name] = getattr(model.config, name)
    settings["torch_dtype"] = str(next(model.parameters()).dtype).removeprefix("torch.")
    settings["vocab_size"] = model.vocab_size or settings.get("vocab_size", 0)
    kind = "CausalLM" if model.num_labels is None else "SequenceClassification"
    settings["architectures"] = [f"ErniePixelFor{kind}"]
    if model.num_labels is not None and len(settings.get("id2label", {})) != model.num_labels:
        settings["id2label"] = {str(label): f"LABEL_{label}" for label in range(model.num_labels)}
        settings.pop("label2id", None)
    # Two settings of our own, only where a model lacks an embedding that every released one has.
    for name, reads in (("reads_patches", model.uses_patches), ("reads_tokens", model.vocab_size is not None)):
        settings.pop(name, None)
        if not reads:
            settings[name] = False
    return settings


def _read_json(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path.parent} is not a released checkpoint: it has no {path.name}") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} does not hold a JSON object")
    return content


def _read_config(settings: dict, folder: Path) -> PixelGPTConfig:
    missing = [name for name in REQUIRED if settings.get(name) is None]
    if missing:
        raise UserError(f"{folder}/config.json lacks {', '.join(missing)}")
    unsupported = [
        f"{name} {json.dumps(settings[name])}"
        for name, supported in SUPPORTED.items()
        if name in settings and not any(settings[name] == value for value in supported)
    ]
    if settings.get("image_size", [PATCH_SIZE])[0] != PATCH_SIZE:
        unsupported.append(f"image_size {settings['image_size']}")
    head_dim = settings.get("head_dim")
    if head_dim is not None and head_dim * settings["num_attention_heads"] != settings["hidden_size"]:
        unsupported.append(f"head_dim {head_dim}")
    if unsupported:
        raise UserError(f"{folder}/config.json asks for what this package does not support: {', '.join(unsupported)}")
    sizes = {name: settings[name] for name in REQUIRED if name != "vocab_size"}
    options = {name: settings.get(name, default) for name, default in DEFAULTS.items()}
    if options["num_key_value_heads"] is None:
        options["num_key_value_heads"] = settings["num_attention_heads"]
    return PixelGPTConfig(**sizes, **options)


def _num_labels(settings: dict, tensors: dict[str, Tensor]) -> int | None:
    """Labels of a classifier, None for a language model. Without ``id2label``, the score's own shape tells."""
    is_classifier = any("SequenceClassification" in name for name in settings.get("architectures") or ())
    if not is_classifier and "score.weight" not in tensors:
        return None
    if "id2label" in settings:
        return len(settings["id2label"])
    return tensors["score.weight"].shape[0] if "score.weight" in tensors else 2


def _read_tensors(folder: Path) -> dict[str, Tensor]:
    for whole, read in (("model.safetensors", _read_safetensors), ("pytorch_model.bin", _read_torch)):
        if (folder / whole).exists():
            return read(folder / whole)
        index = folder / f"{whole}.index.json"
        if index.exists():
            return _read_shards(index, read)
    raise UserError(f"{folder} has no weights: neither model.safetensors nor pytorch_model.bin, whole or in shards")


def _read_shards(index: Path, read) -> dict[str, Tensor]:
    weight_map = _read_json(index).get("weight_map")
    if not isinstance(weight_map, dict):
        raise UserError(f"{index} has no weight_map")
    tensors = {}
    for shard in sorted(set(weight_map.values())):
        path = index.parent / shard
        if path.parent != index.parent or not path.exists():
            raise UserError(f"{index} names a shard that is not there: {shard}")
        tensors |= read(path)
    return tensors


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is damaged or no safetensors file: {error}") from error


def _read_torch(path: Path) -> dict[str, Tensor]:
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise UserError(f"{path} is damaged or holds more than plain tensors; it is not read") from error
    if not isinstance(tensors, dict) or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise UserError(f"{path} holds more than plain tensors")
    return tensors


def _without_redundant(tensors: dict[str, Tensor], config: PixelGPTConfig, folder: Path) -> dict[str, Tensor]:
    """Leave out what says nothing new: rotary frequencies that older files store, and the copy of a tied embedding."""
    kept = {name: tensor for name, tensor in tensors.items() if not name.endswith("rotary_emb.inv_freq")}
    if config.tie_word_embeddings and "lm_token_head.weight" in kept:
        head, embedding = kept.pop("lm_token_head.weight"), kept.get("model.embed_tokens.weight")
        if embedding is not None and not torch.equal(head, embedding):
            raise UserError(
                f"{folder}: tie_word_embeddings is true, yet lm_token_head.weight is no copy of the embedding"
            )
    return kept
