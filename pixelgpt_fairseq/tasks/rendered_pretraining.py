# ruff: noqa: UP045  (fairseq reads Optional[...] and List[...] off its dataclasses)
"""Pretraining on rendered text, on tokens, and on pairs of both."""

import functools
import logging
from dataclasses import dataclass, field
from typing import Optional

import numpy as np
import torch
from fairseq import utils
from fairseq.dataclass import ChoiceEnum
from fairseq.tasks import register_task
from omegaconf import MISSING, OmegaConf

from pixelgpt_fairseq.criterions.patch_token_loss import reported_losses
from pixelgpt_fairseq.data.blocks import BREAK_MODES, BlockDataset
from pixelgpt_fairseq.data.data_folder import DataFolder, settings_differences
from pixelgpt_fairseq.data.modality_mixture import MixtureOrder, ModalityMixture
from pixelgpt_fairseq.data.pairs import PairDataset
from pixelgpt_fairseq.data.rendered_rows import RenderedRows
from pixelgpt_fairseq.data.shuffling import SEGMENT_POSITIONS, SHUFFLE_BUFFER
from pixelgpt_fairseq.data.streams import (
    COLUMNS,
    LOSSES,
    PAIR,
    PATCH,
    PIECES,
    PIXEL,
    PRETRAINING_STREAMS,
    TEXT,
    TOKEN,
    register_stream,
)
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.rendering import RendererConfig
from pixelgpt_fairseq.tasks.rendered_task import RenderedTask, RenderedTaskConfig

logger = logging.getLogger(__name__)

PIXEL_SOURCES = ("patches", "text")


@dataclass
class RenderedPretrainingConfig(RenderedTaskConfig):
    """Options of ``--task rendered_pretraining``."""

    data: str = field(
        default=MISSING,
        metadata={
            "help": "folder that pixelgpt render-corpus wrote; several, joined by colons, take turns by epoch, or are "
            "mixed by --data-weights"
        },
    )
    data_weights: Optional[str] = field(
        default=None,
        metadata={
            "help": "share of updates of each of the folders, such as 0.7,0.3: they are one mixture (default: they "
            "take turns by epoch). --valid-subset valid is then all folders together, valid@1 the first of them"
        },
    )
    modalities: str = field(
        default="text,pixel,pair",
        metadata={
            "help": "streams to train on, joined by commas. TextGPT: text; PixelGPT: pixel; MonoGPT: text,pixel; "
            "DualGPT: text,pixel,pair"
        },
    )
    modality_weights: Optional[str] = field(
        default=None,
        metadata={"help": "share of updates of each of --modalities, in their order, such as 1,1,2 (default: equal)"},
    )
    tokens_per_sample: int = field(
        default=1024, metadata={"help": "longest block, in patches (pixel) or tokens (text)"}
    )
    sample_break_mode: ChoiceEnum(BREAK_MODES) = field(
        default="none",
        metadata={
            "help": "none: blocks of --tokens-per-sample; complete: of whole strips or texts; complete_doc: the same, "
            "of one document; eos: one strip or text each"
        },
    )
    shuffle_buffer: int = field(
        default=SHUFFLE_BUFFER,
        metadata={
            "help": "patches and tokens of a stream that are shuffled together; a larger stream is read in runs of "
            f"{SEGMENT_POSITIONS:,}"
        },
    )
    pixel_source: ChoiceEnum(PIXEL_SOURCES) = field(
        default="patches",
        metadata={
            "help": "patches: stored ones, or where only text was stored, that; text: render it in the data loader's "
            "workers, see --store of pixelgpt render-corpus"
        },
    )
    pair_patches: Optional[int] = field(
        default=None,
        metadata={
            "help": "strip width of a pair, where the positions of its text begin (default: that of the checkpoint "
            "that training begins with, if it was trained on pairs, or else half of the block)"
        },
    )
    pair_tokens: Optional[int] = field(
        default=None, metadata={"help": "most tokens of a pair (default: what the strip leaves of the block)"}
    )


