"""Mixes the streams of pretraining: every batch has one modality, drawn by weight."""

import functools

import numpy as np
from fairseq.data import ConcatDataset

from pixelgpt_fairseq.data.batches import collate
from pixelgpt_fairseq.data.lazy_batches import LazyBatches
from pixelgpt_fairseq.data.shuffling import EndlessBatches, RecentSegments, Segments
from pixelgpt_fairseq.data.sizes import SizesMixin


class ModalityMixture(SizesMixin, ConcatDataset):
    """The streams of a pretraining run, one after the other; every batch is of one of them.

    Args:
        streams: modality to dataset: ``pixel`` and ``text`` blocks, ``pair``; or a list of (modality, dataset), in
            which a modality may come several times.
        pad: token id of padding.
        strip_patches: the width W of a pair's strip, in patches, at which the positions of its text begin.
        shuffle_buffer: see :class:`~pixelgpt_fairseq.data.shuffling.Segments`.

    Attributes:
        segments: Segments of each stream.
    """

    def __init__(self, streams, pad=None, strip_patches=None, shuffle_buffer=None):
        streams = list(streams.items()) if isinstance(streams, dict) else streams
        super().__init__([stream for _, stream in streams])
        self.modalities = [modality for modality, _ in streams]
        self.pad, self.strip_patches = pad, strip_patches
        self.segments = [Segments(stream.sizes, shuffle_buffer) for stream in self.datasets]
        self.prefetch_for(1)

    def prefetch_for(self, workers):
        """Prepare for reading as one of so many workers of training."""
        self._recent = [RecentSegments(segments, workers) for segments in self.segments]

    @functools.cached_property
    def sizes(self):
        """int ``[n]``: positions (patches and tokens) of each example, in the smallest type that holds them."""
        return np.concatenate([stream.sizes for stream in self.datasets])

    @property
    def supports_prefetch(self):
        """False: fairseq would ask for all examples of an epoch at its beginning."""
        return False

    def size_parts(self):
        """int ``[n]`` for each stream: positions of its examples."""
        return [stream.sizes for stream in self.datasets]

    def __getitem__(self, i):
        stream, number = self._get_dataset_and_sample_index(i)
        dataset = self.datasets[stream]
        segment = self._recent[stream].entered(number)
        if segment is not None and dataset.supports_prefetch:
            dataset.prefetch(segment)
        return {**dataset[number], "id": i, "modality": self.modalities[stream]}

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

    Each stream is an endless sequence of batches: repeated passes over its examples, each newly shuffled (see
    :mod:`~pixelgpt_fairseq.data.shuffling`). A batch has examples of similar length, and batches follow each other in
    random order. Each epoch continues the sequences where the previous one stopped, so every example appears once
    before any appears again.

    Batches come in groups: the batches of one update on all workers. A group has one modality, and so has every update.
    An epoch has about as many groups as one pass over all streams, divided among the streams by weight.

    Args:
        mixture: ModalityMixture.
        weights: float for each of its streams.
        limits: ``max_tokens`` and ``max_sentences`` of a batch.
        seed: determines the order, together with the epoch and the group sizes.
    """

    def __init__(self, mixture, weights, limits, seed):
        self.weights, self.seed = np.asarray(weights, dtype=np.float64), seed
        firsts = [0, *mixture.cumulative_sizes[:-1]]
        self.streams = [
            EndlessBatches(first, part.sizes, segments, limits, (seed, stream))
            for stream, (first, part, segments) in enumerate(
                zip(firsts, mixture.datasets, mixture.segments, strict=True)
            )
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
        random = np.random.default_rng([self.seed, epoch])
        streams = random.permutation(np.repeat(np.arange(len(shares), dtype=np.uint8), shares))
        nth = np.empty(len(streams), dtype=np.int32)  # which group of its stream each group is
        for stream, share in enumerate(shares):
            nth[streams == stream] = np.arange(share)

        def batch(number):
            group, member = divmod(number, group_size)
            stream = streams[group]
            return self.streams[stream][int(starts[stream]) + int(nth[group]) * group_size + member]

        return LazyBatches(batch, range(len(streams) * group_size))

    def _shares(self, group_size):
        """Groups of each stream in an epoch: int64 ``[streams]``."""
        total = sum(len(stream) for stream in self.streams) / group_size
        return np.maximum(1, np.rint(total * self.weights / self.weights.sum())).astype(np.int64)
