"""A trained model with what it needs to read text: batches, hidden states, embeddings, classes, next predictions."""

import functools
import logging
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import torch
from fairseq import utils
from fairseq.tasks import TASK_REGISTRY

from pixelgpt_fairseq.data.batches import collate
from pixelgpt_fairseq.data.classification import truncate_sentences, truncate_strip
from pixelgpt_fairseq.data.streams import MODALITIES, PAIR, PIXEL, TEXT
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.evaluation.pictures import predict_patches, predict_tokens
from pixelgpt_fairseq.inference.generated_strip import generate_strips
from pixelgpt_fairseq.inference.generated_text import draw_source, generate_texts
from pixelgpt_fairseq.preprocessing.example_split import encode_texts
from pixelgpt_fairseq.sources.examples import SentenceTask
from pixelgpt_fairseq.tasks.rendered_classification import MAX_POSITIONS, position_limits

logger = logging.getLogger(__name__)

POOLINGS = ("mean", "last")


class Classification(NamedTuple):
    """What a fine-tuned model answers about a sentence or a pair of sentences."""

    label: str | None  # the most probable class; None for regression
    probabilities: dict[str, float]  # class -> probability, in the order of the task's labels; empty for regression
    score: float | None  # of regression; None for classes


class LoadedModel:
    """What :func:`pixelgpt_fairseq.load` gives.

    A *text* is a string, or a tuple of two strings that are read together as a pair of sentences.

    Attributes:
        path: where the model was read.
        model: PixelGPTModel in eval mode.
        tokenizer: Tokenizer; None if the model reads no tokens, or no tokenizer lies beside it.
        modality: what the model was fine-tuned on: ``text``, ``pixel`` or ``pair``; None for a language model.
        task_options: options of the fairseq task that it was trained with, by name.
        task: SentenceTask that it was fine-tuned on; None for a language model, or where that is not recorded.
    """

    def __init__(self, checkpoint, device, dtype):
        self._checkpoint = checkpoint
        self.path, self.tokenizer = checkpoint.path, checkpoint.tokenizer
        self.model = checkpoint.model.to(device=device, dtype=dtype)
        self.device = device
        self.task_options = checkpoint.task_options
        self.modality = None if self.model.num_labels is None else str(self.task_options.get("modality") or PIXEL)
        recorded = self.model.data_settings.get("classification")
        self.task = SentenceTask.from_dict(recorded) if recorded and self.model.num_labels is not None else None

    def __repr__(self):
        reads = [TEXT] * (self.model.vocab_size is not None) + [PIXEL] * self.model.uses_patches
        kind = f"language model of {' and '.join(reads)}"
        if self.modality:
            kind = f"classifier of {self.task.name if self.task else 'an unknown task'}, reads {self.modality}"
        parameters = sum(parameter.numel() for parameter in self.model.parameters())
        return f"LoadedModel({self.path}: {kind}; {parameters:,} parameters on {self.device})"

    @functools.cached_property
    def renderer(self):
        """TextRenderer with the settings of the training data.

        Raises:
            UserError: if a font cannot be found.
        """
        return self._checkpoint.renderer()

    def batch(self, texts, modality=None):
        """Texts as one batch: the arguments of ``model.forward``, on the model's device.

        Args:
            texts: list of texts. What is longer than the model was trained on is cut as in training.
            modality: ``text``, ``pixel`` or ``pair`` (strip and tokens of the same text); may be left out where the
                model was fine-tuned on one or reads only one.

        Raises:
            UserError: if the model does not read the modality.
        """
        modality = self._chosen(modality)
        samples = [self._sample(text, modality) for text in texts]
        if not samples:
            raise UserError("no texts: a batch has at least one")
        return self._collated(samples, modality)

    @torch.inference_mode()
    def hidden_states(self, texts, modality=None):
        """The last layer's hidden states of one batch.

        Args:
            texts, modality: see :meth:`batch`.

        Returns:
            (states, in_use): ``[B, L, H]`` and bool ``[B, L]``, where L are the patches, the tokens, or the patches and
            then the tokens of the longest text; positions that are not in use are zeros.
        """
        return self._hidden_states(self.batch(texts, modality))

    @torch.inference_mode()
    def encode(self, texts, modality=None, pooling="mean", batch_size=32):
        """An embedding of each text, from the last layer's hidden states.

        Args:
            texts, modality: see :meth:`batch`; any number of texts.
            pooling: ``mean`` of a text's positions, or its ``last`` one, which alone has seen all of it.
            batch_size: texts at a time; those of like lengths go together.

        Returns:
            float32 ``[len(texts), H]`` on the CPU, in the order of *texts*.

        Raises:
            UserError: see :meth:`batch`.
        """
        if pooling not in POOLINGS:
            raise UserError(f"pooling {pooling!r}: one of {', '.join(POOLINGS)}")
        embeddings = torch.empty(len(texts), self.model.config.hidden_size)
        for indices, batch in self._batches(texts, self._chosen(modality), batch_size):
            states, in_use = self._hidden_states(batch)
            states = states.float()
            if pooling == "mean":
                pooled = (states * in_use[:, :, None]).sum(1) / in_use.sum(1, keepdim=True)
            else:
                places = torch.arange(in_use.shape[1], device=in_use.device)
                pooled = states[torch.arange(len(states)), (in_use * places).argmax(1)]
            embeddings[indices] = pooled.cpu()
        return embeddings

    @torch.inference_mode()
    def classify(self, first, second=None, batch_size=32):
        """What a fine-tuned model answers.

        Args:
            first: a sentence, or a list of sentences.
            second: the other sentence of a task on two, or a list of as many; both are joined as in training.
            batch_size: examples at a time, for lists.

        Returns:
            Classification, or a list of them for lists.

        Raises:
            UserError: if the model is none that was fine-tuned, or its task is about another number of sentences.
        """
        if self.modality is None:
            raise UserError(
                f"{self.path}: a language model: fine-tune it on a task, or ask for hidden_states or encode"
            )
        self._check_sentences(second)
        if isinstance(first, str):
            return self.classify([first], None if second is None else [second])[0]
        if second is not None and len(first) != len(second):
            raise UserError(f"{len(first)} first sentences and {len(second)} second ones: as many of both")
        texts = list(first) if second is None else list(zip(first, second, strict=True))
        logits = torch.empty(len(texts), self.model.num_labels)
        for indices, batch in self._batches(texts, self.modality, batch_size):
            logits[indices] = self.model(**batch).class_logits.float().cpu()
        if self.model.num_labels == 1:
            return [Classification(None, {}, score) for score in logits[:, 0].tolist()]
        answers = []
        for row in logits.softmax(-1).tolist():
            probabilities = dict(zip(self.labels, row, strict=True))
            answers.append(Classification(max(probabilities, key=probabilities.get), probabilities, None))
        return answers

    @property
    def labels(self):
        """The words of a classifier's classes in the order of its outputs; numbers where no words are recorded."""
        words = self.task.labels if self.task else self.model.data_settings.get("class_names")
        return tuple(words or map(str, range(self.model.num_labels or 0)))

    def predict_patches(self, text):
        """The patches of a text, and what the model predicts for each but the first.

        Returns:
            (patches, predictions): uint8 ``[n, 256]`` (rgb ``[n, 768]``) and float ``[n - 1, 256]``, see
            :func:`~pixelgpt_fairseq.evaluation.pictures.predict_patches`.

        Raises:
            UserError: if the model predicts no patches.
        """
        patches = torch.from_numpy(self.renderer(text).patches()).to(self.device)
        return patches.cpu(), predict_patches(self.model, patches, self._checkpoint.patch_loss).cpu()

    def predict_tokens(self, text):
        """What the model predicts for each token of a text: a list of TokenPrediction.

        Raises:
            UserError: if the model predicts no tokens, or has no tokenizer.
        """
        return predict_tokens(self.model, self._needed_tokenizer(), text)

    def draw_source(self, text):
        """The strip of a text, for :meth:`generate_text` to read: a RenderedText.

        Raises:
            UserError: if the model reads no patches, or the text is blank or longer than the model's strips.
        """
        return draw_source(self, text)

    def generate_text(self, source, max_tokens=None, modality=None, beam=1, **options):
        """Write what a picture of text says, a translation, or how a text goes on.

        Args:
            source: a string, which is drawn for models that read patches, or a strip (what ``renderer`` returns, pixels
                or patches); or a list of them, which make one batch.
            max_tokens, modality, beam, options: see :func:`~pixelgpt_fairseq.inference.generated_text.generate_texts`.

        Returns:
            GeneratedText (``text``, ``ids``, ``scores``), or a list of them for a list.

        Raises:
            UserError: if the model writes no text, or the source is empty or does not fit.
        """
        if isinstance(source, list):
            return generate_texts(self, source, max_tokens, modality, beam, **options)
        return generate_texts(self, [source], max_tokens, modality, beam, **options)[0]

    def generate_patches(self, prompt, max_patches=None, shift=False, temperature=0.0, alphabet=None, words=None):
        """Draw how a text goes on, patch by patch, and read what was drawn.

        Args:
            prompt: a string, or a list of them, which make one batch.
            max_patches, shift, temperature, alphabet, words: see
                :func:`~pixelgpt_fairseq.inference.generated_strip.generate_strips`.

        Returns:
            GeneratedStrip (``text``, ``strip``, ``scores``, ...), or a list of them for a list.

        Raises:
            UserError: if the model generates no patches, or the prompt is empty or does not fit.
        """
        if isinstance(prompt, list):
            return generate_strips(self, prompt, max_patches, shift, temperature, alphabet, words)
        return generate_strips(self, [prompt], max_patches, shift, temperature, alphabet, words)[0]

    @property
    def strip_width(self):
        """The strip width W of a pair, at which the positions of its text begin."""
        return self._limits(PAIR)[2]

    def _chosen(self, modality):
        reads = {TEXT: self.model.vocab_size is not None, PIXEL: self.model.uses_patches}
        reads[PAIR] = all(reads.values())
        if modality is None:
            modality = self.modality
            if modality is None:
                possible = [name for name in MODALITIES if reads[name]]
                if len(possible) > 1:
                    raise UserError(f"modality: say what the model is to read of a text: {', '.join(possible)}")
                (modality,) = possible
        if modality not in MODALITIES:
            raise UserError(f"modality {modality!r}: one of {', '.join(MODALITIES)}")
        if not reads[modality]:
            raise UserError(f"modality {modality}: {self!r} does not read it")
        if self.modality not in (None, modality):
            logger.warning(f"{self.path}: fine-tuned on modality {self.modality}, and given {modality}")
        return modality

    def _check_sentences(self, second):
        expected = None if self.task is None else self.task.sentences
        given = 1 if second is None else 2
        if expected is not None and expected != given:
            call = "classify(first, second)" if expected == 2 else "classify(sentence)"
            raise UserError(f"task {self.task.name} is about {'two sentences' if expected == 2 else 'one'}: {call}")

    def _needed_tokenizer(self):
        if self.tokenizer is None:
            raise UserError(f"{self.path}: no tokenizer beside the model: it can be given no text as tokens")
        return self.tokenizer

    @functools.lru_cache(maxsize=len(MODALITIES))  # noqa: B019 (as long as the model itself)
    def _limits(self, modality):
        """(most patches, most tokens, strip width of a pair) of a text."""
        options, width = self.task_options, self.model.data_settings.get("pair_patches")
        if self.modality is not None:
            registered = TASK_REGISTRY.get(options.get("_name"))
            names = ("max_positions", "pair_patches", "pair_tokens")
            cfg = SimpleNamespace(modality=modality, **{name: options.get(name) for name in names})
            return position_limits(cfg, getattr(registered, "default_positions", MAX_POSITIONS), width)
        positions = self.model.max_positions()
        if modality != PAIR:
            return positions, positions, None
        width = width or positions // 2
        return width, positions - width, width

    def _sample(self, text, modality):
        parts = (text,) if isinstance(text, str) else tuple(text)
        if len(parts) not in (1, 2) or not all(isinstance(part, str) for part in parts):
            raise UserError(f"{text!r}: a text is a string, or a tuple of two strings")
        max_patches, max_tokens, _ = self._limits(modality)
        sample = {"id": 0, "modality": modality}
        if modality != TEXT:
            patches = torch.from_numpy(self.renderer(parts if len(parts) > 1 else parts[0]).patches())
            sample["patches"] = truncate_strip(patches, max_patches)
        if modality != PIXEL:
            tokenizer = self._needed_tokenizer()
            tokens = torch.from_numpy(encode_texts(parts, tokenizer))
            sample["tokens"] = truncate_sentences(tokens, max_tokens, tokenizer.bos)
        return sample

    def _collated(self, samples, modality):
        pad = None if self.tokenizer is None else self.tokenizer.eos
        net_input = collate(samples, pad, self._limits(modality)[2])["net_input"]
        return utils.apply_to_sample(lambda tensor: tensor.to(self.device), net_input)

    def _batches(self, texts, modality, batch_size):
        """Yield (indices, batch) for texts of like lengths, the shortest first."""
        samples = [self._sample(text, modality) for text in texts]
        lengths = [sum(len(sample[part]) for part in ("patches", "tokens") if part in sample) for sample in samples]
        order = np.argsort(lengths, kind="stable")
        for start in range(0, len(order), batch_size):
            indices = order[start : start + batch_size]
            yield torch.from_numpy(indices), self._collated([samples[i] for i in indices], modality)

    def _hidden_states(self, batch):
        states = self.model(**batch, return_hidden_states=True).hidden_states
        masks = []
        for part, mask in (("patches", "patch_mask"), ("tokens", "token_mask")):
            if part in batch:
                everywhere = torch.ones(batch[part].shape[:2], dtype=torch.bool, device=self.device)
                masks.append(batch.get(mask, everywhere))
        return states, torch.cat(masks, dim=1)
