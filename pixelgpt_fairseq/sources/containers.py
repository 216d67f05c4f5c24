"""Files as people keep them: compressed or not, in one encoding of Unicode or another."""

import contextlib
import io

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.sources import sequential
from pixelgpt_fairseq.sources.compression import check_not_nested, compression_of, open_decompressed
from pixelgpt_fairseq.sources.encodings import SAMPLE_BYTES, Recoded, check_not_garbled, wide_encoding
from pixelgpt_fairseq.sources.foreign_formats import check_not_foreign
from pixelgpt_fairseq.sources.standard_input import open_input

_LOOK_EVERY = 1 << 20  # bytes of text


@contextlib.contextmanager
def open_contents(path):
    """Open a file of any kind, whatever it is compressed with.

    Args:
        path: of a file, plain or compressed by gzip, zstd, xz or bzip2; ``"-"`` is standard input.

    Yields:
        (file, raw_file): a buffered file of the decompressed bytes (``seek`` goes to any of them), and the file on the
        disk, whose ``tell`` shows progress; both are the same where nothing is decompressed.

    Raises:
        UserError: naming the file, if it is damaged.
    """
    with open_input(path) as raw_file:
        kind = compression_of(path, raw_file)
        if not kind:
            yield raw_file, raw_file
            return
        file, errors = open_decompressed(path, raw_file, kind)
        try:
            with file:  # closed, it gives its memory back
                sample = file.read(SAMPLE_BYTES)
                file.seek(0)
                check_not_nested(path, kind, sample)
                yield file, raw_file
        except errors as error:
            raise UserError(f"{path}: damaged, or cut short: {error}: fetch it again") from None


@contextlib.contextmanager
def open_text(path, encoding_errors="fail"):
    """Open a file of text, whatever it is compressed with, to read its bytes as UTF-8.

    Args:
        path: text in UTF-8, UTF-16 or UTF-32: see :func:`open_contents`.
        encoding_errors: what to do with bytes that are not UTF-16 or UTF-32 where the file is in one of these:
            ``"fail"``, or ``"replace"`` them. Those that are not UTF-8 are left for the reader to find.

    Yields:
        (file, raw_file): a buffered file whose bytes are UTF-8 (``seek`` goes to any byte of them), and the file on
        the disk, whose ``tell`` shows progress; both are the same where nothing is decoded.

    Raises:
        UserError: naming the file: it is not text (then it says what it is and what to do), or it is damaged.
    """
    with open_contents(path) as (file, raw_file):
        sample = file.read(SAMPLE_BYTES)
        file.seek(0)
        check_not_foreign(path, sample)
        encoding = wide_encoding(sample)
        if encoding:
            file = io.BufferedReader(Recoded(file, path, encoding, encoding_errors), sequential.READ_BYTES)
        else:
            check_not_garbled(path, sample)
        yield file, raw_file


class Progress:
    """How much of a file on the disk has been read, without asking the operating system at every line.

    Args:
        file, raw_file: what :func:`open_text` yields.
    """

    def __init__(self, file, raw_file):
        self._raw_file, self._is_plain = raw_file, file is raw_file
        self._stored, self._next_look = 0, 0

    def stored(self, offset):
        """Bytes of the file on the disk, when the byte before *offset* in its text was the last that was read."""
        if self._is_plain:
            return offset
        if offset >= self._next_look:
            self._stored, self._next_look = self._raw_file.tell(), offset + _LOOK_EVERY
        return self._stored
