"""Standard input as a file: it can be read once, but its beginning can be looked at before."""

import contextlib
import io
import shutil
import sys
import tempfile

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.sources.sequential import READ_BYTES

STANDARD_INPUT = "-"  # how it is named among the inputs
KEPT_BYTES = 8 << 20  # of the beginning, which every look at the input reads again

_opened = None  # the _StandardInput that was used last


@contextlib.contextmanager
def open_input(path):
    """Open a file, or standard input for ``"-"``, to read its bytes.

    Yields:
        a buffered binary file. Standard input begins anew each time, as long as no more than ``KEPT_BYTES`` of it has
        been read.

    Raises:
        UserError: if standard input has been read farther than that.
    """
    if path != STANDARD_INPUT:
        with open(path, "rb") as file:
            yield file
        return
    raw_file = _standard_input()
    raw_file.seek(0)
    yield io.BufferedReader(raw_file, READ_BYTES)


def keep_standard_input():
    """Copy all of standard input to a temporary file, so that it can be read from anywhere and many times."""
    _standard_input().keep_all()


def _standard_input():
    global _opened
    stream = getattr(sys.stdin, "buffer", None)
    if stream is None:
        raise UserError("standard input is closed: name files instead of -")
    if _opened is None or _opened.stream is not stream:
        _opened = _StandardInput(stream)
    return _opened


class _StandardInput(io.RawIOBase):
    """A stream that can be read once, of which the beginning is kept.

    Args:
        stream: a binary file.
    """

    def __init__(self, stream):
        self.stream = stream
        self._kept, self._kept_bytes, self._all_kept = io.BytesIO(), 0, False
        self._read_bytes = 0  # of the stream
        self._position = 0

    def close(self):
        """Stay open, for the next look."""

    def readable(self):
        return True

    def seekable(self):
        return True

    def tell(self):
        return self._position

    def readinto(self, buffer):
        if self._position < self._kept_bytes:
            self._kept.seek(self._position)
            count = self._kept.readinto(memoryview(buffer)[: self._kept_bytes - self._position])
        elif self._all_kept:
            count = 0
        else:
            content = self.stream.read(len(buffer))  # all that was asked for, unless the stream ends
            count = len(content)
            buffer[:count] = content
            self._read_bytes += count
            if self._read_bytes <= KEPT_BYTES:
                self._kept.seek(0, io.SEEK_END)
                self._kept.write(content)
                self._kept_bytes = self._read_bytes
        self._position += count
        return count

    def seek(self, offset, whence=io.SEEK_SET):
        if whence == io.SEEK_END:
            if not self._all_kept:
                raise io.UnsupportedOperation("the length of standard input is not known")
            offset += self._kept_bytes
        elif whence == io.SEEK_CUR:
            offset += self._position
        if offset < self._read_bytes != self._kept_bytes:
            raise UserError("standard input can be read only once: write it to a file, and name that")
        self._position = min(offset, self._read_bytes)
        while self._position < offset and self.read(min(READ_BYTES, offset - self._position)):
            pass
        return self._position

    def keep_all(self):
        if self._all_kept:
            return
        self.seek(0)
        file = tempfile.TemporaryFile()  # noqa: SIM115 (it stays open as long as this does)
        file.write(self._kept.getbuffer())
        shutil.copyfileobj(self.stream, file, READ_BYTES)
        self._kept, self._all_kept = file, True
        self._kept_bytes = self._read_bytes = file.tell()
