"""Labeled examples, in batches of similar length."""

import numpy as np
import torch
from fairseq.data import FairseqDataset

from pixelgpt_fairseq.data.batches import collate
from pixelgpt_fairseq.data.by_length import BatchedByLength
from pixelgpt_fairseq.data.streams import PIXEL, TEXT
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.rendering.renderer import SEPARATOR


class ClassificationDataset(BatchedByLength, FairseqDataset):
    """Examples: ``{"id": int, "modality": str, "patches": uint8 [n, 256], "tokens": int64 [m], "label": int | float}``.

    Without patches for the modality text, without tokens for pixel, and without a label if the split has none.

    Args:
        modality: ``text``, ``pixel`` or ``pair``.
        strips, texts: the streams of a split (see :mod:`pixelgpt_fairseq.data.data_folder`) as IndexedRows;
            those that the modality asks for.
        labels: int64 (classes) or float64 (scores) ``[n]``; None if there are none.
        max_patches: the longest strip, its separator included. A longer one is truncated as if it had been rendered
            with this limit: its last patch becomes the separator.
        max_tokens: the longest text; a longer one is truncated at the ends of its sentences, the longer sentence first.
        dictionary: TokenDictionary, for text and pairs.
        strip_patches: the width W of a pair's strip, at which the positions of its text begin.
        shuffle, seed: see :class:`~pixelgpt_fairseq.data.by_length.BatchedByLength`.
    """

    def __init__(
        self,
        modality,
        strips=None,
        texts=None,
        labels=None,
        max_patches=None,
        max_tokens=None,
        dictionary=None,
        strip_patches=None,
        shuffle=False,
        seed=1,
    ):
        super().__init__(shuffle, seed)
        self.modality = modality
        self.strips = strips if modality != TEXT else None
        self.texts = texts if modality != PIXEL else None
        self.labels = labels
        self.max_patches, self.max_tokens, self.strip_patches = max_patches, max_tokens, strip_patches
        self.bos, self.pad = (dictionary.bos(), dictionary.pad()) if dictionary else (None, None)
        parts = [(self.strips, max_patches), (self.texts, max_tokens)]
        self.sizes = sum(np.minimum(part.sizes, limit or part.sizes) for part, limit in parts if part is not None)

    @classmethod
    def from_folder(cls, folder, split, modality, **options):
        """Open a split of a :class:`~pixelgpt_fairseq.data.data_folder.DataFolder`.

        Raises:
            UserError: if it was rendered without tokens that the modality needs, or its files do not belong together.
        """
        manifest = folder.manifest(split)
        if modality != PIXEL and not folder.has(split, TEXT):
            raise UserError(
                f"{folder.path}: split {split} has no tokens, which --modality {modality} reads: render it again with "
                "--tokenizer"
            )
        strips = folder.open(split, PIXEL, manifest["patch_values"]) if modality != TEXT else None
        texts = folder.open(split, TEXT) if modality != PIXEL else None
        path = folder.labels_path(split)
        labels = _load_labels(path)
        for part in (strips, texts):
            if part is not None and len(part) != len(labels):
                raise UserError(f"{part.prefix}.bin and {path} do not belong together: render this split again")
        return cls(modality, strips, texts, labels if manifest["labeled"] else None, **options)

    def __len__(self):
        return len(self.sizes)

    def __getitem__(self, i):
        example = {"id": int(i), "modality": self.modality}
        if self.strips is not None:
            example["patches"] = truncate_strip(self.strips[i], self.max_patches)
        if self.texts is not None:
            example["tokens"] = truncate_sentences(self.texts[i], self.max_tokens, self.bos)
        if self.labels is not None:
            example["label"] = self.labels[i].item()
        return example

    def collater(self, samples):
        """A batch, see :func:`~pixelgpt_fairseq.data.batches.collate`; ``examples`` is the size of the data set."""
        batch = collate(samples, self.pad, self.strip_patches)
        return {**batch, "examples": len(self)} if batch else {}


def truncate_strip(patches, max_patches):
    """Truncate patches ``[n, values]`` to *max_patches*; the last remaining patch becomes the separator."""
    if max_patches is None or len(patches) <= max_patches:
        return patches
    patches = patches[:max_patches].clone()
    patches[-1] = SEPARATOR
    return patches


def truncate_sentences(tokens, max_tokens, bos):
    """Cut ``<s> A`` or ``<s> A <s> B`` to *max_tokens*: the longer sentence loses its end first, then both alike."""
    excess = 0 if max_tokens is None else len(tokens) - max_tokens
    if excess <= 0:
        return tokens
    starts = torch.nonzero(tokens == bos).flatten().tolist()
    if len(starts) < 2:
        return tokens[:max_tokens]
    first, second = tokens[: starts[1]], tokens[starts[1] :]
    shorter = min(len(first), len(second), max_tokens // 2)
    if len(first) <= len(second):
        return torch.cat([first[:shorter], second[: max_tokens - shorter]])
    return torch.cat([first[: max_tokens - shorter], second[:shorter]])


def _load_labels(path):
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        raise UserError(f"{path}: absent or damaged: render this split again") from None
