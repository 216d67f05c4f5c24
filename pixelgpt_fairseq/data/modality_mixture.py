"""Mixes the streams of pretraining: every batch has one modality, drawn by weight."""

import functools

import numpy as np
from fairseq.data import ConcatDataset

from pixelgpt_fairseq.data.batches import collate
from pixelgpt_fairseq.data.lazy_batches import LazyBatches, PackedBatches
from pixelgpt_fairseq.data.sizes import SizesMixin


class ModalityMixture(SizesMixin, ConcatDataset):
    """The streams of a pretraining run, one after the other; every batch is of one of them.

    Args:
        streams: modality to dataset: ``pixel`` and ``text`` blocks, ``pair``; or a list of (modality, dataset), in
            which a modality may come several times.
        pad: token id of padding.
        strip_patches: the width W of a pair's strip, in patches, at which the positions of its text begin.
    """

    def __init__(self, streams, pad=None, strip_patches=None):
        streams = list(streams.items()) if isinstance(streams, dict) else streams
        super().__init__([stream for _, stream in streams])
        self.modalities = [modality for modality, _ in streams]
        self.pad, self.strip_patches = pad, strip_patches

    @functools.cached_property
    def sizes(self):
        """int ``[n]``: positions (patches and tokens) of each example, in the smallest type that holds them."""
        return np.concatenate([stream.sizes for stream in self.datasets])

    def __getitem__(self, i):
        stream, _ = self._get_dataset_and_sample_index(i)
        return {**super().__getitem__(i), "id": i, "modality": self.modalities[stream]}

    def collater(self, samples):
        """A batch, see :func:`~pixelgpt_fairseq.data.batches.collate`."""
        return collate(samples, self.pad, self.strip_patches)

    def stream_indices(self):
        """int64 ``[n_m]`` for each modality: its examples."""
        ends = self.cumulative_sizes
        return [np.arange(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True)]

    def describe_update(self, batches):
        """Describe an update to the batches that it consists of.

        Args:
            batches: lists of indices: all batches of the update, of all workers.

        Returns:
            dict: ``batches``, their number, and ``targets``: the numbers of targets of each loss (``patch``,
            ``token``) in all of them together.

        Raises:
            AssertionError: if they are of several modalities.
        """
        indices = np.concatenate(list(batches))
        streams = np.unique(np.searchsorted(self.cumulative_sizes, indices, side="right"))
        if len(streams) > 1:
            names = ", ".join(self.modalities[stream] for stream in streams)
            raise AssertionError(f"an update of several modalities ({names}): each loss would have a wrong denominator")
        (stream,) = streams
        local = indices - (self.cumulative_sizes[stream - 1] if stream else 0)
        return {"batches": len(batches), "targets": self.datasets[stream].num_targets(local)}


class MixtureOrder:
    """The batches of every epoch of training, in order.

    Each stream is an endless sequence of batches: repeated passes over its examples, each newly shuffled. A batch has
    examples of similar length, and batches follow each other in random order. Each epoch continues the sequences where
    the previous one stopped, so every example appears once before any appears again.

    Batches come in groups: the batches of one update on all workers. A group has one modality, and so has every update.
    An epoch has about as many groups as one pass over all streams, divided among the streams by weight.

    Args:
        mixture: ModalityMixture.
        weights: float for each modality.
        make_batches: function from ordered indices of one stream to its batches (lists of indices).
        seed: determines the order, together with the epoch and the group sizes.
    """

    def __init__(self, mixture, weights, make_batches, seed):
        self.weights, self.seed = np.asarray(weights, dtype=np.float64), seed
        ends = mixture.cumulative_sizes
        self.streams = [
            _EndlessBatches(start, mixture.sizes[start:end], make_batches, (seed, stream))
            for stream, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True))
        ]

    def batches(self, epoch, group_size, earlier_group_sizes=()):
        """The batches of an epoch.

        Args:
            epoch: counted from 1.
            group_size: number of workers times ``--update-freq``.
            earlier_group_sizes: the same of all earlier epochs over these data.

        Returns:
            LazyBatches: index arrays. Rank r of n takes every n-th from the r-th on, as fairseq's ShardedIterator does.
        """
        shares = self._shares(group_size)
        starts = sum((self._shares(size) * size for size in earlier_group_sizes), start=np.zeros_like(shares))
        taken = [
            stream.take(start, share * group_size)
            for stream, start, share in zip(self.streams, starts, shares, strict=True)
        ]
        random = np.random.default_rng([self.seed, epoch])
        streams = random.permutation(np.repeat(np.arange(len(shares), dtype=np.uint8), shares))
        nth = np.empty(len(streams), dtype=np.int32)  # which group of its stream each group is
        for stream, share in enumerate(shares):
            nth[streams == stream] = np.arange(share)

        def batch(number):
            group, member = divmod(number, group_size)
            return taken[streams[group]][int(nth[group]) * group_size + member]

        return LazyBatches(batch, range(len(streams) * group_size))

    def _shares(self, group_size):
        """Groups of each stream in an epoch: int64 ``[streams]``."""
        total = sum(len(stream) for stream in self.streams) / group_size
        return np.maximum(1, np.rint(total * self.weights / self.weights.sum())).astype(np.int64)


class _EndlessBatches:
    """The batches of a stream, pass after pass over its examples.

    ``len`` is the number of batches in the first pass. Where ``--max-tokens`` makes the batches, it differs a little
    from pass to pass.

    Args:
        first: index of the stream's first example.
        sizes: int ``[n]``: positions of its examples.
        make_batches, seed: see MixtureOrder.
    """

    def __init__(self, first, sizes, make_batches, seed):
        self.first, self.sizes, self.make_batches, self.seed = first, sizes, make_batches, seed
        self._ends = []  # of the passes made so far: the number of batches up to their ends
        self._number, self._batches = None, None  # the pass made last

    def __len__(self):
        return len(self._pass(0)) if not self._ends else self._ends[0]

    def take(self, start, number):
        """The batches from the *start*-th on: PackedBatches, *number* of them."""
        taken, left = [], number
        passed = int(np.searchsorted(self._ends, start, side="right"))
        while left > 0:
            batches = self._pass(passed)
            first = max(0, start - (self._ends[passed] - len(batches)))
            part = batches.part(first, first + left)
            if len(part):
                taken.append(part)
            left -= len(part)
            passed += 1
        return PackedBatches.joined(taken)

    def _pass(self, number):
        if number != self._number:
            random = np.random.default_rng([*self.seed, number])
            last = self.first + len(self.sizes)
            shuffled = random.permutation(np.arange(self.first, last, dtype=np.min_scalar_type(last)))
            lengths = self.sizes[shuffled - shuffled.dtype.type(self.first)]
            # Sorted up or down at random, so that the incomplete batch is not always the one of the longest examples.
            if random.choice([-1, 1]) < 0:
                lengths = lengths.max() - lengths
            made = self.make_batches(shuffled[np.argsort(lengths, kind="stable")].astype(np.int64))
            self._number, self._batches = number, PackedBatches.shuffled(made, random, shuffled.dtype)
            if number == len(self._ends):
                self._ends.append((self._ends[-1] if self._ends else 0) + len(self._batches))
        return self._batches
