"""Cuts documents into blocks of patches or tokens, with the ``sample_break_mode`` of fairseq's language modeling."""

import numpy as np
from fairseq.data import FairseqDataset

# fairseq/data/token_block_utils_fast.pyx: the ranges behind TokenBlockDataset.
from fairseq.data.token_block_utils_fast import _get_slice_indices_fast

from pixelgpt_fairseq.data.plans import Plans
from pixelgpt_fairseq.data.sizes import smallest_integers
from pixelgpt_fairseq.errors import UserError

# In fairseq's terms a sentence is a piece (a strip and its tokens) here.
BREAK_MODES = ("none", "complete", "complete_doc", "eos")
_FILLED_MODES = ("none", "complete")  # blocks span documents, so only the last one can be shorter
# An empty item ends each document.
_DOCUMENT_SEPARATOR_LENGTH = 0


def block_ranges(sizes, block_size, break_mode):
    """The range of rows of each block.

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


# A row of a plan: where a block begins, and its rows.
_BLOCK_FIELDS = np.dtype([("start", "<i8"), ("size", "<u4")])


class BlockDataset(FairseqDataset):
    """Blocks of one stream: samples ``{"id": int, key: rows}``.

    Args:
        rows: IndexedRows or RenderedRows.
        key: ``"patches"`` (uint8 ``[n, 256]``) or ``"tokens"`` (int64 ``[n]``).
        block_size, break_mode: see :func:`block_ranges`.
        fill_one: refuse data that is too short for one full block, in modes that fill blocks.
        plans: where the plan of blocks is kept; None: in a temporary file. ``none`` needs no plan.

    Attributes:
        sizes: rows of each block.

    Raises:
        UserError: if there is too little data for one block.
    """

    def __init__(self, rows, key, block_size, break_mode="none", fill_one=False, plans=None):
        if block_size < 2:
            raise UserError(f"a block of {block_size} {key} holds nothing to predict: raise --tokens-per-sample")
        self.rows, self.key, self.block_size = rows, key, block_size
        total = rows.num_rows
        if break_mode == "none":
            full, rest = divmod(total, block_size)
            self.starts = None  # they follow from the block size
            self.sizes = smallest_integers(np.append(np.full(full, block_size), rest if rest > 1 else []), block_size)
        else:
            plan = (plans or Plans()).table(
                f"{key}-{break_mode}-{block_size}",
                _BLOCK_FIELDS,
                lambda: (self._plan(part, break_mode) for part in range(rows.parts)),
            )
            self.starts, self.sizes = plan["start"], smallest_integers(plan["size"], block_size)
        if not len(self.sizes) or (fill_one and break_mode in _FILLED_MODES and total < block_size):
            raise UserError(
                f"{rows.prefix}.bin: too little for one block of {block_size:,} {key}: it holds {total:,}: render more "
                "text, or choose a smaller --tokens-per-sample"
            )

    def _plan(self, part, break_mode):
        start, end = block_ranges(self.rows.part_sizes(part), self.block_size, break_mode).T
        plan = np.empty(len(start), dtype=_BLOCK_FIELDS)
        plan["start"], plan["size"] = start + self.rows.row_starts[part], end - start
        return plan

    def __len__(self):
        return len(self.sizes)

    def __getitem__(self, i):
        return {"id": i, self.key: self.rows.rows(*self._rows_of(i))}

    @property
    def supports_prefetch(self):
        """True: see :meth:`prefetch`."""
        return True

    def prefetch(self, indices):
        """Let the system read a ``range`` of blocks in one run, before they are asked for."""
        first, last = (self._rows_of(i) for i in (indices[0], indices[-1]))
        self.rows.prefetch(first[0], last[1])

    def _rows_of(self, i):
        start = int(i) * self.block_size if self.starts is None else int(self.starts[i])
        return start, start + int(self.sizes[i])

    def num_targets(self, indices):
        """The number of targets in these blocks: ``{"patch" or "token": int}``; a block's first row is none."""
        return {self.key[:5]: int(self.sizes[indices].sum(dtype=np.int64)) - len(indices)}
