# ruff: noqa: UP045  (fairseq reads Optional[...] off its dataclasses)
"""Text from a strip or from text: transcription, transliteration, translation, summaries."""

import functools
import json
import logging
from argparse import Namespace
from dataclasses import dataclass, field
from typing import Optional

import torch
from fairseq import utils
from fairseq.dataclass import ChoiceEnum
from fairseq.tasks import register_task
from omegaconf import II, MISSING, OmegaConf

from pixelgpt_fairseq.checkpoints.loading import read_state
from pixelgpt_fairseq.criterions.text_scores import log_text_scores, text_sums
from pixelgpt_fairseq.data.data_folder import DataFolder
from pixelgpt_fairseq.data.streams import PAIR, PIXEL, TEXT
from pixelgpt_fairseq.data.translations import SOURCE_MODALITIES, TranslationDataset, TypedSources
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.generation.sequence_generation import GenerationDictionary, GenerationModel, TokenGenerator
from pixelgpt_fairseq.generation.typed_sources import SourceDictionary, prompt_of_samples, prompt_of_typed
from pixelgpt_fairseq.rendering import TextRenderer
from pixelgpt_fairseq.tasks.rendered_task import RenderedTask, RenderedTaskConfig

logger = logging.getLogger(__name__)

RENDER_SCRIPT = "scripts/render_translation.py"


@dataclass
class RenderedTranslationConfig(RenderedTaskConfig):
    """Options of ``--task rendered_translation``."""

    data: str = field(default=MISSING, metadata={"help": f"folder that {RENDER_SCRIPT} wrote"})
    source_modality: Optional[ChoiceEnum(SOURCE_MODALITIES)] = field(
        default=None, metadata={"help": "what the model reads of a source, a strip or tokens; to be given"}
    )
    max_source_positions: int = field(
        default=512, metadata={"help": "longest source in patches or tokens; longer ones are cut"}
    )
    max_target_positions: int = field(
        default=512, metadata={"help": "most tokens of a target, bos and eos included; longer ones are cut in training"}
    )
    pair_patches: Optional[int] = field(
        default=None,
        metadata={
            "help": "strip width of a source, where the positions of its target begin (default: that of the checkpoint "
            "that training begins with, if it was trained on pairs, or else --max-source-positions)"
        },
    )
    eval_bleu: bool = field(default=False, metadata={"help": "validation generates texts, and logs their BLEU"})
    eval_chrf: bool = field(default=False, metadata={"help": "validation generates texts, and logs their chrF"})
    eval_cer: bool = field(
        default=False, metadata={"help": "validation generates texts, and logs their character error rate in percent"}
    )
    eval_bleu_args: str = field(
        default='{"beam": 1}',
        metadata={"help": "how validation generates, options of fairseq-generate as JSON, such as '{\"beam\": 4}'"},
    )
    eval_bleu_print_samples: bool = field(
        default=False, metadata={"help": "log a text that validation has generated, with its reference"}
    )
    path: Optional[str] = II("common_eval.path")
    resume_interval_updates: int = field(
        default=1,
        metadata={
            "help": "write checkpoint_last.pt, with which an interrupted run goes on, only this many updates after the "
            "save before; the best and the last state of a run are always saved"
        },
    )


