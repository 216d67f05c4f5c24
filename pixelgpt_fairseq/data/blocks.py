"""Documents to blocks of patches or of tokens, in the terms of fairseq's language modelling (``sample_break_mode``)."""

import numpy as np
from fairseq.data import FairseqDataset

# fairseq/data/token_block_utils_fast.pyx: the ranges behind TokenBlockDataset.
from fairseq.data.token_block_utils_fast import _get_slice_indices_fast

from pixelgpt_fairseq.errors import UserError

# In fairseq's terms a sentence is a piece (a strip and its tokens) here.
BREAK_MODES = ("none", "complete", "complete_doc", "eos")
_FILLED_MODES = ("none", "complete")  # across documents: a block falls short of its size only where text ends
# An empty item ends each document.
_DOCUMENT_SEPARATOR_LENGTH = 0


def block_ranges(sizes, block_size, break_mode):
    """Ranges of rows that are the blocks.

    Args:
        sizes: int ``[n]``: the lengths of the items, 0 after each document.
        block_size: the longest block. A longer piece is cut, in every mode.
        break_mode: ``none``: blocks of *block_size* whatever they cut; ``complete``: as many whole pieces as fit;
            ``complete_doc``: the same, but of one document; ``eos``: one piece each.

    Returns:
        int64 ``[blocks, 2]``: first row and the row after the last. Blocks of one row are left out: nothing can be
        predicted in them.
    """
    sizes = np.asarray(sizes, dtype=np.int64)
    if break_mode != "none":
        sizes = _cut_sizes(sizes, block_size)
    ranges = _get_slice_indices_fast(sizes, break_mode, block_size, _DOCUMENT_SEPARATOR_LENGTH)
    return ranges[ranges[:, 1] - ranges[:, 0] > 1]


def _cut_sizes(sizes, block_size):
    """Replace each size above *block_size* by several that are not: ``[5, 0]`` by ``[2, 2, 1, 0]``, say."""
    parts = np.maximum(1, -(-sizes // block_size))
    cut = np.full(parts.sum(), block_size, dtype=np.int64)
    last = np.cumsum(parts) - 1
    cut[last] = sizes - (parts - 1) * block_size
    return cut


class BlockDataset(FairseqDataset):
    """Blocks of one stream: samples ``{"id": int, key: rows}``.

    Args:
        rows: IndexedRows or RenderedRows.
        key: ``"patches"`` (uint8 ``[n, 256]``) or ``"tokens"`` (int64 ``[n]``).
        block_size, break_mode: see :func:`block_ranges`.
        fill_one: refuse data that all together does not fill one block, where blocks are to be filled.

    Raises:
        UserError: if there is too little for one block.
    """

    def __init__(self, rows, key, block_size, break_mode="none", fill_one=False):
        if block_size < 2:
            raise UserError(f"a block of {block_size} {key} holds nothing to predict: raise --tokens-per-sample")
        self.rows, self.key = rows, key
        self.ranges = block_ranges(rows.sizes, block_size, break_mode)
        self.sizes = self.ranges[:, 1] - self.ranges[:, 0]
        total = int(rows.sizes.sum())
        if not len(self.sizes) or (fill_one and break_mode in _FILLED_MODES and total < block_size):
            raise UserError(
                f"{rows.prefix}.bin: too little for one block of {block_size:,} {key}: it holds {total:,}: render more "
                "text, or choose a smaller --tokens-per-sample"
            )

    def __len__(self):
        return len(self.ranges)

    def __getitem__(self, i):
        return {"id": i, self.key: self.rows.rows(*self.ranges[i])}

    def num_targets(self, indices):
        """The targets of all these blocks together: ``{"patch" or "token": int}``. A block's first row is none."""
        return {self.key[:5]: int((self.sizes[indices] - 1).sum())}
