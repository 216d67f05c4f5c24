# ruff: noqa: UP045  (fairseq reads Optional[...] off its dataclasses)
"""Fine-tuning on XNLI, in fifteen languages."""

import logging
import time
from dataclasses import dataclass, field
from typing import Optional

import torch
from fairseq.dataclass import ChoiceEnum
from fairseq.tasks import register_task

from pixelgpt_fairseq.data.data_folder import DataFolder
from pixelgpt_fairseq.data.languages import LanguagesDataset
from pixelgpt_fairseq.data.streams import PAIR, PIXEL, TEXT
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.sources.xnli import LANGUAGES, SOURCE_LANGUAGE, XNLI, languages_of, parse_languages, split_name
from pixelgpt_fairseq.tasks.rendered_classification import RenderedClassificationConfig, RenderedClassificationTask

logger = logging.getLogger(__name__)

PROGRESS_SECONDS = 30  # after which a validation on many languages reports its progress, which most log formats do not

SETTINGS = TRANSLATE_TRAIN_ALL, CROSS_LINGUAL_TRANSFER = ("translate-train-all", "cross-lingual-transfer")


@dataclass
class RenderedXnliConfig(RenderedClassificationConfig):
    """Options of ``--task rendered_xnli``."""

    setting: ChoiceEnum(SETTINGS) = field(
        default=TRANSLATE_TRAIN_ALL,
        metadata={"help": "train on every language, or on English alone; validation is on every language"},
    )
    languages: Optional[str] = field(
        default=None,
        metadata={
            "help": "only these, such as en,sw: to validate on and, with translate-train-all, to train on (default: "
            "all that the data folder has)"
        },
    )
    sampling_temperature: float = field(
        default=1.0,
        metadata={
            "help": "T: a training language's share of an epoch is in proportion to its number of examples to the "
            "power of 1/T. 1: every example once; larger: more of the languages that have few"
        },
    )
    max_positions: Optional[int] = field(
        default=None,
        metadata={
            "help": "longest strip in patches, longest text in tokens; longer ones are cut (default: 256; 768 for text)"
        },
    )


@register_task("rendered_xnli", dataclass=RenderedXnliConfig)
class RenderedXnliTask(RenderedClassificationTask):
    """The examples that ``pixelgpt render-xnli`` wrote.

    A split covers all languages: ``--valid-subset valid`` validates on every language in one pass and logs
    ``accuracy_en`` and so on, and ``average_accuracy``, which selects checkpoints. ``valid.sw`` is the split of one
    language.
    """

    render_script = "pixelgpt render-xnli"
    default_positions = {TEXT: 768, PIXEL: 256, PAIR: 256}  # noqa: RUF012  (the published recipes' limits)
    languages = LANGUAGES
    _validated, _told = 0, float("inf")  # examples of the current validation so far, and the time of the last progress
    # line

    @classmethod
    def check_options(cls, cfg, folder, sentence_task):
        """Check the options, and that the data is XNLI's."""
        if sentence_task != XNLI:
            raise UserError(
                f"{folder.path}: holds task {sentence_task.name}, not XNLI: render it with {cls.render_script}"
            )
        if cfg.languages is not None:
            parse_languages(cfg.languages)
        if not cfg.sampling_temperature > 0:
            raise UserError(f"--sampling-temperature {cfg.sampling_temperature}: must be above 0")

    @classmethod
    def splits_of(cls, cfg, folder, subset):
        """The splits of the requested languages, or of the one that *subset* names (``valid.sw``).

        Raises:
            UserError: if there is no such language, or none in the data folder.
        """
        name, dot, language = subset.partition(".")
        if dot:
            languages = parse_languages(language, f"split {subset}: language")
        elif cls._is_transfer(cfg, subset):
            languages = [SOURCE_LANGUAGE]
        elif cfg.languages is not None:
            languages = parse_languages(cfg.languages)
        else:
            languages = languages_of(folder, name)
        if not languages:
            whole = ", ".join(folder.splits()) or "none"
            raise UserError(f"{folder.path}: no language has a split {subset} (whole splits: {whole})")
        return [split_name(name, each) for each in languages]

    @classmethod
    def reported_metrics(cls, cfg, subset):
        """``loss``, ``accuracy``, ``average_accuracy`` and the accuracy of each language of *subset*."""
        languages = [split.partition(".")[2] for split in cls.splits_of(cfg, DataFolder(cfg.data), subset)]
        names = super().reported_metrics(cfg, subset)
        return [*names, "average_accuracy", *(f"accuracy_{language}" for language in languages)]

    @staticmethod
    def _is_transfer(cfg, subset):
        """Whether *subset* is what cross-lingual transfer trains on: English alone."""
        return subset == cfg.train_subset and str(cfg.setting) == CROSS_LINGUAL_TRANSFER

    def open_dataset(self, folder, split, shuffle):
        """The examples of a split in all its languages, or in one (``valid.sw``).

        Raises:
            UserError: if a language that was asked for is absent, or there is none.
        """
        splits = self.splits_of(self.cfg, folder, split)
        parts = {
            each.partition(".")[2]: super(RenderedXnliTask, self).open_dataset(folder, each, False) for each in splits
        }
        absent = [language for language in LANGUAGES if language not in parts]
        if absent and self.cfg.languages is None and "." not in split and not self._is_transfer(self.cfg, split):
            logger.warning(f"{folder.path}, {split}: {len(parts)} languages; absent: {', '.join(absent)}")
        counts = ", ".join(f"{each} {len(part):,}" for each, part in parts.items())
        logger.info(f"{folder.path}, {split}: examples of {counts}")
        return LanguagesDataset(parts, LANGUAGES, shuffle, self.cfg.seed, self.cfg.sampling_temperature)

    def training_order(self):
        """See :class:`~pixelgpt_fairseq.tasks.rendered_task.RenderedTask`."""
        return {**super().training_order(), "--sampling-temperature": self.cfg.sampling_temperature}

    def begin_valid_epoch(self, epoch, model):
        """Reset the progress count."""
        super().begin_valid_epoch(epoch, model)
        self._validated, self._told = 0, time.monotonic()

    def valid_step(self, sample, model, criterion):
        """As in every classification task; a long validation logs its progress."""
        outputs = super().valid_step(sample, model, criterion)
        if sample:
            workers = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
            share = -(-sample["examples"] // workers)
            self._validated += sample["nsentences"]
            if time.monotonic() - self._told > PROGRESS_SECONDS and self._validated < share:
                self._told = time.monotonic()
                logger.info(f"validated on {self._validated:,} of {share:,} examples")
            if self._validated >= share:  # another subset may follow
                self._validated = 0
        return outputs
