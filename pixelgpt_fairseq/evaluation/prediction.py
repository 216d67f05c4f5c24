"""Predictions of a fine-tuned checkpoint for a rendered split, and the files that GLUE takes them in."""

import logging
import math
import os
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from fairseq import checkpoint_utils, utils
from omegaconf import OmegaConf
from tqdm import tqdm

from pixelgpt_fairseq.checkpoints.loading import read_state
from pixelgpt_fairseq.criterions.metrics import METRICS, confusion_matrix
from pixelgpt_fairseq.data.data_folder import DataFolder
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.evaluation import MAX_TOKENS
from pixelgpt_fairseq.sources.examples import SentenceTask
from pixelgpt_fairseq.sources.glue import GLUE_TASKS
from pixelgpt_fairseq.storage.files import check_absent, write_whole
from pixelgpt_fairseq.tasks.rendered_classification import check_classes

logger = logging.getLogger(__name__)

_RANGES = {"stsb": (0.0, 5.0)}  # GLUE takes no score beyond it


@dataclass
class Predictions:
    """What :func:`predict` gives, in the order of the examples in their file."""

    task: SentenceTask
    modality: str
    logits: torch.Tensor  # float32 [n, C]; [n, 1] for regression
    labels: torch.Tensor | None  # int64 or float64 [n]; None where the split has none
    seconds: float
    chosen_metrics: tuple[str, ...] = ()  # of --metrics, beside the task's

    def words(self):
        """Predictions in GLUE's submission format: class words, or scores as text (those of STS-B clamped to 0..5)."""
        if self.task.regression:
            lowest, highest = _RANGES.get(self.task.name, (-math.inf, math.inf))
            return [f"{score:.4f}" for score in self.logits[:, 0].clamp(lowest, highest).tolist()]
        return [self.task.labels[number] for number in self.logits.argmax(dim=-1).tolist()]

    def metrics(self):
        """The chosen metrics and the task's, as fairseq-validate finds them; empty where the split has no labels."""
        if self.labels is None:
            return {}
        names = dict.fromkeys((*self.chosen_metrics, *self.task.metrics))
        if self.task.regression:
            scores = torch.stack([self.logits[:, 0].double(), self.labels], dim=1).numpy()
            return {name: float(METRICS[name].function(scores)) for name in names}
        classes = self.task.num_labels
        confusion = confusion_matrix(self.logits.argmax(dim=-1), self.labels, classes).view(classes, classes).numpy()
        return {name: float(METRICS[name].function(confusion)) for name in names}


def predict(checkpoint, data, splits, max_tokens=None, batch_size=None, cpu=False, progress=True):
    """Evaluate a checkpoint on splits, with the task, the modality and the limits that it was trained with.

    Args:
        checkpoint: path of a checkpoint of fairseq-train with ``--criterion rendered_classification``.
        data: the data folder: one that ``pixelgpt render-glue`` wrote, say.
        splits: names of the splits.
        max_tokens: positions of a batch (default: ``MAX_TOKENS``, where *batch_size* is not given either).
        batch_size: examples of a batch.
        cpu: leave a GPU alone.
        progress: show a bar.

    Returns:
        dict: split -> Predictions

    Raises:
        UserError: if the checkpoint is no classifier, or the data is of another task or other labels, lacks a split, or
            was tokenized differently or not at all. Data that was rendered differently is used with a warning.
    """
    for option, number in (("--max-tokens", max_tokens), ("--batch-size", batch_size)):
        if number is not None and number < 1:
            raise UserError(f"{option} {number}: at least 1")
    classifier = Classifier(checkpoint, data, splits, cpu)
    return {split: classifier.predict(split, max_tokens, batch_size, progress) for split in splits}


class Classifier:
    """The model of a fine-tuned checkpoint, for the splits of a data folder.

    Args:
        checkpoint, data, splits, cpu: see :func:`predict`; *splits* are those that must be there from the beginning.

    Raises:
        UserError, SystemExit: as :func:`predict`.
    """

    def __init__(self, checkpoint, data, splits, cpu=False):
        state = read_state(checkpoint)
        for split in splits:
            _check_task(checkpoint, state, data, split)
        cfg = OmegaConf.create(state["cfg"], flags={"allow_objects": True})  # as fairseq does
        cfg.task.data = str(data)
        cfg.task.metrics = _registered_metrics(checkpoint, cfg.task.get("metrics"))
        (model,), _, self._task = checkpoint_utils.load_model_ensemble_and_task(
            [str(checkpoint)], state={**state, "cfg": cfg}
        )
        self._device = torch.device("cuda" if torch.cuda.is_available() and not cpu else "cpu")
        self._model = model.float().eval().to(self._device)
        self._checkpoint = checkpoint

    @torch.inference_mode()
    def predict(self, split, max_tokens=None, batch_size=None, progress=True):
        """What the model answers to a split, as it is in the folder now: Predictions."""
        self._task.load_dataset(split)
        found = _predict_split(self._model, self._task, split, max_tokens, batch_size, self._device, progress)
        if not found.logits.isfinite().all():
            raise UserError(f"{self._checkpoint}: the model's answers are no numbers: its training went wrong")
        return found


