# ruff: noqa: UP045  (fairseq reads Optional[...] and List[...] off its dataclasses)
"""What the fine-tuning tasks share: examples with labels, read as text, as pixels or as both."""

import functools
import logging
from dataclasses import dataclass, field
from typing import Optional

import torch
from fairseq.dataclass import ChoiceEnum
from omegaconf import MISSING, OmegaConf

from pixelgpt_fairseq.criterions.metrics import CLASSES, SCORES, parse_metrics
from pixelgpt_fairseq.data.classification import ClassificationDataset
from pixelgpt_fairseq.data.data_folder import DataFolder
from pixelgpt_fairseq.data.streams import MODALITIES, PAIR, PIXEL, TEXT
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.sources.class_names import match_classes
from pixelgpt_fairseq.sources.examples import SentenceTask
from pixelgpt_fairseq.tasks.rendered_task import RenderedTask, RenderedTaskConfig

logger = logging.getLogger(__name__)

# The published recipes' limits on most tasks.
MAX_POSITIONS = {TEXT: 768, PIXEL: 768, PAIR: 512}


@dataclass
class RenderedClassificationConfig(RenderedTaskConfig):
    """Options of every task with labels."""

    data: str = field(default=MISSING, metadata={"help": "folder of rendered examples"})
    modality: Optional[ChoiceEnum(MODALITIES)] = field(
        default=None, metadata={"help": "what the model reads of an example; to be given"}
    )
    max_positions: Optional[int] = field(
        default=None,
        metadata={
            "help": "longest strip in patches, longest text in tokens; longer ones are cut (default: 768; 512 of each "
            "for a pair)"
        },
    )
    pair_patches: Optional[int] = field(
        default=None,
        metadata={
            "help": "strip width of a pair, where the positions of its text begin (default: that of the checkpoint "
            "that training begins with, if it was trained on pairs, or else --max-positions)"
        },
    )
    pair_tokens: Optional[int] = field(
        default=None, metadata={"help": "most tokens of a pair (default: --max-positions)"}
    )
    metrics: Optional[str] = field(
        default=None,
        metadata={
            "help": "what validation reports, joined by commas: names of registered metrics (default: those that the "
            "data folder names)"
        },
    )
    resume_interval_updates: int = field(
        default=1,
        metadata={
            "help": "write checkpoint_last.pt, with which an interrupted run goes on, only this many updates after the "
            "save before; the best and the last state of a run are always saved"
        },
    )


