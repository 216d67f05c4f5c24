"""The examples of several languages as one data set."""

import functools

import numpy as np
import torch
from fairseq.data import ConcatDataset

from pixelgpt_fairseq.data.by_length import BatchedByLength


class LanguagesDataset(BatchedByLength, ConcatDataset):
    """The examples of one language after the other; batches mix languages, and tell which example is of which.

    Args:
        parts: language -> :class:`~pixelgpt_fairseq.data.classification.ClassificationDataset`.
        languages: names of all possible languages; the language of an example is an index into them.
        shuffle, seed: see :class:`~pixelgpt_fairseq.data.by_length.BatchedByLength`.
        sampling_temperature: T. An epoch has as many examples as the data set; the share of a language is proportional
            to its number of examples to the power 1 / T. With 1, every example appears once.
    """

    def __init__(self, parts, languages, shuffle=False, seed=1, sampling_temperature=1.0):
        ConcatDataset.__init__(self, list(parts.values()))
        BatchedByLength.__init__(self, shuffle, seed)
        self.names = tuple(parts)
        self.numbers = [languages.index(name) for name in parts]
        self.sampling_temperature = sampling_temperature

    def __getitem__(self, i):
        part, _ = self._get_dataset_and_sample_index(i)
        return {**super().__getitem__(i), "id": int(i), "language": self.numbers[part]}

    @functools.cached_property
    def sizes(self):
        """Positions of every example: int ``[n]``."""
        return np.concatenate([part.sizes for part in self.datasets])

    @functools.cached_property
    def labels(self):
        """The number of every example's class: int64 ``[n]``; None if any language has no labels."""
        labels = [part.labels for part in self.datasets]
        return None if any(part is None for part in labels) else np.concatenate(labels)

    def collater(self, samples):
        """A batch as for one language, with ``languages``: int64 ``[B]``."""
        batch = super().collater(samples)
        if not batch:
            return {}
        languages = torch.tensor([sample["language"] for sample in samples])
        return {**batch, "examples": len(self), "languages": languages}

    def draw(self, random):
        """The examples of an epoch: every language fills its share by whole passes and a random rest."""
        if self.sampling_temperature == 1:
            return np.arange(len(self))
        drawn, start = [], 0
        for size, share in zip(self.real_sizes, epoch_shares(self.real_sizes, self.sampling_temperature), strict=True):
            rest = random.choice(size, share % size, replace=False)
            drawn.append(start + np.concatenate([np.tile(np.arange(size), share // size), rest]))
            start += size
        return np.concatenate(drawn)


def epoch_shares(sizes, temperature):
    """How many examples of each language an epoch takes: int64, with the sum of *sizes*."""
    weights = np.asarray(sizes, dtype=np.float64) ** (1 / temperature)
    ends = np.cumsum(weights) / weights.sum() * np.sum(sizes)
    return np.diff(np.rint(ends).astype(np.int64), prepend=0)