def _registered_metrics(checkpoint, names):
    """Those of a checkpoint's ``--metrics`` that are registered; predictions need none of them."""
    if names is None:
        return None
    known = [name for name in names.split(",") if name.strip() in METRICS]
    if len(known) < len(names.split(",")):
        logger.warning(f"{checkpoint}: of its --metrics {names} only {', '.join(known) or 'none'} are registered here")
    return ",".join(known) or None


def _predict_split(model, task, split, max_tokens, batch_size, device, progress):
    dataset = task.dataset(split)
    if max_tokens is None and batch_size is None:
        max_tokens = max(MAX_TOKENS, int(dataset.sizes.max()))
    batches = task.get_batch_iterator(dataset, max_tokens=max_tokens, max_sentences=batch_size, training=False)
    logits = torch.empty(len(dataset), task.num_labels)
    began = time.perf_counter()
    with warnings.catch_warnings(), tqdm(total=len(dataset), unit=" examples", desc=split, disable=not progress) as bar:
        warnings.filterwarnings("ignore", "'pin_memory' argument", UserWarning)  # fairseq asks for it, on CPUs too
        for sample in batches.next_epoch_itr(shuffle=False):
            net_input = utils.apply_to_sample(lambda tensor: tensor.to(device), sample["net_input"])
            logits[sample["id"]] = model(**net_input).class_logits.float().cpu()
            bar.update(len(sample["id"]))
    labels = None if dataset.labels is None else torch.as_tensor(dataset.labels)
    modality = str(task.cfg.modality)
    return Predictions(task.sentence_task, modality, logits, labels, time.perf_counter() - began, task.metrics)


def file_name(task, split, probabilities=False):
    """GLUE's name for the predictions of a split; where GLUE has none, one made of task and split."""
    _, sources = GLUE_TASKS.get(task.name, (None, ()))
    names = [source.submission for source in sources if source.split == split and source.submission]
    name = names[0] if names else f"{task.name}-{split}.tsv"
    return name.replace(".tsv", "-probabilities.tsv") if probabilities else name


def write_predictions(predictions, path, probabilities=False):
    """Write ``index`` and ``prediction``, as GLUE takes them, whole or not at all.

    Args:
        predictions: Predictions.
        path: the file.
        probabilities: add a column with the probability of each class, of which regression has none. GLUE takes no
            such file.

    Raises:
        UserError: if the file cannot be written.
    """
    columns = [["index", *range(len(predictions.logits))], ["prediction", *predictions.words()]]
    if probabilities:
        shares = predictions.logits.softmax(dim=-1).T.tolist()
        for word, column in zip(predictions.task.labels, shares, strict=True):
            columns.append([word, *(f"{share:.6f}" for share in column)])
    text = "".join("\t".join(map(str, row)) + "\n" for row in zip(*columns, strict=True))
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{Path(path).parent}: {error.strerror}") from None
    write_whole(path, text)


def output_path(output, task, split, probabilities=False, overwrite=False):
    """Where predictions go: *output*, or in the folder *output* a file of GLUE's name.

    A folder is one that is there, or a name with a slash at its end; it is made when the predictions are written.

    Raises:
        UserError: if the file is there already (unless *overwrite*), or its folder is not.
    """
    path = Path(output)
    names_folder = str(output).endswith(os.sep)
    if names_folder and path.exists() and not path.is_dir():
        raise UserError(f"{output}: a file, not a folder")
    if names_folder or path.is_dir():
        path = path / file_name(task, split, probabilities)
    if not names_folder and not path.parent.is_dir():
        raise UserError(f"{path.parent}: no such folder")
    check_absent(path, "another --output", overwrite)
    return path


def task_of(data, split):
    """The SentenceTask of a split of a data folder.

    Raises:
        UserError: if the split is absent, or holds no examples.
    """
    if not Path(data).is_dir():
        raise UserError(f"{data}: no such folder: render examples into it with pixelgpt render-glue")
    held = DataFolder(data).manifest(split).get("task")
    if held is None:
        raise UserError(f"{data}: holds a corpus, no examples: make some with pixelgpt render-glue")
    return SentenceTask.from_dict(held)


def _check_task(checkpoint, state, data, split):
    """Refuse, before the model is built, what it cannot answer."""
    if not any(name.startswith("score.") for name in state["model"]):
        raise UserError(
            f"{checkpoint}: not a classifier: it was pretrained and predicts patches and tokens; fine-tune it first"
        )
    trained, given = state["task_state"].get("classification"), task_of(data, split)
    if not trained and "score.weight" in state["model"]:
        outputs = len(state["model"]["score.weight"])
        if outputs != given.num_labels:
            raise UserError(f"{checkpoint}: {outputs} outputs, task {given.name} has {given.num_labels}")
        logger.warning(f"{checkpoint}: does not say which task it was trained on: it is taken for {given.name}")
    elif trained and trained["name"] != given.name:
        raise UserError(f"{checkpoint}: trained on task {trained['name']}, {data} holds {given.name}")
    try:
        check_classes(state["task_state"], given, data)
    except UserError as error:
        raise UserError(f"{checkpoint}: {error}") from None
