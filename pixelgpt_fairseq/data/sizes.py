"""How fairseq's batching asks a data set for the lengths of its examples."""

import numpy as np


class SizesMixin:
    """The methods by which fairseq asks for lengths, for a data set with an attribute ``sizes``: int ``[n]``."""

    def num_tokens(self, i):
        """Positions of example *i*: patches and tokens."""
        return int(self.sizes[i])

    def num_tokens_vec(self, indices):
        """Positions of the examples *indices*."""
        return self.sizes[indices]

    def size(self, i):
        """Positions of example *i*."""
        return int(self.sizes[i])


def smallest_integers(values, largest):
    """A copy of *values*, none of which is above *largest*, in the smallest unsigned type: two bytes each, mostly."""
    return np.array(values, dtype=np.min_scalar_type(largest))
