"""fairseq's indexed files (``.bin`` with ``.idx``), checked when opened and read in place.

The format is :class:`fairseq.data.indexed_dataset.MMapIndexedDataset`'s own. Its reader is replaced because it reads
every file through once when it opens it (files may be larger than memory) and turns all items into int64 (patches are
uint8).
"""

import os
import struct

import numpy as np
import torch
from fairseq.data.indexed_dataset import MMapIndexedDataset, data_file_path, index_file_path

from pixelgpt_fairseq.errors import UserError

# Magic, version (uint64), dtype code (uint8), number of items (uint64); then int32 sizes and int64 byte offsets.
_HEADER = struct.Struct("<9sQBQ")
_BYTES_PER_ITEM = 4 + 8


class IndexedRows:
    """The items of one indexed file pair as rows of equal width, read in place.

    An item (a strip, say) is a run of rows (its patches); the items' rows follow each other without gaps, so any
    range of rows, within an item or across items, is one read.

    Args:
        prefix: path of the files without ``.bin`` and ``.idx``.
        row_width: elements in a row: 256 for a gray patch, 1 for a token.

    Raises:
        UserError: if a file is absent, truncated, or not in the format.
    """

    def __init__(self, prefix, row_width=1):
        self.prefix, self.row_width = str(prefix), row_width
        self._open()

    def _open(self):
        check_whole(self.prefix)
        index = MMapIndexedDataset.Index(index_file_path(self.prefix))
        self.sizes = np.array(index.sizes, dtype=np.int64)
        if np.any(self.sizes % self.row_width):
            raise UserError(f"{self.prefix}.idx: items are not whole rows of {self.row_width}: render the data again")
        self.sizes //= self.row_width
        self.offsets = np.concatenate([[0], np.cumsum(self.sizes)])
        path = data_file_path(self.prefix)
        if os.path.getsize(path):
            self._rows = np.memmap(path, dtype=index.dtype, mode="r").reshape(-1, self.row_width)
        else:  # an empty file cannot be mapped
            self._rows = np.empty((0, self.row_width), dtype=index.dtype)

    def __getstate__(self):
        # Data-loader workers map the files themselves.
        return {"prefix": self.prefix, "row_width": self.row_width}

    def __setstate__(self, state):
        self.__init__(**state)

    def __len__(self):
        return len(self.sizes)

    def __getitem__(self, i):
        """Item *i* as a tensor (see :meth:`rows`)."""
        return self.rows(self.offsets[i], self.offsets[i + 1])

    def rows(self, start, stop):
        """Rows *start* to *stop*: uint8 ``[n, row_width]`` as stored, or int64 ``[n]`` for rows of one integer."""
        rows = self._rows[start:stop]
        if self.row_width == 1:
            return torch.from_numpy(rows[:, 0].astype(np.int64))
        return torch.from_numpy(np.array(rows))


def exists(prefix):
    """Whether both files of *prefix* are there."""
    return MMapIndexedDataset.exists(str(prefix))


def check_whole(prefix):
    """Check that the two files of *prefix* are there, in the format, and as long as they should be.

    Raises:
        UserError: naming the file and what is wrong with it.
    """
    index_path, data_path = index_file_path(prefix), data_file_path(prefix)
    for path in (index_path, data_path):
        if not os.path.isfile(path):
            raise UserError(f"{path}: no such file: render this split first")
    with open(index_path, "rb") as file:
        header = file.read(_HEADER.size)
        if len(header) < _HEADER.size:
            raise UserError(f"{index_path}: truncated: render this split again")
        magic, version, _, length = _HEADER.unpack(header)
        if magic != MMapIndexedDataset.Index._HDR_MAGIC or version != 1:
            raise UserError(f"{index_path}: not an index of fairseq's mmap format")
        expected = _HEADER.size + length * _BYTES_PER_ITEM
        if os.path.getsize(index_path) != expected:
            raise UserError(
                f"{index_path}: truncated or damaged ({os.path.getsize(index_path):,} bytes instead of {expected:,}): "
                "render this split again"
            )
    index = MMapIndexedDataset.Index(index_path)
    expected = 0
    if length:
        expected = int(index._pointers[-1]) + int(index.sizes[-1]) * index.dtype().itemsize
    if os.path.getsize(data_path) != expected:
        raise UserError(
            f"{data_path}: truncated or damaged ({os.path.getsize(data_path):,} bytes instead of {expected:,}): "
            "render this split again"
        )
