"""fairseq's indexed files (``.bin`` with ``.idx``), written in constant memory, checked when opened and read in place.

The format is :class:`fairseq.data.indexed_dataset.MMapIndexedDataset`'s own. Its reader is replaced because it reads
every file through once when it opens it (files may be larger than memory) and turns all items into int64 (patches are
uint8); its builder, because it holds some hundred bytes of memory for every item.
"""

import array
import bisect
import contextlib
import functools
import mmap
import os
import struct
import zlib

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
# Parts of a stream that are mapped at a time. Each takes two file descriptors, of which a process often has 1,024.
_PARTS_OPEN = 32
_PREFETCHED_AT_ONCE = 1 << 17  # Linux reads no more at a request than its read-ahead, which is seldom less than this


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
            found = check_index(prefix, row_width, index_only)
            items.append(found[0])
            rows.append(found[1])
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
        """Function from the number of a part to its files. It does not refer to this object: no cycle."""
        prefixes = self.prefixes
        return functools.lru_cache(_PARTS_OPEN)(lambda part: _OpenPart(prefixes[part]))

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
        found = [self.part_rows(part)[first:last] for part, first, last in self._within_parts(start, stop)]
        rows = found[0] if len(found) == 1 else np.concatenate(found)
        if self.row_width == 1:
            return torch.from_numpy(rows[:, 0].astype(np.int64))
        return torch.from_numpy(np.array(rows))

    def prefetch(self, start, stop):
        """Let the system read rows *start* to *stop* from the disk in one run, before they are asked for."""
        for part, first, last in self._within_parts(start, stop):
            opened = self._part(part)
            _prefetch(data_file_path(opened.prefix), *(opened.itemsize * self.row_width * row for row in (first, last)))

    def _within_parts(self, start, stop):
        """The parts that rows *start* to *stop* are in, at least one, and which of their rows: (part, first, last)."""
        part = min(max(0, int(np.searchsorted(self.row_starts, start, side="right")) - 1), self.parts - 1)
        while True:
            begin = int(self.row_starts[part])
            end = min(stop, int(self.row_starts[part + 1]))
            yield part, max(0, start - begin), max(0, end - begin)
            part += 1
            if part == self.parts or self.row_starts[part] >= stop:
                return

    def part_rows(self, part):
        """All rows of one part as they are stored: ``[n, row_width]``, mapped."""
        return self._part(part).data.reshape(-1, self.row_width)


def _prefetch(path, start, stop):
    """Let the system read bytes *start* to *stop* of a file in the background, where it can do that."""
    if hasattr(os, "posix_fadvise"):
        with open(path, "rb", buffering=0) as file:
            for position in range(start, stop, _PREFETCHED_AT_ONCE):
                length = min(_PREFETCHED_AT_ONCE, stop - position)
                os.posix_fadvise(file.fileno(), position, length, os.POSIX_FADV_WILLNEED)


class _OpenPart:
    """The files of one part: ``sizes`` and ``offsets`` (bytes) of its items, and ``data``, mapped when first used."""

    def __init__(self, prefix):
        self.prefix = prefix
        with open(index_file_path(prefix), "rb") as file:
            _, _, code, self._length = _HEADER.unpack(file.read(_HEADER.size))
        self._dtype = _code_to_dtype[code]
        self.itemsize = self._dtype().itemsize

    @functools.cached_property
    def _index(self):
        return _map(index_file_path(self.prefix))

    @functools.cached_property
    def sizes(self):
        return self._index[_HEADER.size : _HEADER.size + 4 * self._length].view(np.int32)

    @functools.cached_property
    def offsets(self):
        return self._index[_HEADER.size + 4 * self._length :].view(np.int64)

    @functools.cached_property
    def data(self):
        return _map(data_file_path(self.prefix)).view(self._dtype)


def _map(path):
    """The bytes of a file, mapped: uint8 ``[n]``. Quicker than numpy's memmap, which matters with many shards."""
    with open(path, "rb") as file:
        if not os.fstat(file.fileno()).st_size:  # nothing cannot be mapped
            return np.empty(0, dtype=np.uint8)
        return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), dtype=np.uint8)


