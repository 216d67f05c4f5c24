"""Which stream the next batch comes from: batches of one modality, drawn by weight."""

import itertools

import numpy as np
from fairseq.data import ConcatDataset

from pixelgpt_fairseq.data.batches import collate


class ModalityMixture(ConcatDataset):
    """The streams of a pretraining run, one after the other; every batch is of one of them.

    Args:
        streams: modality to dataset: ``pixel`` and ``text`` blocks, ``pair``.
        pad: token id of padding.
        strip_patches: the width W of a pair's strip, in patches, at which the positions of its text begin.
    """

    def __init__(self, streams, pad=None, strip_patches=None):
        super().__init__(list(streams.values()))
        self.modalities = list(streams)
        self.pad, self.strip_patches = pad, strip_patches
        self._sizes = np.concatenate([stream.sizes for stream in self.datasets])

    @property
    def sizes(self):
        """int ``[n]``: positions (patches and tokens) of each example."""
        return self._sizes

    def __getitem__(self, i):
        stream, _ = self._get_dataset_and_sample_index(i)
        return {**super().__getitem__(i), "id": i, "modality": self.modalities[stream]}

    def num_tokens(self, i):
        """Positions of example *i*."""
        return self._sizes[i]

    def num_tokens_vec(self, indices):
        """Positions of the examples *indices*."""
        return self._sizes[indices]

    def size(self, i):
        """Positions of example *i*."""
        return self._sizes[i]

    def collater(self, samples):
        """A batch, see :func:`~pixelgpt_fairseq.data.batches.collate`."""
        return collate(samples, self.pad, self.strip_patches)

    def stream_indices(self):
        """int64 ``[n_m]`` for each modality: its examples."""
        ends = self.cumulative_sizes
        return [np.arange(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def mixed_batches(mixture, weights, make_batches, group_size, seed, epoch):
    """The batches of an epoch of training, in order.

    Batches come in groups of *group_size*, the batches of one update on all workers; a group is of one modality, so
    that every update is. An epoch has as many groups as all streams together. Each stream gives its share by weight,
    starting over, reshuffled, as often as needed.

    Args:
        mixture: ModalityMixture.
        weights: float for each modality.
        make_batches: function from ordered indices of one stream to its batches (lists of indices).
        group_size: number of workers times ``--update-freq``.
        seed, epoch: the order is a function of these two.

    Returns:
        list of lists of indices. Rank r of n takes every n-th from the r-th on, as fairseq's ShardedIterator does.
    """
    weights = np.asarray(weights, dtype=np.float64)
    passes = [
        _passes(mixture, indices, make_batches, group_size, (seed, epoch, stream))
        for stream, indices in enumerate(mixture.stream_indices())
    ]
    first_passes = [next(groups) for groups in passes]
    total = sum(len(groups) for groups in first_passes)
    shares = np.maximum(1, np.round(total * weights / weights.sum())).astype(int)
    taken = []
    for first_pass, more, share in zip(first_passes, passes, shares, strict=True):
        groups = itertools.chain(first_pass, itertools.chain.from_iterable(more))
        taken.append(itertools.islice(groups, share))
    order = np.random.default_rng([seed, epoch]).permutation(np.repeat(np.arange(len(shares)), shares))
    return [batch for stream in order for batch in next(taken[stream])]


def _passes(mixture, indices, make_batches, group_size, seed):
    """Without end: all examples of a stream once, in groups of batches of like lengths, in random order."""
    for number in itertools.count():
        random = np.random.default_rng([*seed, number])
        shuffled = random.permutation(indices)
        # Up or down at random: what is left over at the end is not always the longest.
        lengths = mixture.sizes[shuffled] * random.choice([-1, 1])
        batches = list(make_batches(shuffled[np.argsort(lengths, kind="stable")]))
        # A last batch or group that is not full is left out, but an only one is not: it is filled up by repetition.
        if len(batches) > 1 and len(batches[-1]) < len(batches[-2]):
            batches.pop()
        full = max(len(batches) // group_size, 1)
        batches = list(itertools.islice(itertools.cycle(batches), full * group_size))
        groups = [batches[i : i + group_size] for i in range(0, len(batches), group_size)]
        yield [groups[i] for i in random.permutation(full)]
