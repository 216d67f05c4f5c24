"""fairseq's indexed files (``.bin`` with ``.idx``), written in constant memory, checked when opened and read in place.

The format is :class:`fairseq.data.indexed_dataset.MMapIndexedDataset`'s own. Its reader is replaced because it reads
every file through once when it opens it (files may be larger than memory) and turns all items into int64 (patches are
uint8); its builder, because it holds some hundred bytes of memory for every item.
"""

import array
import os
import shutil
import struct

import numpy as np
import torch
from fairseq.data.indexed_dataset import (
    MMapIndexedDataset,
    _code_to_dtype,
    _dtype_header_code,
    data_file_path,
    index_file_path,
)

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.storage.files import open_without_following

# Magic, version (uint64), dtype code (uint8), number of items (uint64); then int32 sizes and int64 byte offsets.
_HEADER = struct.Struct("<9sQBQ")
_MAGIC, _VERSION = MMapIndexedDataset.Index._HDR_MAGIC, 1
_BYTES_PER_ITEM = 4 + 8
_SIZES_HELD = 1 << 16
_COPIED_AT_ONCE = 1 << 20  # bytes; whole sizes


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
        dtype, sizes = read_index(self.prefix)
        self.sizes = sizes.astype(np.int64)
        if np.any(self.sizes % row_width):
            raise UserError(f"{self.prefix}.idx: items are not whole rows of {row_width}: render the data again")
        self.sizes //= row_width
        self.offsets = np.concatenate([[0], np.cumsum(self.sizes)])
        path = data_file_path(self.prefix)
        if os.path.getsize(path):
            self._rows = np.memmap(path, dtype=dtype, mode="r").reshape(-1, row_width)
        else:  # an empty file cannot be mapped
            self._rows = np.empty((0, row_width), dtype=dtype)

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


class IndexedWriter:
    """Writes one indexed file pair, item by item, in constant memory: the lengths of items wait in a file of their own.

    What was written can be gone on with after the process has ended: see :meth:`lengths`.

    Args:
        prefix: path of the files without ``.bin``, ``.idx`` (which appears when the writer is closed) and ``.sizes``.
        dtype: of the elements.
        index_only: keep the lengths of the items alone; there is no ``.bin`` then.
        lengths: what :meth:`lengths` returned: go on from there, in the files that are there; None begins anew.
    """

    def __init__(self, prefix, dtype, index_only=False, lengths=None):
        self.prefix, self.dtype, self.index_only = str(prefix), np.dtype(dtype), index_only
        paths = IndexedWriter.files(prefix, index_only)
        self._files = [_open_up_to(path, (lengths or {}).get(os.path.basename(path), 0)) for path in paths]
        self._sizes = array.array("i")

    def add(self, values):
        """Append an item: an array of one dimension."""
        if not self.index_only:
            self._files[1].write(np.ascontiguousarray(values, dtype=self.dtype).data)
        self._sizes.append(len(values))
        if len(self._sizes) == _SIZES_HELD:
            self._write_sizes()

    def append(self, prefix):
        """Append all items of the finished files at *prefix*, which are of the same type; they need no ``.idx``."""
        self._write_sizes()
        for file, part in zip(self._files, IndexedWriter.files(prefix, self.index_only), strict=True):
            with open(part, "rb") as source:
                shutil.copyfileobj(source, file, _COPIED_AT_ONCE)

    def lengths(self):
        """Bytes in each file, by name, after which another writer can go on once they are on the disk."""
        self._write_sizes()
        return {os.path.basename(file.name): file.tell() for file in self._files}

    def sync(self):
        """Bring everything to the disk."""
        self._write_sizes()
        for file in self._files:
            file.flush()
            os.fsync(file.fileno())

    def finish(self):
        """Close the files without an index: what :meth:`append` needs."""
        self._write_sizes()
        for file in self._files:
            file.close()

    def close(self):
        """Finish the files; ``.sizes`` stays until its folder goes, so that this, too, can be done again."""
        self.finish()
        with (
            open(self._files[0].name, "rb") as source,
            open(index_file_path(self.prefix), "wb", opener=open_without_following) as file,
        ):
            items = os.path.getsize(source.name) // 4
            file.write(_HEADER.pack(_MAGIC, _VERSION, _dtype_header_code(self.dtype.type), items))
            shutil.copyfileobj(source, file, _COPIED_AT_ONCE)
            source.seek(0)
            offset = 0
            while block := source.read(_COPIED_AT_ONCE):
                ends = np.cumsum(np.frombuffer(block, dtype=np.int32), dtype=np.int64) + offset
                file.write(((ends - np.frombuffer(block, dtype=np.int32)) * self.dtype.itemsize).tobytes())
                offset = int(ends[-1])

    @staticmethod
    def files(prefix, index_only=False):
        """Paths of the files of an unfinished pair."""
        return [f"{prefix}.sizes", *([] if index_only else [data_file_path(str(prefix))])]

    def _write_sizes(self):
        self._files[0].write(self._sizes.tobytes())
        del self._sizes[:]


def _open_up_to(path, length):
    """Open a file for writing after its first *length* bytes; what else it holds is gone."""
    if not length:
        return open(path, "wb", opener=open_without_following)
    file = open(path, "r+b", opener=open_without_following)  # noqa: SIM115
    file.truncate(length)
    file.seek(length)
    return file


def exists(prefix):
    """Whether both files of *prefix* are there."""
    return MMapIndexedDataset.exists(str(prefix))


def read_index(prefix, index_only=False):
    """Check that the two files of *prefix* are there, in the format, and as long as they should be.

    Args:
        prefix: path of the files without ``.bin`` and ``.idx``.
        index_only: there is no ``.bin``.

    Returns:
        (type of the elements, int32 ``[n]``: elements in each item)

    Raises:
        UserError: naming the file and what is wrong with it.
    """
    index_path, data_path = index_file_path(str(prefix)), data_file_path(str(prefix))
    for path in (index_path, *([] if index_only else [data_path])):
        if not os.path.isfile(path):
            raise UserError(f"{path}: no such file: render this split first")
    with open(index_path, "rb") as file:
        header = file.read(_HEADER.size)
        if len(header) < _HEADER.size:
            raise UserError(f"{index_path}: truncated: render this split again")
        magic, version, code, length = _HEADER.unpack(header)
        if magic != _MAGIC or version != _VERSION or code not in _code_to_dtype:
            raise UserError(f"{index_path}: not an index of fairseq's mmap format, or damaged: render this split again")
        _check_size(index_path, _HEADER.size + length * _BYTES_PER_ITEM)
        sizes = np.fromfile(file, dtype=np.int32, count=length)
    if np.any(sizes < 0):
        raise UserError(f"{index_path}: damaged (an item of negative length): render this split again")
    if not index_only:
        _check_size(data_path, int(sizes.sum(dtype=np.int64)) * _code_to_dtype[code]().itemsize)
    return _code_to_dtype[code], sizes


def _check_size(path, expected):
    found = os.path.getsize(path)
    if found != expected:
        raise UserError(
            f"{path}: truncated or damaged ({found:,} bytes instead of {expected:,}): render this split again"
        )
