"""Plans: which examples a split is cut into, made once, kept beside the data, and mapped by every process.

A plan is a table with a row for each example. The process that first needs one makes it and writes it to a file of the
data folder, whole or not at all; processes that come meanwhile wait for it. A later process maps the file: the table
takes no memory of its own. A plan that was made of other files than those that are there now is made again.
"""

import hashlib
import json
import logging
import mmap
import os
import tempfile
from pathlib import Path

import numpy as np

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.storage.files import whole_file
from pixelgpt_fairseq.storage.locks import locked

logger = logging.getLogger(__name__)

_VERSION = 1
_HEADER_BYTES = 4096  # the table begins at a page
_WAIT = 3600  # seconds for another process to make the plan


class Plans:
    """The plans of one split.

    Args:
        prefix: path to which ``.NAME.plan`` is added; None keeps plans in temporary files.
        source: text that identifies the files which the plans are made of.
    """

    def __init__(self, prefix=None, source=""):
        self.prefix, self.source = prefix and Path(prefix), source

    def table(self, name, dtype, make):
        """The plan *name*, made if it is not there.

        Args:
            name: tells the plan from the others of this split; part of a file's name.
            dtype: of a row, with named fields.
            make: function that yields arrays of rows, called only if the plan must be made.

        Returns:
            array of *dtype* ``[n]``, mapped and read-only.

        Raises:
            UserError: if another process makes the plan and does not come to an end.
        """
        dtype = np.dtype(dtype)
        if self.prefix is None:
            return _temporary(dtype, make)
        path = self.prefix.with_name(f"{self.prefix.name}.{name}.plan")
        if (found := self._read(path, dtype)) is not None:
            return found
        if not os.access(path.parent, os.W_OK):
            logger.info(f"{path}: cannot be written: this plan is made anew by every process at every start")
            return _temporary(dtype, make)
        with locked(path.with_name(f".{path.name}.lock"), f"making {path.name}", _WAIT):
            if (found := self._read(path, dtype)) is None:
                with whole_file(path) as file:
                    _write(file, self._header(dtype), dtype, make)
                found = self._read(path, dtype)
        return found

    def _header(self, dtype):
        source = hashlib.sha256(self.source.encode()).hexdigest()
        return {"version": _VERSION, "source": source, "fields": str(dtype.descr)}

    def _read(self, path, dtype):
        """The table in a file; None if it is absent, damaged, or of other data."""
        try:
            with open(path, "rb") as file:
                header = json.loads(file.read(_HEADER_BYTES))
                rows = header.pop("rows")
                whole = os.fstat(file.fileno()).st_size == _HEADER_BYTES + rows * dtype.itemsize
                return _map(file, dtype, rows) if whole and header == self._header(dtype) else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None


def _write(file, header, dtype, make):
    """Write header and table; returns the number of rows."""
    file.write(bytes(_HEADER_BYTES))
    rows = 0
    for part in make():
        file.write(np.ascontiguousarray(part, dtype=dtype).view(np.uint8).data)
        rows += len(part)
    file.seek(0)
    file.write(json.dumps({**header, "rows": rows}).encode().ljust(_HEADER_BYTES))
    file.flush()
    return rows


def _temporary(dtype, make):
    with tempfile.TemporaryFile() as file:
        try:
            rows = _write(file, {}, dtype, make)
        except OSError as error:
            raise UserError(f"{tempfile.gettempdir()}: cannot write a plan of the data: {error.strerror}") from None
        return _map(file, dtype, rows)


def _map(file, dtype, rows):
    if not rows:
        return np.empty(0, dtype=dtype)
    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return np.frombuffer(mapped, dtype=dtype, count=rows, offset=_HEADER_BYTES)
