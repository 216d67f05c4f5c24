"""gzip, zstd, xz and bzip2: told by the first bytes, read from beginning to end."""

import bz2
import gzip
import io
import lzma
import os
import re
import zlib
from collections.abc import Callable

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.sources import sequential
from pixelgpt_fairseq.sources.encodings import SAMPLE_BYTES, is_text
from pixelgpt_fairseq.sources.foreign_formats import check_not_foreign
from pixelgpt_fairseq.sources.sequential import Decoded

_XZ_MEMORY = 128 << 20  # `xz -9` makes files that take 65 MiB to read

_BZIP2 = re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)")
# How compressed files begin. No text in UTF-8 begins so.
_COMPRESSED = {
    "gzip": lambda start: start.startswith(b"\x1f\x8b"),
    "zstd": lambda start: start.startswith(b"\x28\xb5\x2f\xfd"),
    "xz": lambda start: start.startswith((b"\xfd7zXZ\0", b"\x5d\0\0")),
    "bzip2": _BZIP2.match,
}
_SUFFIXES = {".gz": "gzip", ".zst": "zstd", ".xz": "xz", ".lzma": "xz", ".bz2": "bzip2"}


class Damaged(Exception):
    """A compressed stream that ends too early, or goes on with something else."""


def text_suffix(path) -> str:
    """The suffix of a file's name, in lower case and without that of a compression: ``.csv`` of ``a.csv.xz``."""
    name, suffix = os.path.splitext(str(path).lower())
    return os.path.splitext(name)[1] if suffix in _SUFFIXES else suffix


def is_compressed_name(path) -> bool:
    """Whether the name of a file says that it is compressed."""
    return os.path.splitext(str(path).lower())[1] in _SUFFIXES


def compression_of(path, raw_file):
    """The compression of an open file: ``gzip``, ``zstd``, ``xz``, ``bzip2``, or None.

    Raises:
        UserError: if its name says that it is compressed, and it is not.
    """
    start = raw_file.peek(SAMPLE_BYTES)
    for kind, begins in _COMPRESSED.items():
        if begins(start):
            return kind
    named = _SUFFIXES.get(os.path.splitext(str(path).lower())[1])
    if named:
        check_not_foreign(path, start)
        what = "plain text" if is_text(start) else "neither that nor text"
        raise UserError(
            f"{path}: its name says {named}, but it is {what}: "
            + ("take the suffix from its name, if the text is right" if is_text(start) else "fetch it again")
        )
    return None


def open_decompressed(path, raw_file, kind):
    """Open the contents of a compressed file.

    Args:
        path: for messages.
        raw_file: the open file, at its beginning.
        kind: what :func:`compression_of` returned, but for None.

    Returns:
        (file, errors): a binary file, and the exceptions by which reading it says that it is damaged.
    """
    errors = (Damaged, EOFError, zlib.error, gzip.BadGzipFile)
    if kind == "gzip":
        return gzip.GzipFile(fileobj=raw_file), errors
    if kind == "zstd":
        zstd = _zstd(path)
        return zstd.ZstdFile(raw_file), (*errors, zstd.ZstdError)
    return io.BufferedReader(_Decompressed(raw_file, _DECOMPRESSORS[kind]), sequential.READ_BYTES), errors


def check_not_nested(path, outer, sample):
    """Refuse a file that is compressed twice; *sample* is how its contents begin.

    Raises:
        UserError
    """
    for kind, begins in _COMPRESSED.items():
        if begins(sample):
            raise UserError(f"{path}: {kind} within {outer}: decompress it once")


class _Decompressed(Decoded):
    """The contents of a file of compressed streams, one after the other.

    Python's own readers of xz and bzip2 pass over what follows a stream, and set no limit to xz's memory.

    Args:
        file: an open binary file.
        make_decompressor: function to an ``LZMADecompressor`` or ``BZ2Decompressor``.
    """

    def __init__(self, file, make_decompressor: Callable):
        self._make_decompressor = make_decompressor
        super().__init__(file)

    def _restart(self):
        super()._restart()
        self._decompressor, self._input = None, b""  # one at a time: a decompressor of xz may hold 64 MiB
        self._decompressor = self._make_decompressor()

    def close(self):
        self._decompressor = None
        super().close()

    def _decode_more(self):
        decoded = b""
        while not decoded:
            if self._decompressor.eof:
                self._input = self._decompressor.unused_data.lstrip(b"\0")  # xz pads its streams with zeros
                while not self._input and (read := self._file.read(sequential.READ_BYTES)):
                    self._input = read.lstrip(b"\0")
                if not self._input:
                    return b""
                self._decompressor = self._make_decompressor()
            elif self._decompressor.needs_input and not self._input:
                self._input = self._file.read(sequential.READ_BYTES)
                if not self._input:
                    raise Damaged("it ends within a compressed stream")
            given, self._input = self._input, b""
            try:
                decoded = self._decompressor.decompress(given, sequential.READ_BYTES)
            except (lzma.LZMAError, OSError, ValueError) as error:
                raise Damaged(str(error)) from None
        return decoded


_DECOMPRESSORS = {"xz": lambda: lzma.LZMADecompressor(memlimit=_XZ_MEMORY), "bzip2": bz2.BZ2Decompressor}


def _zstd(path):
    """The module that reads zstd."""
    try:
        from backports import zstd
    except ImportError:
        raise UserError(f"{path}: to read zstd, run `pip install backports.zstd`") from None
    return zstd
