"""Text in UTF-8, UTF-16 and UTF-32, and bytes that are no text."""

import codecs

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.sources import sequential
from pixelgpt_fairseq.sources.sequential import Decoded

SAMPLE_BYTES = 1 << 16  # so much of a file is looked at to tell what it is

_BYTE_ORDER_MARKS = (  # UTF-32's first: its bytes begin with those of UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CONTROLS = bytes({*range(0x20), 0x7F} - set(b"\t\n\v\f\r\x1b"))
_LEAST_GARBLED, _LEAST_GARBLED_LATER = 8, 1024  # bytes: at the beginning of a file, and within it
_GARBLED_SHARE = 0.25


def is_text(start):
    """Whether the first bytes of a file are text in UTF-8; the last character may be incomplete."""
    try:
        return "\0" not in codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return False


def wide_encoding(sample):
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


def check_not_garbled(path, sample):
    """Refuse a file whose beginning is no text in UTF-8.

    Raises:
        UserError
    """
    if _bad_bytes(sample) > max(_LEAST_GARBLED, _GARBLED_SHARE * len(sample)):
        raise _not_text(path)


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


class Recoded(Decoded):
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
            raw = self._file.read(sequential.READ_BYTES)
            try:
                text = self._decoder.decode(raw, final=not raw)
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{self._path}: not {self._encoding.upper()}, as its beginning is: {error.reason}: "
                    "mend the file, or pass --encoding-errors replace"
                ) from None
        return text.encode("utf-8")