@register_task("rendered_translation", dataclass=RenderedTranslationConfig)
class RenderedTranslationTask(RenderedTask):
    """The tokens of a target, after its source as strip or as tokens; for fairseq-generate and -interactive, too."""

    criterion_name = "target_token_loss"
    uses_tokens = True

    def __init__(self, cfg, dictionary, data_settings, tokenizer):
        super().__init__(cfg)
        self.dictionary, self.tokenizer, self.data_settings = dictionary, tokenizer, data_settings
        self.generation_dictionary = GenerationDictionary(dictionary, tokenizer.decode)
        self.typed_dictionary = SourceDictionary(self.generation_dictionary)
        self.state.merge_state_dict({"tokenizer": torch.tensor(list(tokenizer.serialized), dtype=torch.uint8)})
        self.validation_generator = None

    @classmethod
    def setup_task(cls, cfg, **kwargs):
        """Read the dictionary and the settings of the data folder."""
        if OmegaConf.is_missing(cfg, "data") or not cfg.data:
            raise UserError(f"no data folder: name one that {RENDER_SCRIPT} wrote (Hydra: task.data=FOLDER)")
        cls.modalities_of(cfg)
        read_generation_options(cfg.eval_bleu_args)
        if min(cfg.max_source_positions, cfg.max_target_positions) < 2:
            raise UserError("--max-source-positions and --max-target-positions: at least 2")
        for path in utils.split_paths(cfg.path) if cfg.path else ():
            if "://" not in path:
                check_model(path, str(cfg.source_modality))
        folder = DataFolder(cfg.data)
        if not folder.path.is_dir():
            raise UserError(f"{folder.path}: no such folder: render translations into it with {RENDER_SCRIPT}")
        dictionary = folder.dictionary()
        if dictionary is None:
            raise UserError(
                f"{folder.path}: no tokenizer, with which targets are written: make it with {RENDER_SCRIPT}"
            )
        settings = folder.settings(folder.first_split())
        logger.info(f"dictionary: {len(dictionary):,} tokens; source: {cfg.source_modality}")
        return cls(cfg, dictionary, settings, folder.tokenizer())

    @classmethod
    def modalities_of(cls, cfg):
        """``pair`` for a strip and its target, ``text`` for tokens alone.

        Raises:
            UserError: if ``--source-modality`` is not given.
        """
        if cfg.source_modality is None:
            raise UserError(
                "no --source-modality (Hydra: task.source_modality): say what the model reads of a source: "
                f"{', '.join(SOURCE_MODALITIES)}"
            )
        return (PAIR,) if cfg.source_modality == PIXEL else (TEXT,)

    @classmethod
    def scores_of(cls, cfg):
        """Names of the scores that validation logs."""
        return [name for name in ("bleu", "chrf", "cer") if getattr(cfg, f"eval_{name}")]

    @classmethod
    def reported_metrics(cls, cfg, subset):
        """``loss``, ``ppl``, and the scores that are asked for."""
        return ["loss", "ppl", *cls.scores_of(cfg)]

    @property
    def resume_interval_updates(self):
        """Updates between saves that are needed for resuming alone."""
        return self.cfg.resume_interval_updates

    @property
    def uses_patches(self):
        """Whether the model embeds patches."""
        return self.cfg.source_modality == PIXEL

    @functools.cached_property
    def strip_patches(self):
        """The strip width W of a source, where the positions of its target begin; None for sources of tokens."""
        if self.cfg.source_modality == TEXT:
            return None
        return self.cfg.pair_patches or self.trained_settings.get("pair_patches") or self.cfg.max_source_positions

    @property
    def max_source(self):
        """The longest source in patches or tokens."""
        return min(self.cfg.max_source_positions, self.strip_patches or self.cfg.max_source_positions)

    @property
    def source_dictionary(self):
        """Of the characters of sources, as fairseq's commands print them."""
        return self.typed_dictionary

    @property
    def target_dictionary(self):
        """The model's tokens, with a padding of their own."""
        return self.generation_dictionary

    @functools.cached_property
    def renderer(self):
        """Draws sources that are typed, with the settings of the data folder."""
        return TextRenderer(DataFolder(self.cfg.data).renderer_config())

    def build_model(self, cfg, from_checkpoint=False):
        """Build the model (see :class:`RenderedTask`); check that the longest example fits it."""
        model = super().build_model(cfg, from_checkpoint)
        source = self.strip_patches or self.cfg.max_source_positions
        needed = source + self.cfg.max_target_positions
        if needed > model.max_positions():
            width = "" if self.strip_patches is None else f" (strip width {self.strip_patches})"
            raise UserError(
                f"a source and its target may have {needed} positions{width}, the model has {model.max_positions()}: "
                "choose a smaller --max-source-positions or --max-target-positions"
            )
        if self.scores_of(self.cfg) and not from_checkpoint:
            text_sums(self.scores_of(self.cfg), ["a"], ["a"])  # whether what computes them is installed
            self.validation_generator = self._build_validation_generator(model)
        return model

    def _build_validation_generator(self, model):
        options = {"max_len_b": self.cfg.max_target_positions, **read_generation_options(self.cfg.eval_bleu_args)}
        return self.build_generator([model], Namespace(**options))

    def load_dataset(self, split, combine=False, **kwargs):
        """Load *split*; the one to train on is shuffled."""
        dataset = TranslationDataset(
            DataFolder(self.cfg.data),
            split,
            str(self.cfg.source_modality),
            self.dictionary,
            target_pad=self.generation_dictionary.pad(),
            max_source=self.max_source,
            max_target=self.cfg.max_target_positions,
            strip_patches=self.strip_patches,
            shuffle=split == self.cfg.train_subset,
            seed=self.cfg.seed,
        )
        self.datasets[split] = dataset
        logger.info(f"{self.cfg.data}, {split}: {len(dataset):,} translations of {dataset.sizes.mean():.1f} positions")
        sources, targets = dataset.truncated()
        if sources or targets:
            width = "" if self.strip_patches is None else ", --pair-patches"
            logger.warning(
                f"{self.cfg.data}, {split}: {sources:,} sources are longer than {self.max_source} positions "
                f"(--max-source-positions{width}), {targets:,} targets than {self.cfg.max_target_positions} "
                "(--max-target-positions): they are cut"
            )

    def training_order(self):
        """See :class:`~pixelgpt_fairseq.tasks.rendered_task.RenderedTask`."""
        return {"--source-modality": str(self.cfg.source_modality)}

    # Generation

    def build_generator(self, models, args, seq_gen_cls=None, extra_gen_cls_kwargs=None, prefix_allowed_tokens_fn=None):
        """fairseq's generator of *models*, see :mod:`pixelgpt_fairseq.generation.sequence_generation`.

        Raises:
            UserError: for an option of fairseq's that needs an encoder.
        """
        for name in ("print_alignment", "score_reference", "match_source_len"):
            if getattr(args, name, None):
                raise UserError(f"--{name.replace('_', '-')}: this model has no encoder whose output it could look at")
        models = [GenerationModel(model, self.generation_dictionary) for model in models]
        generator = seq_gen_cls or TokenGenerator
        return super().build_generator(models, args, generator, extra_gen_cls_kwargs, prefix_allowed_tokens_fn)

    def get_interactive_tokens_and_lengths(self, lines, encode_fn):
        """Typed sources as ids of :attr:`source_dictionary`, and their lengths."""
        sources = [self.typed_dictionary.encode(encode_fn(line)) for line in lines]
        return sources, [len(source) for source in sources]

    def build_dataset_for_inference(self, src_tokens, src_lengths, constraints=None, **kwargs):
        """The data set of sources that were typed."""
        if constraints is not None:
            raise UserError("--constraints: not for models that share their positions between source and target")
        return TypedSources(src_tokens, self.typed_dictionary.pad())

    def inference_step(self, generator, models, sample, prefix_tokens=None, constraints=None):
        """Generate the targets of a batch of a data set, or of one that was typed."""
        net_input = sample["net_input"]
        device = next(generator.model.parameters()).device
        if "source_text" in sample:
            prompt = prompt_of_samples(sample)
            sources = self.typed_dictionary.encode_all(sample["source_text"])
            net_input["src_tokens"], net_input["src_lengths"] = (part.to(device) for part in sources)
        else:
            prompt = prompt_of_typed(
                self.typed_dictionary.texts(net_input["src_tokens"]),
                self.renderer if self.cfg.source_modality == PIXEL else None,
                self.tokenizer,
                self.max_source,
                self.strip_patches,
                device,
            )
        inputs = {"id": sample.get("id"), "net_input": {**net_input, "prompt": prompt}}
        with torch.no_grad():
            return generator.generate(
                models, inputs, prefix_tokens=prefix_tokens, constraints=constraints, bos_token=self.dictionary.bos()
            )

    def valid_step(self, sample, model, criterion):
        """As every fairseq task; with ``--eval-bleu`` and the like also generates texts, and compares them."""
        loss, sample_size, logged = super().valid_step(sample, model, criterion)
        scores = self.scores_of(self.cfg)
        if not scores:
            return loss, sample_size, logged
        texts, references = self._generate_texts(sample, model) if sample else ((), ())
        device = logged["loss"].device
        sums = {name: value.to(device) for name, value in text_sums(scores, texts, references).items()}
        return loss, sample_size, {**logged, **sums}

    def _generate_texts(self, sample, model):
        if self.validation_generator is None:  # fairseq-validate builds the model as one from a checkpoint
            self.validation_generator = self._build_validation_generator(model)
        found = self.inference_step(self.validation_generator, [model], sample)
        texts = [self.generation_dictionary.string(hypotheses[0]["tokens"]) for hypotheses in found]
        references = [self.generation_dictionary.string(target) for target in sample["target"]]
        if self.cfg.eval_bleu_print_samples:
            logger.info(f"example hypothesis: {texts[0]}")
            logger.info(f"example reference: {references[0]}")
        return texts, references

    def reduce_metrics(self, logging_outputs, criterion):
        """Log loss and speed as every task, and the scores of generated texts."""
        super().reduce_metrics(logging_outputs, criterion)
        scores = self.scores_of(self.cfg)
        if scores and not criterion.training:
            log_text_scores(scores, logging_outputs)