class IndexedWriter:
    """Writes one indexed file pair, item by item, in constant memory: the lengths of items wait in a file of their own.

    Args:
        prefix: path of the files without ``.bin`` and ``.idx`` (which appears when the writer is closed).
        dtype: of the elements.
        index_only: keep the lengths of the items alone; there is no ``.bin`` then.

    Attributes:
        contents: after closing, file name -> (bytes, CRC-32).
    """

    def __init__(self, prefix, dtype, index_only=False):
        self.prefix, self.dtype, self.index_only = str(prefix), np.dtype(dtype), index_only
        self._sizes_file = open(f"{prefix}.sizes", "wb", opener=open_without_following)  # noqa: SIM115
        self._data_file, self._checksum, self.contents = None, 0, {}
        if not index_only:
            self._data_file = open(data_file_path(str(prefix)), "wb", opener=open_without_following)  # noqa: SIM115
        self._sizes = array.array("i")

    def add(self, values):
        """Append an item: an array of one dimension."""
        if not self.index_only:
            content = np.ascontiguousarray(values, dtype=self.dtype).data
            self._data_file.write(content)
            self._checksum = zlib.crc32(content, self._checksum)
        self._sizes.append(len(values))
        if len(self._sizes) == _SIZES_HELD:
            self._write_sizes()

    def close(self):
        """Finish the files."""
        self._write_sizes()
        self._sizes_file.close()
        sizes_path, index_path = self._sizes_file.name, index_file_path(self.prefix)
        checksums = {index_path: write_index(index_path, self.dtype, _map(sizes_path).view(np.int32))}
        os.unlink(sizes_path)
        if not self.index_only:
            self._data_file.close()
            checksums[data_file_path(self.prefix)] = self._checksum
        self.contents = {
            os.path.basename(path): (os.path.getsize(path), checksum) for path, checksum in checksums.items()
        }

    def abandon(self):
        """Close the files as they are."""
        for file in (self._sizes_file, self._data_file):
            if file is not None:
                with contextlib.suppress(OSError):  # the disk may be full
                    file.close()

    def _write_sizes(self):
        self._sizes_file.write(self._sizes.tobytes())
        del self._sizes[:]


def write_index(path, dtype, sizes):
    """Write an index file.

    Args:
        path: with its ``.idx``.
        dtype: of the elements.
        sizes: int ``[n]``: elements in each item.

    Returns:
        int: the file's CRC-32.
    """
    checksum = 0
    with open(path, "wb", opener=open_without_following) as file:
        for content in _index_content(np.dtype(dtype), sizes):
            file.write(content)
            checksum = zlib.crc32(content, checksum)
    return checksum


def _index_content(dtype, sizes):
    yield _HEADER.pack(_MAGIC, _VERSION, _dtype_header_code(dtype.type), len(sizes))
    blocks = [slice(start, start + _ITEMS_AT_ONCE) for start in range(0, len(sizes), _ITEMS_AT_ONCE)]
    for block in blocks:
        yield sizes[block].astype(np.int32).tobytes()
    offset = 0
    for block in blocks:
        ends = np.cumsum(sizes[block], dtype=np.int64) + offset
        yield ((ends - sizes[block]) * dtype.itemsize).tobytes()
        offset = int(ends[-1])


def exists(prefix):
    """Whether both files of *prefix* are there."""
    return MMapIndexedDataset.exists(str(prefix))


def check_index(prefix, row_width=1, index_only=False):
    """Check that the two files of *prefix* are there, in the format, and as long as they should be.

    Args:
        prefix: path of the files without ``.bin`` and ``.idx``.
        row_width: elements in a row, of which every item has a whole number.
        index_only: there is no ``.bin``.

    Returns:
        (int, int): items, and rows of all of them together.

    Raises:
        UserError: naming the file and what is wrong with it.
    """
    index_path, data_path = index_file_path(str(prefix)), data_file_path(str(prefix))
    for path in (index_path, *([] if index_only else [data_path])):
        if not os.path.isfile(path):
            raise UserError(f"{path}: no such file: render this split first")
    with open(index_path, "rb", buffering=0) as file:
        descriptor = file.fileno()
        header = os.pread(descriptor, _HEADER.size, 0)
        if len(header) < _HEADER.size:
            raise UserError(f"{index_path}: truncated: render this split again")
        magic, version, code, length = _HEADER.unpack(header)
        if magic != _MAGIC or version != _VERSION or code not in _code_to_dtype:
            raise UserError(f"{index_path}: not an index of fairseq's mmap format, or damaged: render this split again")
        _check_size(index_path, os.fstat(descriptor).st_size, _HEADER.size + length * _BYTES_PER_ITEM)
        itemsize, total = _code_to_dtype[code]().itemsize, 0
        for start in range(0, length, _ITEMS_AT_ONCE):
            count = min(_ITEMS_AT_ONCE, length - start)
            sizes = np.frombuffer(os.pread(descriptor, 4 * count, _HEADER.size + 4 * start), dtype=np.int32)
            offsets = os.pread(descriptor, 8 * count, _HEADER.size + 4 * length + 8 * start)
            if sizes.min() < 0:
                raise UserError(f"{index_path}: damaged (an item of negative length): render this split again")
            ends = np.cumsum(sizes, dtype=np.int64) + total
            if not np.array_equal(np.frombuffer(offsets, dtype=np.int64), (ends - sizes) * itemsize):
                raise UserError(f"{index_path}: damaged (items that do not follow each other): render this split again")
            if row_width > 1 and np.any(sizes % row_width):
                raise UserError(f"{prefix}.idx: items are not whole rows of {row_width}: render the data again")
            total = int(ends[-1])
    if not index_only:
        _check_size(data_path, os.path.getsize(data_path), total * itemsize)
    return length, total // row_width


def _check_size(path, found, expected):
    if found != expected:
        raise UserError(
            f"{path}: truncated or damaged ({found:,} bytes instead of {expected:,}): render this split again"
        )