class RenderedClassificationTask(RenderedTask):
    """Tells classes apart, or gives a score, by one modality of a folder's examples.

    What the classes are stands in the data folder, in the model's record and in the state that checkpoints keep of the
    task (``classification``, see :class:`~pixelgpt_fairseq.sources.examples.SentenceTask`; ``tokenizer``).

    Attributes:
        metrics: names of the metrics of validation.
    """

    render_script = "the script that renders its examples"
    default_positions = MAX_POSITIONS
    languages = ()  # names of those whose accuracies are told apart
    criterion_name = "rendered_classification"

    def __init__(self, cfg, sentence_task, dictionary, data_settings, tokenizer=None):
        super().__init__(cfg)
        self.sentence_task, self.dictionary = sentence_task, dictionary
        self.metrics = metrics_of(cfg, sentence_task)
        self.data_settings = {**data_settings, "classification": sentence_task.to_dict()}
        state = {"classification": sentence_task.to_dict()}
        if tokenizer is not None:  # with it, no data folder is needed to use the model
            state["tokenizer"] = torch.tensor(list(tokenizer.serialized), dtype=torch.uint8)
        self.state.merge_state_dict(state)

    @classmethod
    def setup_task(cls, cfg, **kwargs):
        """Read the task, the dictionary and the settings of the data folder."""
        if OmegaConf.is_missing(cfg, "data") or not cfg.data:
            raise UserError(f"no data folder: name one that {cls.render_script} wrote (Hydra: task.data=FOLDER)")
        cls.modalities_of(cfg)
        folder = cls.open_folder(cfg)
        split = folder.first_split()
        sentence_task = cls.read_task(folder, split)
        cls.check_options(cfg, folder, sentence_task)
        reads_tokens = cfg.modality != PIXEL
        dictionary = folder.dictionary() if reads_tokens else None
        if reads_tokens and dictionary is None:
            raise UserError(
                f"{folder.path}: no tokens, which --modality {cfg.modality} reads: render it with the --tokenizer of "
                "the checkpoint"
            )
        kind = ", ".join(sentence_task.labels) or "a score"
        logger.info(f"task {sentence_task.name}: {kind}; modality: {cfg.modality}")
        tokenizer = folder.tokenizer() if reads_tokens else None
        return cls(cfg, sentence_task, dictionary, folder.settings(split), tokenizer)

    @classmethod
    def open_folder(cls, cfg):
        """The data folder.

        Raises:
            UserError: if it is absent.
        """
        folder = DataFolder(cfg.data)
        if not folder.path.is_dir():
            raise UserError(f"{folder.path}: no such folder: render examples into it with {cls.render_script}")
        return folder

    @classmethod
    def read_task(cls, folder, split):
        """The SentenceTask of a split.

        Raises:
            UserError: if it holds no labeled examples, but a corpus.
        """
        values = folder.manifest(split).get("task")
        if values is None:
            raise UserError(
                f"{folder.path}: holds a corpus, no examples with labels: make some with {cls.render_script}"
            )
        return SentenceTask.from_dict(values)

    @classmethod
    def splits_of(cls, cfg, folder, subset):
        """The splits of the data folder that a subset on the command line stands for."""
        return [subset]

    @classmethod
    def reported_metrics(cls, cfg, subset):
        """``loss``, and the metrics of ``--metrics`` or of the task that stands in the data folder."""
        folder = cls.open_folder(cfg)
        return ["loss", *metrics_of(cfg, cls.read_task(folder, cls.splits_of(cfg, folder, subset)[0]))]

    @classmethod
    def modalities_of(cls, cfg):
        """That of ``--modality``.

        Raises:
            UserError: if none is given.
        """
        if cfg.modality is None:
            raise UserError(
                f"no --modality (Hydra: task.modality): say what the model reads of an example: {', '.join(MODALITIES)}"
            )
        return (str(cfg.modality),)

    @classmethod
    def check_labels(cls, cfg, subset, option):
        """Check that *subset*, which *option* names, has labels.

        Raises:
            UserError: if it has none, or is absent.
        """
        folder = cls.open_folder(cfg)
        for split in cls.splits_of(cfg, folder, subset):
            if not folder.manifest(split).get("labeled", True):
                raise UserError(f"{option} {subset}: {folder.path} has no labels for it: choose another split")

    @classmethod
    def check_options(cls, cfg, folder, sentence_task):
        """Check the options of a subclass against the data folder."""

    @property
    def resume_interval_updates(self):
        """Updates between saves that are needed for resuming alone."""
        return self.cfg.resume_interval_updates

    @property
    def num_labels(self):
        """Outputs of the classification head: the classes, or 1 for regression."""
        return self.sentence_task.num_labels

    @property
    def regression(self):
        """Whether a score is predicted, not a class."""
        return self.sentence_task.regression

    @property
    def uses_patches(self):
        """Whether the model embeds patches."""
        return self.cfg.modality != TEXT

    @property
    def uses_tokens(self):
        """Whether the model embeds tokens."""
        return self.cfg.modality != PIXEL

    @property
    def target_dictionary(self):
        """None: labels are numbers."""
        return None

    def load_state_dict(self, state_dict):
        """Take over what a checkpoint keeps of its task.

        Its classes may stand in another order than the data folder's, whose order the model then takes over (see
        :func:`~pixelgpt_fairseq.models.provenance.reconcile`).

        Raises:
            UserError: if its classes are not those of the data folder.
        """
        check_classes(state_dict, self.sentence_task, self.cfg.data)
        state_dict = {
            name: value for name, value in state_dict.items() if name not in ("classification", "class_names")
        }
        super().load_state_dict(state_dict)

    @functools.cached_property
    def position_limits(self):
        """See :func:`position_limits`."""
        return position_limits(self.cfg, self.default_positions, self.trained_settings.get("pair_patches"))

    @property
    def strip_patches(self):
        """The strip width W of a pair, where the positions of its text begin; None for other modalities."""
        return self.position_limits[2]

    def build_model(self, cfg, from_checkpoint=False):
        """Build the model (see :class:`RenderedTask`); check that the longest example fits it."""
        model = super().build_model(cfg, from_checkpoint)
        max_patches, max_tokens, strip_patches = self.position_limits
        patches = max_patches if strip_patches is None else strip_patches
        needed = (patches if self.uses_patches else 0) + (max_tokens if self.uses_tokens else 0)
        if needed > model.max_positions():
            raise UserError(
                f"an example may have {needed} positions (--modality {self.cfg.modality}), the model has "
                f"{model.max_positions()}: choose a smaller --max-positions"
            )
        return model

    def load_dataset(self, split, combine=False, **kwargs):
        """Load *split*; the one to train on is shuffled."""
        folder = DataFolder(self.cfg.data)
        self.datasets[split] = dataset = self.open_dataset(folder, split, shuffle=split == self.cfg.train_subset)
        logger.info(f"{folder.path}, {split}: {len(dataset):,} examples of {dataset.sizes.mean():.1f} positions")

    def open_dataset(self, folder, split, shuffle):
        """The examples of a split.

        Raises:
            UserError: if they are not whole, or of another task.
        """
        if self.read_task(folder, split) != self.sentence_task:
            raise UserError(f"{folder.path}: split {split} is of another task than the others: render it again")
        max_patches, max_tokens, strip_patches = self.position_limits
        return ClassificationDataset.from_folder(
            folder,
            split,
            str(self.cfg.modality),
            max_patches=max_patches,
            max_tokens=max_tokens,
            dictionary=self.dictionary,
            strip_patches=strip_patches,
            shuffle=shuffle,
            seed=self.cfg.seed,
        )

    def training_order(self):
        """See :class:`~pixelgpt_fairseq.tasks.rendered_task.RenderedTask`."""
        return {"--modality": str(self.cfg.modality)}

    def reduce_metrics(self, logging_outputs, criterion):
        """Log speed and batch sizes as every fairseq task, and the metrics of this one."""
        super().reduce_metrics(logging_outputs, criterion)
        criterion.log_metrics(logging_outputs)


