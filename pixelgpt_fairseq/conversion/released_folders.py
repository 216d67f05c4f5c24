"""Converts released folders to checkpoints of fairseq-train and back, bit for bit and in little memory.

The folder's other files are stored in the checkpoint under the key ``released``, which fairseq ignores. Checkpoints of
further training do not have this key.
"""

import dataclasses
import logging
import os
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

from fairseq.dataclass.configs import FairseqConfig
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from tqdm import tqdm

from pixelgpt_fairseq.checkpoints.auxiliary_files import (
    CONFIG_FILE,
    OWN_SETTINGS,
    AuxiliaryFiles,
    is_carried,
    read_auxiliary_files,
    read_files,
)
from pixelgpt_fairseq.checkpoints.loading import read_state, shapes_of
from pixelgpt_fairseq.checkpoints.released import (
    check_layout,
    open_released,
    released_settings,
    settings_text,
    write_released,
)
from pixelgpt_fairseq.checkpoints.weight_files import check_plain
from pixelgpt_fairseq.conversion.new_checkpoints import bytes_as_tensor, new_checkpoint, save_checkpoint
from pixelgpt_fairseq.criterions.patch_token_loss import PatchTokenLossConfig
from pixelgpt_fairseq.criterions.rendered_classification import RenderedClassificationLossConfig
from pixelgpt_fairseq.data.data_folder import RENDERER_FILE, TOKENIZER_FILE
from pixelgpt_fairseq.data.patches import BCE, NORMALIZED_MSE
from pixelgpt_fairseq.data.streams import PAIR, PIXEL, TEXT
from pixelgpt_fairseq.data.tokens import Tokenizer
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.models import provenance
from pixelgpt_fairseq.models.pixelgpt import PixelGPTModel
from pixelgpt_fairseq.rendering import RendererConfig
from pixelgpt_fairseq.sources.class_names import match_classes
from pixelgpt_fairseq.storage.files import check_absent
from pixelgpt_fairseq.tasks.rendered_classification import MAX_POSITIONS, position_limits
from pixelgpt_fairseq.tasks.rendered_glue import RenderedGlueConfig
from pixelgpt_fairseq.tasks.rendered_pretraining import RenderedPretrainingConfig, pair_limits

logger = logging.getLogger(__name__)

RELEASED = "released"  # key of the checkpoint
# Task options that describe a machine or a run rather than the model.
_OF_A_RUN = (
    "_name",
    "data",
    "seed",
    "train_subset",
    "finetune_from_model",
    "continue_once",
    "restore_file",
    "save_dir",
    "update_freq",
    "path",
)


class Imported(NamedTuple):
    """What :func:`import_released` took over."""

    model: PixelGPTModel  # without weights
    auxiliary_files: AuxiliaryFiles
    files: list[str]
    left_behind: list[str]  # too large


def import_released(folder, checkpoint, sentence_task=None, modality=None, progress=True):
    """Write a checkpoint of fairseq-train from a folder in the released layout, whole or not at all.

    Args:
        folder: see :func:`~pixelgpt_fairseq.checkpoints.released.open_released`.
        checkpoint: path of the file to be made.
        sentence_task: SentenceTask that a classifier was fine-tuned on, where the folder does not tell.
        modality: what a classifier reads, where the folder does not tell (default: pixel, if it can).
        progress: show bars.

    Returns:
        Imported

    Raises:
        UserError: if the folder is invalid, or *checkpoint* exists or cannot be written.
    """
    if str(checkpoint).endswith(os.sep):
        raise UserError(f"{checkpoint}: a folder: name the file that is to be made in it")
    checkpoint = Path(checkpoint)
    check_absent(checkpoint, "another name")
    opened = open_released(folder)
    model, auxiliary_files = opened.model, read_auxiliary_files(folder, opened.settings, opened.model)
    files, left_behind = read_files(folder)
    if model.num_labels is None and (sentence_task or modality):
        raise UserError(f"{folder} is no classifier: it was not fine-tuned on a task")
    if sentence_task:
        if sentence_task.num_labels != model.num_labels:
            raise UserError(
                f"{folder} has {model.num_labels} outputs, task {sentence_task.name} needs {sentence_task.num_labels}"
            )
        _take_task(auxiliary_files, sentence_task, opened)
    cfg = _training_config(opened, auxiliary_files, modality)
    weights, redundant = OrderedDict(), {}
    names = tqdm(opened.weights.names, desc=f"reading {opened.path.name}", unit=" tensors", disable=not progress)
    for name in names:
        (redundant if name in opened.redundant else weights)[name] = opened.weights.read(name)
    task_state = {"data_settings": auxiliary_files.data_settings | _strip_width(cfg["task"])}
    if auxiliary_files.tokenizer and model.vocab_size is not None:
        task_state["tokenizer"] = bytes_as_tensor(auxiliary_files.tokenizer.serialized)
    for name in ("classification", "class_names"):
        if auxiliary_files.data_settings.get(name):
            task_state[name] = auxiliary_files.data_settings[name]
    state = new_checkpoint(cfg, weights, task_state)
    state[RELEASED] = {
        "files": {name: bytes_as_tensor(content) for name, content in files.items()},
        "redundant": redundant,
    }
    save_checkpoint(state, checkpoint, progress)
    return Imported(model, auxiliary_files, sorted(files), left_behind)


