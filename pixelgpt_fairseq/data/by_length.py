"""Length-bucketed ordering: examples of similar length share a batch, and batches are redrawn in every epoch."""

import numpy as np

from pixelgpt_fairseq.data.sizes import SizesMixin

# Examples are sorted by length within so many pools, drawn at random: batches differ from epoch to epoch, and there is
# next to no padding (of RTE in batches of 8, 1.1%; sorted as a whole it would be 0.5%, with 8 pools 3.4%).
POOLS = 2


class BatchedByLength(SizesMixin):
    """Mixin for a FairseqDataset with an attribute ``sizes``: batches of like lengths, drawn anew in every epoch.

    Args:
        shuffle: whether batches are to be drawn anew in every epoch; if not, the shortest examples come first.
        seed: determines the order, together with the epoch.
    """

    def __init__(self, shuffle=False, seed=1):
        self.shuffle, self.seed, self.epoch = shuffle, seed, 1

    def set_epoch(self, epoch):
        """Set the epoch of :meth:`ordered_indices`."""
        self.epoch = epoch

    def ordered_indices(self):
        """The examples of an epoch in the order in which they are cut into batches: int64 ``[n]``."""
        if not self.shuffle:
            return self.by_length()
        random = np.random.default_rng([self.seed, self.epoch])
        return by_length_in_pools(random.permutation(self.draw(random)), self.sizes)

    def by_length(self):
        """Every example once, the shortest first: int64 ``[n]``."""
        return np.argsort(self.sizes, kind="stable")

    def draw(self, random):
        """Which examples an epoch has, in any order: int64 ``[n]``; all of them, unless overridden."""
        return np.arange(len(self))


def by_length_in_pools(indices, sizes):
    """Cut *indices*, which are in random order, into pools, and sort each by *sizes*: int64 ``[n]``.

    Every other pool is sorted in descending order, so that a batch across two pools has little padding too.
    """
    pools = np.arange(len(indices)) * POOLS // len(indices)
    return indices[np.lexsort((np.where(pools % 2, -1, 1) * sizes[indices], pools))]
