"""fairseq's indexed files (``.bin`` with ``.idx``), written in constant memory, checked when opened and read in place.

The format is :class:`fairseq.data.indexed_dataset.MMapIndexedDataset`'s own. Its reader is replaced because it reads
every file through once when it opens it (files may be larger than memory) and turns all items into int64 (patches are
uint8); its builder, because it holds some hundred bytes of memory for every item.
"""

import array
import bisect
import functools
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
_ITEMS_AT_ONCE = 1 << 20
_PARTS_OPEN = 256  # mapped at a time: a process may have some 65,000 mappings
_COPIED_AT_ONCE = 1 << 20  # bytes; whole sizes


class ItemIndex:
    """How many rows each item of a stream has, read from the index files in place.

    An item (a strip, say) is a run of rows (its patches). The items' rows follow each other without gaps, so that any
    range of rows, within an item or across items, is one read. Several file pairs are read as if they were one.

    Args:
        prefixes: path of the files without ``.bin`` and ``.idx``, or a list of such paths, one for each part.
        row_width: elements in a row: 256 for a gray patch, 1 for a token.
        index_only: there is no ``.bin``.

    Attributes:
        prefix: the first path, for messages.
        item_starts, row_starts: int64 ``[parts + 1]``: the first item, the first row of each part, and the totals.

    Raises:
        UserError: if a file is absent, truncated, or not in the format.
    """

    def __init__(self, prefixes, row_width=1, index_only=False):
        prefixes = [prefixes] if isinstance(prefixes, str | os.PathLike) else prefixes
        self.prefixes, self.row_width, self.index_only = [str(prefix) for prefix in prefixes], row_width, index_only
        self.prefix = self.prefixes[0]
        items, rows = [0], [0]
        for prefix in self.prefixes:
            _, sizes = read_index(prefix, index_only)
            if any(np.any(sizes[i : i + _ITEMS_AT_ONCE] % row_width) for i in range(0, len(sizes), _ITEMS_AT_ONCE)):
                raise UserError(f"{prefix}.idx: items are not whole rows of {row_width}: render the data again")
            items.append(len(sizes))
            rows.append(int(sizes.sum(dtype=np.int64)) // row_width)
        self.item_starts, self.row_starts = np.cumsum(items), np.cumsum(rows)
        self._part = self._opened_parts()

    def __getstate__(self):
        # Data-loader workers map the files themselves.
        return {name: value for name, value in vars(self).items() if name != "_part"}

    def __setstate__(self, state):
        vars(self).update(state)
        self._part = self._opened_parts()

    def __len__(self):
        return int(self.item_starts[-1])

    @property
    def num_rows(self):
        """Rows of all items together."""
        return int(self.row_starts[-1])

    @property
    def parts(self):
        """Number of file pairs."""
        return len(self.prefixes)

    @property
    def sizes(self):
        """int64 ``[n]``: rows of each item, computed anew each time. For large data see :meth:`part_sizes`."""
        return np.concatenate([self.part_sizes(part) for part in range(self.parts)])

    def part_sizes(self, part):
        """int64 ``[items]``: rows of each item of one part, computed anew each time."""
        return self._part(part).sizes.astype(np.int64) // self.row_width

    def size(self, i):
        """Rows of item *i*."""
        part, local = self._locate(i)
        return int(self._part(part).sizes[local]) // self.row_width

    def starts_document(self, i):
        """Whether item *i* is the first of its document: an empty item ends each, and a part has whole documents."""
        part, local = self._locate(i)
        return local == 0 or not self._part(part).sizes[local - 1]

    def ends_document(self, i):
        """Whether item *i* is the last of its document."""
        part, local = self._locate(i)
        sizes = self._part(part).sizes
        return local + 1 == len(sizes) or not sizes[local + 1]

    def first_row(self, i):
        """The row at which item *i* begins."""
        part, local = self._locate(i)
        opened = self._part(part)
        return int(self.row_starts[part]) + int(opened.offsets[local]) // (opened.itemsize * self.row_width)

    def item_at(self, row):
        """The last item that begins at *row* or before."""
        part = min(int(np.searchsorted(self.row_starts, row, side="right")) - 1, self.parts - 1)
        opened = self._part(part)
        offset = (row - int(self.row_starts[part])) * self.row_width * opened.itemsize
        return int(self.item_starts[part]) + bisect.bisect_right(opened.offsets, offset) - 1

    def _locate(self, i):
        """The part of item *i*, and its number in it."""
        if not 0 <= i < len(self):
            raise IndexError(i)
        part = int(np.searchsorted(self.item_starts, i, side="right")) - 1
        return part, int(i) - int(self.item_starts[part])

    def _opened_parts(self):
        """Function from the number of a part to its mapped files. It does not refer to this object: no cycle."""
        prefixes, index_only = self.prefixes, self.index_only
        return functools.lru_cache(_PARTS_OPEN)(lambda part: _OpenPart(prefixes[part], index_only))

    def name_of(self, i):
        """The path of the part that holds item *i*, without ``.bin``."""
        return self.prefixes[self._locate(i)[0]]


class IndexedRows(ItemIndex):
    """The items of a stream as rows of equal width, read in place; see :class:`ItemIndex`."""

    def __getitem__(self, i):
        """Item *i* as a tensor (see :meth:`rows`)."""
        start = self.first_row(i)
        return self.rows(start, start + self.size(i))

    def rows(self, start, stop):
        """Rows *start* to *stop*: uint8 ``[n, row_width]`` as stored, or int64 ``[n]`` for rows of one integer."""
        part = max(0, int(np.searchsorted(self.row_starts, start, side="right")) - 1)
        found = []
        while part < self.parts and (not found or self.row_starts[part] < stop):
            begin = int(self.row_starts[part])
            found.append(self.part_rows(part)[max(0, start - begin) : max(0, stop - begin)])
            part += 1
        if not found:
            found = [self.part_rows(self.parts - 1)[:0]]
        rows = found[0] if len(found) == 1 else np.concatenate(found)
        if self.row_width == 1:
            return torch.from_numpy(rows[:, 0].astype(np.int64))
        return torch.from_numpy(np.array(rows))

    def part_rows(self, part):
        """All rows of one part as they are stored: ``[n, row_width]``, mapped."""
        return self._part(part).data.reshape(-1, self.row_width)


class _OpenPart:
    """The mapped files of one part: ``sizes`` and ``offsets`` (bytes) of its items, and ``data``."""

    def __init__(self, prefix, index_only):
        path = index_file_path(prefix)
        with open(path, "rb") as file:
            _, _, code, length = _HEADER.unpack(file.read(_HEADER.size))
        dtype = _code_to_dtype[code]
        self.itemsize = dtype().itemsize
        self.sizes, self.offsets = _map_index(path, length)
        self.data = None if index_only else _map(data_file_path(prefix), dtype)


def _map_index(path, length):
    """The int32 sizes and the int64 offsets in an index file of so many items, mapped."""
    sizes = _map(path, np.int32, _HEADER.size, length)
    return sizes, _map(path, np.int64, _HEADER.size + 4 * length, length)


def _map(path, dtype, offset=0, length=None):
    if length == 0 or os.path.getsize(path) == 0:  # nothing cannot be mapped
        return np.empty(0, dtype=dtype)
    return np.asarray(
        np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=None if length is None else (length,))
    )


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
        sizes = _map(self._files[0].name, np.int32)
        write_index(index_file_path(self.prefix), self.dtype, sizes)

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


