"""How fairseq's batching asks a data set for the lengths of its examples."""

import zlib

import numpy as np

_LENGTHS_AT_ONCE = 1 << 20


class SizesMixin:
    """The methods by which fairseq asks for lengths, for a data set with an attribute ``sizes``: int ``[n]``."""

    def size_parts(self):
        """The lengths of all examples, in one array or several that follow each other."""
        return [self.sizes]

    def num_tokens(self, i):
        """Positions of example *i*: patches and tokens."""
        return int(self.sizes[i])

    def num_tokens_vec(self, indices):
        """Positions of the examples *indices*."""
        return self.sizes[indices]

    def size(self, i):
        """Positions of example *i*."""
        return int(self.sizes[i])


def lengths_checksum(parts):
    """CRC-32 of lengths as int64, whatever type the arrays *parts* have them in."""
    checksum = 0
    for part in parts:
        for start in range(0, len(part), _LENGTHS_AT_ONCE):
            checksum = zlib.crc32(part[start : start + _LENGTHS_AT_ONCE].astype(np.int64), checksum)
    return checksum


def smallest_integers(values, largest):
    """A copy of *values*, none of which is above *largest*, in the smallest unsigned type: two bytes each, mostly."""
    return np.array(values, dtype=np.min_scalar_type(largest))