def metrics_of(cfg, sentence_task):
    """Names of the metrics of validation: those of ``--metrics``, or else the task's.

    Raises:
        UserError: if ``--metrics`` names one that is not registered, or of the other kind.
    """
    if cfg.metrics is None:
        return sentence_task.metrics
    return parse_metrics(cfg.metrics, SCORES if sentence_task.regression else CLASSES)


def check_classes(task_state, task, data):
    """Compare the classes that a checkpoint keeps of its task with those of a data folder, by their names.

    Args:
        task_state: of the checkpoint: ``classification`` (a SentenceTask), or ``class_names`` where a released folder
            did not tell its task; nothing is compared where there is neither.
        task: SentenceTask of the data folder.
        data: its path, for messages.

    Raises:
        UserError: if they are not the same.
    """
    theirs = task_state.get("classification")
    names = task_state.get("class_names") if theirs is None else theirs["labels"]
    if names is None:
        return
    try:
        if theirs is not None and bool(names) != bool(task.labels):
            raise UserError
        match_classes(names, task.labels, task.name)
    except UserError:
        trained, given = (", ".join(labels) or "scores" for labels in (names, task.labels))
        of_task = f" (task {theirs['name']})" if theirs else ""
        raise UserError(
            f"the labels in {data} are {given} (task {task.name}), the checkpoint was trained on {trained}{of_task}"
        ) from None


def position_limits(cfg, defaults=MAX_POSITIONS, trained_strip=None):
    """The most patches (separator included) and tokens (bos included) of an example, and the strip width of a pair.

    Args:
        cfg: the task's options.
        defaults: modality -> ``--max-positions`` where it is not given.
        trained_strip: the strip width of the pairs that the checkpoint was trained on, if any.

    Returns:
        (patches, tokens, strip width or None)

    Raises:
        UserError: if nothing would fit.
    """
    limit = defaults[str(cfg.modality)] if cfg.max_positions is None else cfg.max_positions
    patches, tokens, strip = limit, limit, None
    if cfg.modality == PAIR:
        strip = cfg.pair_patches or trained_strip or limit
        patches = cfg.pair_patches or min(limit, strip)
        tokens = limit if cfg.pair_tokens is None else cfg.pair_tokens
    if min(patches, tokens) < 2:
        raise UserError(f"examples of {patches} patches and {tokens} tokens hold nothing: raise --max-positions")
    return patches, tokens, strip