@register_task("rendered_pretraining", dataclass=RenderedPretrainingConfig)
class RenderedPretrainingTask(RenderedTask):
    """Next patch and next token prediction on the streams of one data folder.

    Every batch is of one modality, and so is every update on all workers; ``--modality-weights`` says how often each
    comes.
    """

    shuffle_batches = False  # shuffling would mix modalities within an update
    criterion_name = "patch_token_loss"

    @classmethod
    def reported_metrics(cls, cfg, subset):
        """``loss``, and the losses and perplexity of each of ``--modalities``."""
        return reported_losses(cls.modalities_of(cfg))

    @classmethod
    def modalities_of(cls, cfg):
        """The modalities of ``--modalities``."""
        return parse_modalities(cfg.modalities, cfg.modality_weights)[0]

    def __init__(self, cfg, modalities, weights, dictionary, data_settings, tokenizer=None):
        super().__init__(cfg)
        if tokenizer is not None:  # saved in checkpoints, so that the model can be used without its data folder
            self.state.merge_state_dict({"tokenizer": torch.tensor(list(tokenizer.serialized), dtype=torch.uint8)})
        self.modalities, self.weights = modalities, weights
        self.dictionary, self.data_settings = dictionary, data_settings

    @classmethod
    def setup_task(cls, cfg, **kwargs):
        """Read the dictionary and settings of the (first) data folder, and check that the others have the same."""
        modalities, weights = parse_modalities(cfg.modalities, cfg.modality_weights)
        if OmegaConf.is_missing(cfg, "data") or not cfg.data:
            raise UserError("no data folder: name one that pixelgpt render-corpus wrote (Hydra: task.data=FOLDER)")
        if cfg.shuffle_buffer < 1:
            raise UserError(f"--shuffle-buffer {cfg.shuffle_buffer}: at least 1")
        folder, *others = (DataFolder(path) for path in utils.split_paths(cfg.data))
        data_settings = folder.settings(folder.first_split())
        for other in others:
            _check_settings(other, other.first_split(), data_settings, folder)
        reads_tokens = _is_predicted(TOKEN, modalities)
        dictionary = folder.dictionary() if reads_tokens else None
        if dictionary is None and reads_tokens:
            raise UserError(
                f"{folder.path}: no {TEXT} (modalities asked for: {cfg.modalities}): it was rendered without a "
                "tokenizer; render it with --tokenizer or --train-tokenizer"
            )
        if dictionary is not None:
            logger.info(f"dictionary: {len(dictionary):,} tokens")
        tokenizer = folder.tokenizer() if dictionary is not None else None
        return cls(cfg, modalities, weights, dictionary, data_settings, tokenizer)

    @property
    def uses_patches(self):
        """Whether the model embeds and predicts patches."""
        return _is_predicted(PATCH, self.modalities)

    @property
    def uses_tokens(self):
        """Whether the model embeds and predicts tokens."""
        return _is_predicted(TOKEN, self.modalities)

    @functools.cached_property
    def pair_limits(self):
        """See :func:`pair_limits`; None for both without pairs."""
        if PAIR not in self.modalities:
            return None, None
        return pair_limits(self.cfg, self.trained_settings.get("pair_patches"))

    @property
    def strip_patches(self):
        """The strip width W of a pair, where the positions of its text begin; None without pairs."""
        return self.pair_limits[0]

    def build_model(self, cfg, from_checkpoint=False):
        """Build the model (see :class:`RenderedTask`); check that the longest example fits it."""
        pair_patches, pair_tokens = self.pair_limits
        model = super().build_model(cfg, from_checkpoint)
        longest = {
            f"--tokens-per-sample {self.cfg.tokens_per_sample}": self.cfg.tokens_per_sample
            if set(self.modalities) - {PAIR}
            else 0,
            f"--pair-patches {pair_patches} and --pair-tokens {pair_tokens}": pair_patches + pair_tokens
            if PAIR in self.modalities
            else 0,
        }
        for options, positions in longest.items():
            if positions > model.max_positions():
                raise UserError(
                    f"{options} need {positions} positions, the model has {model.max_positions()}: choose smaller "
                    "ones, or train a model with more --max-position-embeddings"
                )
        return model

    def has_sharded_data(self, split):
        """Whether fairseq is to load another folder in every epoch: folders that are mixed stay."""
        return self.cfg.data_weights is None and super().has_sharded_data(split)

    def load_dataset(self, split, epoch=1, combine=False, task_cfg=None, **kwargs):
        """Load the streams of *split*: of the folder whose turn it is, or of all that are mixed.

        Raises:
            UserError: for a folder that is not there, or was made with other settings than the first.
        """
        folders = [DataFolder(path) for path in utils.split_paths(self.cfg.data)]
        name, _, number = split.partition("@")
        if number:
            if self.cfg.data_weights is None or not number.isdecimal() or not 1 <= int(number) <= len(folders):
                raise UserError(
                    f"split {split}: the number is that of one of the folders of --data-weights, from 1 to "
                    f"{len(folders)}"
                )
            chosen = [folders[int(number) - 1]]
        else:
            chosen = folders if self.cfg.data_weights is not None else [folders[(epoch - 1) % len(folders)]]
        streams = []
        for folder in chosen:
            _check_settings(folder, name, self.data_settings, folders[0])
            manifest = folder.manifest(name)
            strips = self._open_strips(folder, name, manifest) if self.uses_patches else None
            found = [
                (modality, PRETRAINING_STREAMS[modality].load(self, folder, name, strips))
                for modality in self.modalities
            ]
            held = ", ".join(f"{len(stream):,} {modality} examples" for modality, stream in found)
            logger.info(f"{folder.path}, {name}: {held}")
            streams += found
        self.datasets[split] = ModalityMixture(
            streams,
            pad=self.dictionary.pad() if self.dictionary else None,
            strip_patches=self.strip_patches,
            shuffle_buffer=self.cfg.shuffle_buffer if split == self.cfg.train_subset else None,
        )

    def _open_strips(self, folder, split, manifest):
        """The patches of *split*, stored or rendered from its text."""
        stored, text = folder.has(split, PIXEL), folder.has(split, PIECES)
        if self.cfg.pixel_source == "text" and not text:
            raise UserError(
                f"{folder.path}: split {split} holds no text to render: render it with --store text or both, or leave "
                "out --pixel-source text"
            )
        if self.cfg.pixel_source == "text" or (text and not stored):
            logger.info(
                f"{folder.path}, {split}: patches are rendered from text in the --num-workers of the data loader"
            )
            config = RendererConfig.from_dict(manifest["renderer"]).located(near=folder.path)
            strips = RenderedRows(folder.prefixes(split, PIXEL), folder.open(split, PIECES), config)
            strips.check()
            return strips
        return folder.open(split, PIXEL, manifest["patch_values"])

    def training_batches(self, dataset, seed, num_shards, **limits):
        """Batches of one modality each, mixed by weight, see MixtureOrder."""
        folders = len(utils.split_paths(self.cfg.data))
        weights = self.weights
        if self.cfg.data_weights is not None:
            shares = parse_data_weights(self.cfg.data_weights, folders)
            weights = np.outer(np.array(shares) / sum(shares), weights).reshape(-1)  # of each modality of each folder
            folders = 1
        dataset.prefetch_for(num_shards)
        order = MixtureOrder(dataset, weights, limits, seed)

        def draw(epoch):
            # Several folders take turns by epoch, so this one was used only in every n-th of the earlier epochs.
            *earlier, size = (
                num_shards * self.update_freq(e) for e in range((epoch - 1) % folders + 1, epoch + 1, folders)
            )
            return order.batches(epoch, size, earlier)

        return draw

    def validation_batches(self, dataset, **limits):
        """Batches of one modality after another, sorted by length."""
        batches = []
        for indices in dataset.stream_indices():
            by_length = indices[np.argsort(dataset.sizes[indices], kind="stable")]
            batches += dataset.batch_by_size(by_length, **limits)
        return batches

    def training_order(self):
        """See :class:`~pixelgpt_fairseq.tasks.rendered_task.RenderedTask`."""
        return {
            "--modalities": list(self.modalities),
            "--modality-weights": list(self.weights),
            "folders": len(utils.split_paths(self.cfg.data)),
            "--data-weights": self.cfg.data_weights,
            "--shuffle-buffer": self.cfg.shuffle_buffer,
        }

    def describe_update(self, dataset):
        """The numbers of targets of an update, by which its losses are divided."""
        return dataset.describe_update