def write_index(path, dtype, sizes):
    """Write an index file.

    Args:
        path: with its ``.idx``.
        dtype: of the elements.
        sizes: int ``[n]``: elements in each item.
    """
    with open(path, "wb", opener=open_without_following) as file:
        file.write(_HEADER.pack(_MAGIC, _VERSION, _dtype_header_code(np.dtype(dtype).type), len(sizes)))
        blocks = [slice(start, start + _ITEMS_AT_ONCE) for start in range(0, len(sizes), _ITEMS_AT_ONCE)]
        for block in blocks:
            file.write(sizes[block].astype(np.int32).tobytes())
        offset = 0
        for block in blocks:
            ends = np.cumsum(sizes[block], dtype=np.int64) + offset
            file.write(((ends - sizes[block]) * np.dtype(dtype).itemsize).tobytes())
            offset = int(ends[-1])


def exists(prefix):
    """Whether both files of *prefix* are there."""
    return MMapIndexedDataset.exists(str(prefix))


def read_index(prefix, index_only=False):
    """Check that the two files of *prefix* are there, in the format, and as long as they should be.

    Args:
        prefix: path of the files without ``.bin`` and ``.idx``.
        index_only: there is no ``.bin``.

    Returns:
        (type of the elements, int32 ``[n]``: elements in each item, mapped)

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
    sizes, offsets = _map_index(index_path, length)
    itemsize, total = _code_to_dtype[code]().itemsize, 0
    for start in range(0, length, _ITEMS_AT_ONCE):
        block = sizes[start : start + _ITEMS_AT_ONCE]
        if block.min() < 0:
            raise UserError(f"{index_path}: damaged (an item of negative length): render this split again")
        ends = np.cumsum(block, dtype=np.int64) + total
        if not np.array_equal(offsets[start : start + _ITEMS_AT_ONCE], (ends - block) * itemsize):
            raise UserError(f"{index_path}: damaged (items that do not follow each other): render this split again")
        total = int(ends[-1])
    if not index_only:
        _check_size(data_path, total * itemsize)
    return _code_to_dtype[code], sizes


def _check_size(path, expected):
    found = os.path.getsize(path)
    if found != expected:
        raise UserError(
            f"{path}: truncated or damaged ({found:,} bytes instead of {expected:,}): render this split again"
        )
