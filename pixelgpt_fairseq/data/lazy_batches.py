"""Many batches in little memory: arrays of numbers, out of which a batch is cut when it is asked for."""

import collections.abc

import numpy as np


class LazyBatches(collections.abc.Sequence):
    """Batches that are made when they are asked for; a slice is again such a sequence, and copies nothing.

    Args:
        batch: function from a number to a batch.
        numbers: ``range`` of the batches' numbers.
    """

    def __init__(self, batch, numbers):
        self._batch, self._numbers = batch, numbers

    def __len__(self):
        return len(self._numbers)

    def __getitem__(self, key):
        if isinstance(key, slice):
            return LazyBatches(self._batch, self._numbers[key])
        return self._batch(self._numbers[key])


class PackedBatches(collections.abc.Sequence):
    """Batches one after the other in one array.

    Args:
        indices: int ``[n]``: the examples of all batches.
        ends: int ``[batches + 1]``: 0, and where each batch ends.
    """

    def __init__(self, indices, ends):
        self.indices, self.ends = indices, ends

    @classmethod
    def shuffled(cls, batches, random, dtype):
        """Pack arrays of indices in random order, as numbers of *dtype*."""
        lengths = np.fromiter(map(len, batches), dtype=np.int64, count=len(batches))
        order = random.permutation(len(batches))
        indices = np.empty(lengths.sum(), dtype=dtype)
        ends = np.concatenate([[0], np.cumsum(lengths[order])])
        for start, end, number in zip(ends[:-1].tolist(), ends[1:].tolist(), order.tolist(), strict=True):
            indices[start:end] = batches[number]
        return cls(indices, ends.astype(np.min_scalar_type(len(indices))))

    def __len__(self):
        return len(self.ends) - 1

    def __getitem__(self, number):
        if not 0 <= number < len(self):
            raise IndexError(number)
        return self.indices[int(self.ends[number]) : int(self.ends[number + 1])].astype(np.int64)
