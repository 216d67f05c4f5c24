"""Packs rows so that no padding stands between their positions and attention needs no mask.

A batch of strips, tokens or both has padding at the end of each part. Packing moves the positions in use to the front
of their row, in order, and cuts the batch to its longest row. Whatever padding is left then stands at the end, where
causal attention never looks, and costs nothing where no row needs it.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass
class Packing:
    """Where the positions of packed rows come from; made by :func:`pack`. B rows, L' the longest row in use."""

    source: Tensor | None  # [B, L'] column of the unpacked row that each packed position holds; None: its own
    in_use: Tensor  # [B, L'] False at the padding that is left
    lengths: Tensor  # [B] positions in use

    def gather(self, columns: Tensor) -> Tensor:
        """Pack ``[B, L]`` or ``[B, L, H]`` to ``[B, L']`` or ``[B, L', H]``."""
        return columns if self.source is None else columns.gather(1, self._index(columns))

    def scatter(self, packed: Tensor, width: int) -> Tensor:
        """Put ``[B, L', H]`` back to where it came from in ``[B, width, H]``; zeros at padding."""
        kept = packed * self.in_use.unsqueeze(-1).to(packed.dtype)
        if self.source is None:
            return kept
        return packed.new_zeros(packed.shape[0], width, packed.shape[2]).scatter(1, self._index(packed), kept)

    def last(self) -> Tensor:
        """The column of the last position in use of every packed row: int64 ``[B]``."""
        return (self.lengths - 1).clamp(min=0)

    def _index(self, like: Tensor) -> Tensor:
        return self.source if like.dim() == 2 else self.source.unsqueeze(-1).expand(-1, -1, like.shape[2])


def pack(in_use: Tensor, longest: int | None = None, in_order: bool = False) -> Packing:
    """Pack rows by their mask ``[B, L]`` (True: in use); at least one column stays.

    Args:
        longest: positions in use of the longest row. None: it is read off the device, for which the host waits.
        in_order: no row has padding between its positions, and the longest has none at all: they are packed already.
    """
    lengths = in_use.sum(1)
    if in_order:
        return Packing(None, in_use, lengths)
    longest = max(int(lengths.max()) if longest is None else longest, 1)
    order = in_use.to(torch.uint8).argsort(dim=1, descending=True, stable=True)
    source = order[:, :longest]
    return Packing(source, torch.arange(longest, device=in_use.device) < lengths.unsqueeze(1), lengths)


def few_widths(width: int) -> int:
    """Round a row's width up, so that few different widths occur: by an eighth of its magnitude, at most by 63.

    Every new shape costs time on a GPU: a kernel plan in cuDNN, or a compilation. Rounded are 1 to 64 positions to a
    multiple of 8, up to 128 of 16, up to 256 of 32, and beyond of 64; up to 1,024 that leaves 28 widths.
    """
    step = min(max(8, (1 << (width - 1).bit_length()) // 8), 64)
    return -(-width // step) * step


def trim(columns: Tensor | None, in_use: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    """Cut the columns that no row uses off the end of ``[B, L, ...]`` and of its mask ``[B, L]``; at least one stays.

    Returns:
        both, the mask as booleans. Without a mask there is nothing to cut. Reads one number off the device.
    """
    if columns is None or in_use is None:
        return columns, None
    in_use = in_use.bool()
    columns_used = in_use.any(0) * torch.arange(1, in_use.shape[1] + 1, device=in_use.device)
    width = max(int(columns_used.max()), 1)
    return columns[:, :width], in_use[:, :width]


def pad_columns(columns: Tensor, width: int) -> Tensor:
    """Fill ``[B, L, values]`` up with zeros to ``[B, width, values]``."""
    missing = width - columns.shape[1]
    return F.pad(columns, (0, 0, 0, missing)) if missing else columns