def check_model(path, source_modality):
    """Check that the model of a checkpoint reads strips where they are sources, and writes tokens.

    fairseq-generate itself would fill what is missing with random values, or show frames where the file is absent. A
    model that was fine-tuned on sources of the other modality gets a warning.

    Raises:
        UserError: if it does not, or the file is none.
    """
    state = read_state(path)
    weights = tuple(state["model"])
    needed = {"patches": "model.embed_patches.", "tokens": "model.embed_tokens."}
    for what, prefix in needed.items():
        if (what == "tokens" or source_modality == PIXEL) and not any(name.startswith(prefix) for name in weights):
            raise UserError(f"{path}: its model reads no {what}: choose another --source-modality or checkpoint")
    if "score.weight" in weights:
        raise UserError(f"{path}: a classifier predicts no patch and no token that follows: take a language model")
    trained = (state["cfg"].get("task") or {}).get("source_modality")
    if trained not in (None, source_modality):
        logger.warning(f"{path}: fine-tuned with --source-modality {trained}, and given {source_modality}")


def read_generation_options(text):
    """The options of ``--eval-bleu-args`` as a dictionary.

    Raises:
        UserError: if they are no JSON object.
    """
    try:
        options = json.loads(text or "{}")
    except ValueError as error:
        raise UserError(f"--eval-bleu-args {text}: not JSON: {error}") from None
    if not isinstance(options, dict):
        raise UserError(f"--eval-bleu-args {text}: not a JSON object, such as '{{\"beam\": 4}}'")
    return options