def export_released(checkpoint, folder, progress=True):
    """Write a folder in the released layout from a checkpoint of fairseq-train, whole or not at all.

    The weights are as the checkpoint has them, bit for bit. A checkpoint that :func:`import_released` made gives back
    the files that it was made of; another one gives ``config.json``, ``text_renderer_config.json`` and
    ``tokenizer.model``.

    Returns:
        list: names of the files.

    Raises:
        UserError: if *checkpoint* holds no pixelgpt model, or *folder* exists and is not empty, or cannot be written.
    """
    check_absent(folder, "another folder", folder=True)
    state = read_state(checkpoint)
    tensors = dict(state["model"])
    try:
        data_settings = state["task_state"]["data_settings"]
        model = shapes_of(SimpleNamespace(**state["cfg"]["model"]), tensors, data_settings)
        provenance.check_tensors(dict(model.named_parameters()), tensors, "the checkpoint")
        check_layout(model)
    except UserError as error:
        raise UserError(f"{checkpoint}: {error}") from None
    original = state.get(RELEASED)
    if original is not None:
        try:
            files = {name: bytes(content.numpy()) for name, content in original["files"].items() if is_carried(name)}
            tensors |= original["redundant"]
            check_plain(original["redundant"], checkpoint)
        except (TypeError, KeyError, AttributeError):
            raise UserError(f"{checkpoint}: damaged: its files of the released folder are unreadable") from None
    else:
        files = _companion_files(state, model, next(iter(tensors.values())).dtype)
    write_released(folder, tensors, files, progress)
    return sorted([*files, "model.safetensors"])


def _strip_width(task) -> dict:
    """``pair_patches`` as data settings hold it, of the options of a task that has pairs; else nothing."""
    cfg = SimpleNamespace(**task)
    if PAIR in getattr(cfg, "modalities", "").split(","):
        return {"pair_patches": pair_limits(cfg)[0]}
    if getattr(cfg, "modality", None) == PAIR:
        return {"pair_patches": position_limits(cfg)[2]}
    return {}


def _companion_files(state, model, dtype) -> dict[str, bytes]:
    """The files of a released folder beside its weights, for a checkpoint that was trained here."""
    cfg, data_settings, files = state["cfg"], state["task_state"]["data_settings"], {}
    settings = released_settings(model, dtype)
    names = data_settings.get("class_names")
    if names:
        settings["id2label"], settings["label2id"] = _numbered(names)
    patch_loss = str((cfg["criterion"] or {}).get("patch_loss", NORMALIZED_MSE))
    settings["norm_pix_loss"] = patch_loss == NORMALIZED_MSE
    own = {"task": {key: value for key, value in (cfg.get("task") or {}).items() if key not in _OF_A_RUN}}
    if patch_loss == BCE:
        own["patch_loss"] = patch_loss
    width = data_settings.get("pair_patches")
    if width and _strip_width(cfg["task"]) != {"pair_patches": width}:  # it was that of an earlier checkpoint
        own["task"]["pair_patches"] = width
    classification = data_settings.get("classification")
    if classification:
        own["classification"] = classification
        words = classification["labels"]
        if words:
            settings["id2label"], settings["label2id"] = _numbered(words)
        settings["finetuning_task"] = classification["name"]
        settings["problem_type"] = "single_label_classification" if words else "regression"
    files[CONFIG_FILE] = settings_text(settings | _special_tokens(state) | {OWN_SETTINGS: own})
    if data_settings.get("renderer"):
        files[RENDERER_FILE] = RendererConfig.from_dict(data_settings["renderer"]).to_json_text().encode()
    tokenizer = state["task_state"].get("tokenizer")
    if tokenizer is not None:
        files[TOKENIZER_FILE] = bytes(tokenizer.numpy())
    return files