@register_stream(TEXT, losses=(TOKEN,))
def load_text(task, folder, split, strips):
    """Blocks of tokens."""
    return _blocks(task, folder, split, folder.open(split, TEXT), "tokens")


@register_stream(PIXEL, losses=(PATCH,))
def load_pixel(task, folder, split, strips):
    """Blocks of patches."""
    return _blocks(task, folder, split, strips, "patches")


def _blocks(task, folder, split, rows, key):
    training = split == task.cfg.train_subset
    mode, plans = str(task.cfg.sample_break_mode), folder.plans(split)
    return BlockDataset(rows, key, task.cfg.tokens_per_sample, mode, fill_one=training, plans=plans)


@register_stream(PAIR, losses=LOSSES)
def load_pairs(task, folder, split, strips):
    """Pairs of a strip and the tokens of the same text."""
    texts, columns = folder.open(split, TEXT), folder.open(split, COLUMNS, 2)
    return PairDataset(strips, texts, columns, task.dictionary, *task.pair_limits, plans=folder.plans(split))


def _is_predicted(loss, modalities):
    return any(loss in PRETRAINING_STREAMS[modality].losses for modality in modalities)


def _check_settings(folder, split, expected, first):
    """Check that *split* has the same settings as the data of the *first* folder."""
    differences = settings_differences(folder.settings(split), expected)
    if differences:
        raise UserError(
            f"{folder.path}: split {split} was binarized with other settings than {first.path}, split "
            f"{first.first_split()}: {'; '.join(differences)}"
        )


