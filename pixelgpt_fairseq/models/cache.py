"""Keys and values of the positions that a model has read, so that generation computes one position at a time.

Rows of a batch may differ in length. They are aligned at their ends, so that a new position is the same column in all
of them and is written without an index; the columns before a short row are hidden by a mask. Rows of equal length need
no mask. Keys are stored after rotation, so aligning a row does not change its positions.
"""

import torch
from torch import Tensor


class KeyValueCache:
    """What the layers keep of rows that were read; B rows, S columns in use.

    Give a new one to :meth:`PixelGPTModel.forward <pixelgpt_fairseq.models.pixelgpt.PixelGPTModel.forward>` with the
    prompts, and the same one with each patch or token that follows::

        cache = KeyValueCache(capacity=model.max_positions())
        logits = model(tokens=prompts, token_mask=mask, cache=cache).token_logits
        logits = model(tokens=chosen, cache=cache).token_logits  # [B, 1, V]

    Args:
        capacity: columns that are allocated at first: those of the longest prompt and what is to follow. It grows where
            more are needed.

    Attributes:
        columns: columns in use, S.
        last_position: the rotary position of the last column of the row that has come furthest; -1 before the first.
        source: the prompt's column that each column is to hold, int64 ``[B, S]``; None: its own.
        visible: which columns each new one attends to, bool ``[B or 1, 1, n, S]``; None: all of them.
    """

    def __init__(self, capacity: int = 0):
        self.capacity = capacity
        self.columns = 0
        self.last_position = -1
        self._positions = None  # int64 [B]: the next position of each row
        self._text_start = None  # where tokens begin, as long as only patches were read
        self._first = None  # int64 [B]: first column in use of each row; None: 0 in all of them
        self.source = self.visible = None
        self._layers = []

    def begin(self, width: int, positions: Tensor, lengths: Tensor | None = None, text_start: int | None = None):
        """Prepare for prompts: packed rows, in which padding stands at the end.

        Args:
            width: columns of the longest row.
            positions: int64 ``[B]``, the position that follows each row.
            lengths: int64 ``[B]``, columns in use of each row; None: all are as long as *width*. Read off the device,
                once for a generation.
            text_start: the position of the first token, if only patches were read.
        """
        self.columns = width
        self._positions, self._text_start = positions, text_start
        self.last_position = int(positions.max()) - 1
        if lengths is not None and int(lengths.min()) < width:
            self._first = width - lengths
            columns = torch.arange(width, device=lengths.device)
            self.source = (columns - self._first.unsqueeze(1)).clamp(min=0)

    def next_position(self, text: bool) -> int:
        """The position of the next patch, or with *text* of the next token, in the row that has come furthest."""
        if text and self._text_start is not None:
            return self._text_start
        return self.last_position + 1

    def advance(self, count: int, text: bool) -> Tensor:
        """Prepare for *count* more columns, of patches or with *text* of tokens: their positions, ``[B, count]``."""
        first = self._positions
        if text and self._text_start is not None:
            first = torch.full_like(first, self._text_start)
        self.last_position = self.next_position(text) + count - 1
        self._text_start = None if text else self._text_start
        self._positions, self.source = first + count, None
        self.columns += count
        self.visible = self._mask(count)
        return first.unsqueeze(1) + torch.arange(count, device=first.device)

    def _mask(self, count: int) -> Tensor | None:
        if count == 1 and self._first is None:
            return None
        columns = torch.arange(self.columns, device=self._positions.device)
        visible = (columns <= columns[-count:].unsqueeze(1))[None, None]
        if self._first is not None:
            visible = visible & (columns >= self._first.unsqueeze(1))[:, None, None]
        return visible

    def layer(self, number: int) -> "LayerCache":
        """What layer *number*, from 0, keeps."""
        while len(self._layers) <= number:
            self._layers.append(LayerCache(self))
        return self._layers[number]

    def reorder(self, order: Tensor):
        """Make row i a copy of row ``order[i]``; int64 ``[B']``, with as many rows as are to be there."""
        if self._positions is None:
            return
        if len(order) == len(self._positions) and torch.equal(order, torch.arange(len(order), device=order.device)):
            return
        self._positions = self._positions[order]
        self._first = None if self._first is None else self._first[order]
        for layer in self._layers:
            layer.reorder(order)


class LayerCache:
    """Keys and values of one layer: two tensors ``[B, K, capacity, D]``, K key-value heads of D values."""

    def __init__(self, cache: KeyValueCache):
        self.whole = cache
        self.keys = self.values = None

    @property
    def empty(self) -> bool:
        """Whether nothing was read yet."""
        return self.keys is None

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Keep what was computed for new columns, ``[B, n, K, D]`` each; returns all that is kept, ``[B, K, S, D]``."""
        self.keys, self.values = self._write(self.keys, keys), self._write(self.values, values)
        return self.keys[:, :, : self.whole.columns], self.values[:, :, : self.whole.columns]

    def _write(self, held: Tensor | None, new: Tensor) -> Tensor:
        end = self.whole.columns
        new = new.transpose(1, 2)  # [B, K, n, D]
        if held is None:
            new = new[:, :, :end]  # without the padding that rounds a width
            if self.whole.source is not None:
                source = self.whole.source[:, None, :, None].expand(-1, new.shape[1], -1, new.shape[3])
                new = new.gather(2, source)
            held = self._allocate(new, new.shape[0], max(end, self.whole.capacity))
        elif held.shape[2] < end:
            larger = self._allocate(held, held.shape[0], max(end, 2 * held.shape[2]))
            start = end - new.shape[2]
            larger[:, :, :start] = held[:, :, :start]
            held = larger
        held[:, :, end - new.shape[2] : end] = new
        return held

    def reorder(self, order: Tensor):
        """See :meth:`KeyValueCache.reorder`."""
        self.keys, self.values = self._reordered(self.keys, order), self._reordered(self.values, order)

    def _reordered(self, held: Tensor, order: Tensor) -> Tensor:
        used = self.whole.columns
        rows = held[:, :, :used].index_select(0, order)
        if len(order) > len(held):
            held = self._allocate(held, len(order), held.shape[2])
        held = held[: len(order)]
        held[:, :, :used] = rows
        return held

    @staticmethod
    def _allocate(like: Tensor, rows: int, columns: int) -> Tensor:
        return like.new_empty(rows, like.shape[1], columns, like.shape[3])


def position_after(positions: Tensor, in_use: Tensor | None, rows: int) -> Tensor:
    """The position that follows the last one in use of each row, or the first where none is: int64 ``[B]``.

    Args:
        positions: consecutive integers ``[L]``.
        in_use: bool ``[B, L]``; None: all of them.
        rows: B.
    """
    if in_use is None:
        return (positions[-1:] + 1).expand(rows)
    columns = torch.arange(1, len(positions) + 1, device=positions.device)
    return positions[0] + (in_use * columns).amax(1)