def _special_tokens(state) -> dict:
    """Ids of the tokens that begin and end texts, as ``config.json`` names them; empty without a tokenizer."""
    tokenizer = state["task_state"].get("tokenizer")
    if tokenizer is None:
        return {}
    ids = Tokenizer(bytes(tokenizer.numpy()), "the checkpoint's tokenizer").special_tokens()
    return {f"{name}_token_id": number for name, number in ids.items()}


def _numbered(names) -> tuple[dict, dict]:
    """``id2label`` and ``label2id``."""
    return {str(number): name for number, name in enumerate(names)}, {name: i for i, name in enumerate(names)}


def _training_config(opened, auxiliary_files, modality) -> dict:
    """The options that fairseq-train would have saved if it had trained the model."""
    model, task_options = opened.model, auxiliary_files.task_options
    if model.num_labels is None:
        task, criterion = RenderedPretrainingConfig(), PatchTokenLossConfig()
        criterion._name, task._name = "patch_token_loss", "rendered_pretraining"
        criterion.patch_loss = auxiliary_files.patch_loss
        streams = [TEXT] * (model.vocab_size is not None) + [PIXEL] * model.uses_patches
        task.modalities = ",".join([*streams, PAIR] if len(streams) > 1 else streams)
        task.tokens_per_sample = min(task.tokens_per_sample, model.max_positions())
    else:
        task, criterion = RenderedGlueConfig(), RenderedClassificationLossConfig()
        criterion._name, task._name = "rendered_classification", "rendered_glue"
        task.modality = PIXEL if model.uses_patches else TEXT
        if modality:
            _check_modality(modality, opened)
            task_options = task_options | {"modality": modality}
    task.data = ""
    cfg = OmegaConf.structured(FairseqConfig)
    built = dataclasses.replace(model.config, _name="pixelgpt")
    cfg.task, cfg.criterion, cfg.model = (OmegaConf.structured(part) for part in (task, criterion, built))
    known = {field.name for field in dataclasses.fields(task)} - set(_OF_A_RUN)
    try:
        cfg.task = OmegaConf.merge(cfg.task, {key: value for key, value in task_options.items() if key in known})
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{opened.path / CONFIG_FILE}: {OWN_SETTINGS}.task: {reason}") from None
    if model.num_labels is not None and cfg.task.max_positions is None:
        room = model.max_positions() // (2 if cfg.task.modality == PAIR else 1)
        if room < MAX_POSITIONS[str(cfg.task.modality)]:
            cfg.task.max_positions = room
    return OmegaConf.to_container(cfg, resolve=True, enum_to_str=True)


def _take_task(auxiliary_files, task, opened):
    """Record that a classifier was fine-tuned on *task*, with the task's words in the order of the outputs."""
    where, settings = opened.path / CONFIG_FILE, auxiliary_files.data_settings
    told = (settings.get("classification") or {}).get("name")
    if told is not None:
        if told != task.name:
            raise UserError(f"{where}: it was fine-tuned on task {told}, not on {task.name}")
        return
    names = settings.pop("class_names", None)
    if names:
        try:
            order = match_classes(names, task.labels, task.name)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
        task = dataclasses.replace(task, labels=tuple(task.labels[number] for number in order))
    settings["classification"] = task.to_dict()


def _check_modality(modality, opened):
    lacking = (
        modality != TEXT and not opened.model.uses_patches,
        modality != PIXEL and opened.model.vocab_size is None,
    )
    for lacks, what in zip(lacking, ("patches", "tokens"), strict=True):
        if lacks:
            raise UserError(f"--modality {modality}: {opened.path} reads no {what}")