def parse_modalities(modalities, weights=None):
    """Check ``--modalities`` and ``--modality-weights``.

    Returns:
        (tuple of modalities, tuple of float)

    Raises:
        UserError: if one is unknown or named twice, or the weights are not one positive number for each.
    """
    names = tuple(name.strip() for name in modalities.split(","))
    for name in names:
        if name not in PRETRAINING_STREAMS:
            raise UserError(f"--modalities {modalities}: {name!r} is none of {', '.join(PRETRAINING_STREAMS)}")
    if len(set(names)) != len(names):
        raise UserError(f"--modalities {modalities}: a modality is named twice")
    if weights is None:
        return names, (1.0,) * len(names)
    try:
        values = tuple(float(weight) for weight in str(weights).split(","))
    except ValueError:
        raise UserError(f"--modality-weights {weights}: not numbers joined by commas") from None
    if len(values) != len(names):
        raise UserError(
            f"--modality-weights {weights}: {len(values)} weights for {len(names)} modalities ({modalities})"
        )
    if not all(np.isfinite(value) and value > 0 for value in values):
        raise UserError(f"--modality-weights {weights}: weights must be positive; leave a modality out instead")
    return names, values


def parse_data_weights(weights, folders):
    """Check ``--data-weights``: a tuple of float, one for each of so many folders.

    Raises:
        UserError: if they are not one positive number for each folder.
    """
    try:
        values = tuple(float(weight) for weight in str(weights).split(","))
    except ValueError:
        raise UserError(f"--data-weights {weights}: not numbers joined by commas") from None
    if len(values) != folders:
        raise UserError(f"--data-weights {weights}: {len(values)} weights for {folders} data folders")
    if not all(np.isfinite(value) and value > 0 for value in values):
        raise UserError(f"--data-weights {weights}: weights must be positive; leave a folder out instead")
    return values


def pair_limits(cfg, trained_strip=None):
    """The most patches (separator included) and tokens (bos and eos included) of a pair.

    Args:
        cfg: the task's options.
        trained_strip: the strip width of the pairs that the checkpoint was trained on, if any.

    Raises:
        UserError: if nothing would fit.
    """
    patches = cfg.pair_patches or trained_strip or cfg.tokens_per_sample // 2
    tokens = cfg.pair_tokens or cfg.tokens_per_sample - patches
    if patches < 2 or tokens < 3:
        raise UserError(
            f"a pair of {patches} patches and {tokens} tokens holds nothing: raise --pair-patches and --pair-tokens"
        )
    return patches, tokens
