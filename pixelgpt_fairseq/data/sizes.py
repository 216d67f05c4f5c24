"""How fairseq's batching asks a data set for the lengths of its examples."""


class SizesMixin:
    """The methods by which fairseq asks for lengths, for a data set with an attribute ``sizes``: int ``[n]``."""

    def num_tokens(self, i):
        """Positions of example *i*: patches and tokens."""
        return self.sizes[i]

    def num_tokens_vec(self, indices):
        """Positions of the examples *indices*."""
        return self.sizes[indices]

    def size(self, i):
        """Positions of example *i*."""
        return self.sizes[i]
