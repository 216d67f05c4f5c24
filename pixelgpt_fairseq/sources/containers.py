"""What a file that should be text really is, told by its first bytes; compressed and UTF-16 text is decoded."""

import bz2
import codecs
import contextlib
import gzip
import io
import lzma
import os
import re
import zlib
from collections.abc import Callable

from pixelgpt_fairseq.errors import UserError

SAMPLE_BYTES = 1 << 16  # so much of a file is looked at to tell what it is
_READ_BYTES = 1 << 16
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

_UNPACK = "unpack it, and name the files in it"
_DECOMPRESS = "decompress it first"
_EXTRACT = "write its texts to a text file, and name that"
# Offset, bytes that stand there, what the file is, and what to do with it.
_FOREIGN = (
    (0, b"PK\x03\x04", "a ZIP archive or an office document", _UNPACK),
    (0, b"PK\x05\x06", "an empty ZIP archive", _UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (0, b"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    (257, b"ustar", "a tar archive", _UNPACK),
    (0, b"\x1f\x9d", "a file of the compress command", _DECOMPRESS),
    (0, b"\x04\x22\x4d\x18", "an lz4 file", _DECOMPRESS),
    (0, b"LZIP", "an lzip file", _DECOMPRESS),
    (0, b"\xff\x06\0\0sNaPpY", "a snappy file", _DECOMPRESS),
    (0, b"PAR1", "a Parquet file", _EXTRACT),
    (0, b"ARROW1\0\0", "an Arrow file", _EXTRACT),
    (0, b"\xff\xff\xff\xff", "an Arrow stream", _EXTRACT),
    (0, b"FEA1", "a Feather file", _EXTRACT),
    (0, b"Obj\x01", "an Avro file", _EXTRACT),
    (0, b"ORC", "an ORC file", _EXTRACT),
    (0, b"\x89HDF\r\n", "an HDF5 file", _EXTRACT),
    (0, b"SQLite format 3\0", "an SQLite database", _EXTRACT),
    (0, b"\x93NUMPY", "a NumPy file", _EXTRACT),
    (0, b"%PDF-", "a PDF", "extract its text, as pdftotext does"),
    (0, b"%!PS", "a PostScript file", "extract its text, as ps2ascii does"),
    (0, b"{\\rtf", "a rich text file", "save it as plain text"),
    (0, b"\xd0\xcf\x11\xe0", "an office document", "save it as plain text"),
    (0, b"\x89PNG", "a picture", "name files of text"),
    (0, b"\xff\xd8\xff", "a picture", "name files of text"),
    (0, b"GIF8", "a picture", "name files of text"),
)
_TEXT_MAY_BEGIN_SO = (b"ORC", b"LZIP", b"PAR1", b"FEA1")

_BYTE_ORDER_MARKS = (  # UTF-32's first: its bytes begin with those of UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CONTROLS = bytes({*range(0x20), 0x7F} - set(b"\t\n\v\f\r\x1b"))
_LEAST_GARBLED, _LEAST_GARBLED_LATER = 8, 1024  # bytes: at the beginning of a file, and within it
_GARBLED_SHARE = 0.25


class _Damaged(Exception):
    """A compressed stream that ends too early, or goes on with something else."""


@contextlib.contextmanager
def open_text(path, encoding_errors="fail"):
    """Open a file of text, whatever it is compressed with, to read its bytes as UTF-8.

    Args:
        path: text in UTF-8, UTF-16 or UTF-32, plain or compressed by gzip, zstd, xz or bzip2.
        encoding_errors: what to do with bytes that are not UTF-16 or UTF-32 where the file is in one of these:
            ``"fail"``, or ``"replace"`` them. Those that are not UTF-8 are left for the reader to find.

    Yields:
        (file, raw_file): a buffered file whose bytes are UTF-8 (``seek`` goes to any byte of them), and the file on
        the disk, whose ``tell`` shows progress; both are the same where nothing is decoded.

    Raises:
        UserError: naming the file: it is not text (then it says what it is and what to do), or it is damaged.
    """
    damaged = [_Damaged, EOFError, zlib.error, gzip.BadGzipFile]
    with open(path, "rb") as raw_file:
        file = raw_file
        try:
            kind = _compression(path, raw_file)
            if kind == "gzip":
                file = gzip.GzipFile(fileobj=raw_file)
            elif kind == "zstd":
                zstd = _zstd(path)
                damaged.append(zstd.ZstdError)
                file = zstd.ZstdFile(raw_file)
            elif kind:
                file = io.BufferedReader(_Decompressed(raw_file, _DECOMPRESSORS[kind]), _READ_BYTES)
            sample = file.read(SAMPLE_BYTES)
            file.seek(0)
            if kind:
                _check_not_nested(path, kind, sample)
            _check_not_foreign(path, sample)
            encoding = _wide_encoding(sample)
            if encoding:
                file = io.BufferedReader(_Recoded(file, path, encoding, encoding_errors), _READ_BYTES)
            elif _bad_bytes(sample) > max(_LEAST_GARBLED, _GARBLED_SHARE * len(sample)):
                raise _not_text(path)
            yield file, raw_file
        except tuple(damaged) as error:
            raise UserError(f"{path}: damaged, or cut short: {error}: fetch it again") from None


def text_suffix(path) -> str:
    """The suffix of a file's name, in lower case and without that of a compression: ``.csv`` of ``a.csv.xz``."""
    name, suffix = os.path.splitext(str(path).lower())
    return os.path.splitext(name)[1] if suffix in _SUFFIXES else suffix


class Garbled:
    """Tells a text with some bad bytes from bytes that are no text, while they are read.

    Args:
        path: of the file, for messages.
        start: the offset at which reading begins.
    """

    def __init__(self, path, start: int = 0):
        self._path = path
        self._start, self._bad = start, 0  # of the part that is not judged yet

    def add(self, raw: bytes, line: int, end: int):
        """Look at bytes that are not all UTF-8, or hold zeros; others need not be added.

        Args:
            raw: bytes.
            line: number of the line that they are of.
            end: offset of the byte after them.

        Raises:
            UserError: if a quarter of ``SAMPLE_BYTES`` or more is neither UTF-8 nor a character that texts have.
        """
        self._bad += _bad_bytes(raw)
        if end - self._start >= SAMPLE_BYTES:
            self.finish(line, end)
            self._start, self._bad = end, 0

    def finish(self, line: int, end: int):
        """Judge what is left at the end of the file: see :meth:`add`."""
        if self._bad > max(_LEAST_GARBLED_LATER, _GARBLED_SHARE * (end - self._start)):
            raise _not_text(f"{self._path}, line {line}")


def _bad_bytes(raw):
    """How many of some bytes are not UTF-8, or are control characters that no text has."""
    return len(raw) - len(raw.translate(None, _CONTROLS)) + raw.decode("utf-8", "replace").count("\ufffd")


def _not_text(where):
    return UserError(
        f"{where}: not text in UTF-8: it is in another encoding (convert it, such as with "
        "`iconv -f ENCODING -t UTF-8`), or of a format that is not read here"
    )


def _compression(path, raw_file):
    """The compression of an open file: a key of ``_COMPRESSED``, or None."""
    start = raw_file.peek(SAMPLE_BYTES)
    for kind, begins in _COMPRESSED.items():
        if begins(start):
            return kind
    named = _SUFFIXES.get(os.path.splitext(str(path).lower())[1])
    if named:
        _check_not_foreign(path, start)
        what = "plain text" if _is_text(start) else "neither that nor text"
        raise UserError(
            f"{path}: its name says {named}, but it is {what}: "
            + ("take the suffix from its name, if the text is right" if _is_text(start) else "fetch it again")
        )
    return None


def _is_text(start):
    """Whether the first bytes of a file are text in UTF-8; the last character may be incomplete."""
    try:
        return "\0" not in codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return False


def _check_not_nested(path, outer, sample):
    for kind, begins in _COMPRESSED.items():
        if begins(sample):
            raise UserError(f"{path}: {kind} within {outer}: decompress it once")


def _check_not_foreign(path, sample):
    for offset, magic, what, advice in _FOREIGN:
        if sample[offset:].startswith(magic) and not (magic in _TEXT_MAY_BEGIN_SO and _is_text(sample)):
            raise UserError(f"{path}: this is {what}, not text: {advice}")


def _wide_encoding(sample):
    """The name of the encoding of a sample in UTF-16 or UTF-32, else None.

    Without a byte order mark, text in these has many zero bytes, most of them at even or at odd places.
    """
    for mark, encoding in _BYTE_ORDER_MARKS:
        if sample.startswith(mark):
            return encoding
    sample = sample[: len(sample) // 4 * 4] or sample[: len(sample) // 2 * 2]
    units = len(sample) // 2
    zeros = sample[::2].count(0), sample[1::2].count(0)
    if sum(zeros) <= units // 20:
        return None
    candidates = ["utf-32-le", "utf-32-be"]
    if max(zeros) > 4 * min(zeros):
        candidates.append("utf-16-be" if zeros[0] > zeros[1] else "utf-16-le")
    for encoding in candidates:
        try:
            text = codecs.getincrementaldecoder(encoding)().decode(sample)
        except UnicodeDecodeError:
            continue
        if text and not any(character < " " and character not in "\t\n\v\f\r" for character in text):
            return encoding
    return None


def _zstd(path):
    """The module that reads zstd."""
    try:
        from backports import zstd
    except ImportError:
        raise UserError(f"{path}: to read zstd, run `pip install backports.zstd`") from None
    return zstd


class _Decoded(io.RawIOBase):
    """A file read from beginning to end and decoded on the way; going back begins again.

    Args:
        file: an open binary file.
    """

    def __init__(self, file):
        self._file = file
        self._restart()

    def _restart(self):
        self._file.seek(0)
        self._position, self._held = 0, b""

    def _decode_more(self):
        """The next decoded bytes: empty at the end alone."""
        raise NotImplementedError

    def readable(self):
        return True

    def seekable(self):
        return True

    def tell(self):
        return self._position

    def readinto(self, buffer):
        if not self._held:
            self._held = self._decode_more()
        read = self._held[: len(buffer)]
        buffer[: len(read)] = read
        self._held = self._held[len(read) :]
        self._position += len(read)
        return len(read)

    def seek(self, offset, whence=io.SEEK_SET):
        target = offset + (self._position if whence == io.SEEK_CUR else 0)
        if whence == io.SEEK_END:
            raise io.UnsupportedOperation("the length of decoded text is not known")
        if target < self._position:
            self._restart()
        while self._position < target and self.read(min(_READ_BYTES, target - self._position)):
            pass
        return self._position


class _Decompressed(_Decoded):
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
        self._decompressor, self._input = self._make_decompressor(), b""

    def _decode_more(self):
        decoded = b""
        while not decoded:
            if self._decompressor.eof:
                self._input = self._decompressor.unused_data.lstrip(b"\0")  # xz pads its streams with zeros
                while not self._input and (read := self._file.read(_READ_BYTES)):
                    self._input = read.lstrip(b"\0")
                if not self._input:
                    return b""
                self._decompressor = self._make_decompressor()
            elif self._decompressor.needs_input and not self._input:
                self._input = self._file.read(_READ_BYTES)
                if not self._input:
                    raise _Damaged("it ends within a compressed stream")
            given, self._input = self._input, b""
            try:
                decoded = self._decompressor.decompress(given, _READ_BYTES)
            except (lzma.LZMAError, OSError, ValueError) as error:
                raise _Damaged(str(error)) from None
        return decoded


_DECOMPRESSORS = {"xz": lambda: lzma.LZMADecompressor(memlimit=_XZ_MEMORY), "bzip2": bz2.BZ2Decompressor}


class _Recoded(_Decoded):
    """A file in UTF-16 or UTF-32 as UTF-8.

    Args:
        file: an open binary file.
        path: for messages.
        encoding: that of the file.
        encoding_errors: ``"fail"`` or ``"replace"``.
    """

    def __init__(self, file, path, encoding, encoding_errors):
        self._path, self._encoding = path, encoding
        self._errors = "strict" if encoding_errors == "fail" else "replace"
        super().__init__(file)

    def _restart(self):
        super()._restart()
        self._decoder = codecs.getincrementaldecoder(self._encoding)(self._errors)

    def _decode_more(self):
        text, raw = "", True
        while raw and not text:
            raw = self._file.read(_READ_BYTES)
            try:
                text = self._decoder.decode(raw, final=not raw)
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{self._path}: not {self._encoding.upper()}, as its beginning is: {error.reason}: "
                    "mend the file, or pass --encoding-errors replace"
                ) from None
        return text.encode("utf-8")
