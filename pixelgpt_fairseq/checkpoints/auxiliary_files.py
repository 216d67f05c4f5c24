"""Auxiliary files of a released folder: tokenizer, renderer settings, and what the model was trained on."""

import logging
from dataclasses import dataclass, field
from pathlib import Path

from pixelgpt_fairseq.checkpoints.released_config import is_on
from pixelgpt_fairseq.checkpoints.weight_files import is_weight_file
from pixelgpt_fairseq.data.data_folder import RENDERER_FILE, TOKENIZER_FILE
from pixelgpt_fairseq.data.patches import MSE, NORMALIZED_MSE, PATCH_LOSSES
from pixelgpt_fairseq.data.tokens import Tokenizer
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.rendering import RendererConfig
from pixelgpt_fairseq.sources.class_names import match_classes, read_class_names
from pixelgpt_fairseq.sources.examples import SentenceTask

logger = logging.getLogger(__name__)

CONFIG_FILE = "config.json"
# Key of config.json under which our own folders keep what other programs have no names for: "classification" (a
# SentenceTask), "task" (options of the fairseq task) and "patch_loss" where norm_pix_loss does not tell it.
OWN_SETTINGS = "pixelgpt_fairseq"
MAX_CARRIED_BYTES = 64 << 20


@dataclass
class AuxiliaryFiles:
    """What :func:`read_auxiliary_files` finds."""

    tokenizer: Tokenizer | None = None
    data_settings: dict = field(default_factory=dict)  # see PixelGPTModel
    task_options: dict = field(default_factory=dict)
    patch_loss: str = NORMALIZED_MSE  # see the criterion patch_token_loss


def read_auxiliary_files(folder, settings: dict, model) -> AuxiliaryFiles:
    """Read the files beside the weights of a released folder.

    Args:
        folder: its path.
        settings: its ``config.json``.
        model: PixelGPTModel with the sizes of the folder.

    Raises:
        UserError: if a file is damaged, or does not belong to the model.
    """
    folder, found = Path(folder), AuxiliaryFiles()
    if (folder / TOKENIZER_FILE).exists():
        found.tokenizer = Tokenizer.load(folder / TOKENIZER_FILE)
    renderer = _read_renderer(folder)
    own = settings.get(OWN_SETTINGS) or {}
    if not isinstance(own, dict) or not isinstance(own.get("task", {}), dict):
        raise UserError(f"{folder / CONFIG_FILE}: {OWN_SETTINGS} is not what this package writes there")
    classification = _read_classification(own, folder, model.num_labels)
    if renderer or found.tokenizer:
        sha256 = found.tokenizer.sha256 if found.tokenizer else None
        found.data_settings = {"renderer": renderer, "tokenizer_sha256": sha256}
    names = None if model.num_labels is None else read_class_names(settings, folder / CONFIG_FILE, model.num_labels)
    if classification:
        _check_names(names, classification, folder)
        found.data_settings["classification"] = classification
    elif names:
        found.data_settings["class_names"] = names
    found.task_options = own.get("task", {})
    found.patch_loss = own.get("patch_loss", NORMALIZED_MSE if is_on(settings, "norm_pix_loss") else MSE)
    if found.patch_loss not in PATCH_LOSSES:
        raise UserError(
            f"{folder / CONFIG_FILE}: {OWN_SETTINGS}.patch_loss {found.patch_loss!r}: one of {', '.join(PATCH_LOSSES)}"
        )
    return found


def _read_renderer(folder: Path) -> dict | None:
    path = folder / RENDERER_FILE
    if not path.exists():
        return None
    config = RendererConfig.from_json(path, locate_fonts=False)
    if any(font.sha256 is None for font in config.fonts):  # files written by other programs
        try:
            config = config.located(near=folder)
        except UserError as error:
            logger.warning(f"{path}: {error}")
    return config.to_dict()


def _read_classification(own: dict, folder: Path, num_labels: int | None) -> dict | None:
    values = own.get("classification")
    if values is None or num_labels is None:
        return None
    try:
        task = SentenceTask.from_dict(values)
        fits = task.num_labels == num_labels and all(isinstance(word, str) for word in (task.name, *task.labels))
    except (TypeError, AttributeError):
        fits = False
    if not fits:
        raise UserError(f"{folder / CONFIG_FILE}: {OWN_SETTINGS}.classification is no task of {num_labels} outputs")
    return task.to_dict()


def _check_names(names: list[str] | None, classification: dict, folder: Path):
    """Refuse a folder whose two lists of class names are in different orders."""
    labels = classification["labels"]
    if names and labels and match_classes(names, labels, classification["name"]) != list(range(len(labels))):
        raise UserError(
            f"{folder / CONFIG_FILE}: id2label names the outputs {', '.join(names)}, {OWN_SETTINGS}.classification "
            f"{', '.join(labels)}: which order holds?"
        )


def read_files(folder):
    """Read all files of a released folder except weights, up to ``MAX_CARRIED_BYTES`` in total.

    Returns:
        (files, left): name -> content; names of files that are too large.

    Raises:
        UserError: naming the file that cannot be read.
    """
    files, too_large, room = {}, [], MAX_CARRIED_BYTES
    for path in sorted(Path(folder).iterdir()):
        if not is_carried(path.name) or not path.is_file():
            continue
        try:
            with open(path, "rb") as file:
                content = file.read(room + 1)
        except OSError as error:
            raise UserError(f"{path}: {error.strerror}") from None
        if len(content) > room:
            too_large.append(path.name)
        else:
            files[path.name] = content
            room -= len(content)
    return files, too_large


def is_carried(name: str) -> bool:
    """Whether a file of this name is kept when a folder is converted to a checkpoint and back."""
    return name == Path(name).name and not name.startswith(".") and not is_weight_file(name)
