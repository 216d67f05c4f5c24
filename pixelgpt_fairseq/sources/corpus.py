"""Reading a text corpus as documents of any length, in constant memory."""

import codecs
import re
from typing import NamedTuple

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.sources.containers import open_text
from pixelgpt_fairseq.sources.encodings import Garbled

# A longer document arrives as several passages, so that memory does not depend on the length of lines or documents.
MAX_PASSAGE_CHARACTERS = 1 << 20

# Control characters have no look: in a corpus they are spaces.
CONTROL_TO_SPACE = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029], " ")
# The same in two steps, ten times faster: the bytes of a line, then what only UTF-8 sequences spell.
_BYTES_TO_SPACE = bytes(32 if code in CONTROL_TO_SPACE and code < 0x80 else code for code in range(256))
_MORE_CONTROLS = re.compile(f"[{''.join(chr(code) for code in CONTROL_TO_SPACE if code >= 0x80)}]")

_LOOK_EVERY = 1 << 20  # bytes


class Position(NamedTuple):
    """Where reading goes on after a passage: all that the reader must know to do so.

    Attributes:
        file: index of the path.
        offset: of the next byte of its text, which is not that in the file if the file is compressed.
        line: number of the line there.
        in_line, in_document: whether this line, this document, has begun before it.
        stored: bytes of the file that have been read, for progress.
    """

    file: int = 0
    offset: int = 0
    line: int = 1
    in_line: bool = False
    in_document: bool = False
    stored: int = 0


class Passage(NamedTuple):
    """A document, or a part of one too long to hold: never empty, without white space at its ends."""

    text: str
    starts_document: bool
    ends_document: bool
    after: Position = Position()


def read_passages(paths, documents="blank-line", encoding_errors="fail", start=Position()):  # noqa: B008
    """Read the documents of *paths*, one file after the other.

    Args:
        paths: text files as :func:`~pixelgpt_fairseq.sources.containers.open_text` reads them.
        documents: ``"blank-line"``: lines up to the next empty line, or to the end of the file, are a document, joined
            by spaces; ``"line"``: every line that is not empty is one.
        encoding_errors: what to do with bytes that are not UTF-8: ``"fail"``, or ``"replace"`` them by U+FFFD.
        start: where to begin: what comes then is what came after the passage that this position is from.

    Yields:
        Passage

    Raises:
        UserError: naming the file, and the line for invalid UTF-8; for a file of white space alone, one that cannot be
            decompressed, and one that is no text.
    """
    for number, path in enumerate(paths):
        if number < start.file:
            continue
        begin = start if number == start.file else Position(number)
        passage = None
        for passage in _passages(_line_parts(path, encoding_errors, begin), documents, begin):
            yield passage
        if passage is None and not begin.offset:
            raise UserError(f"{path}: no text: only white space")


def _passages(line_parts, documents, begin):
    started, blank_line = begin.in_document, False
    held, length = [], 0  # what is not yielded yet of the document, and its characters
    for part in line_parts:
        text = part.text
        if part.begins:
            blank_line, text = True, text.lstrip()
        if part.ends:
            text = text.rstrip()
        if text and not text.isspace():
            if held and length + len(text) > MAX_PASSAGE_CHARACTERS:
                here = Position(begin.file, part.offset, part.line, not part.begins, True, part.stored)
                yield Passage("".join(held).strip(), not started, False, here)
                started, held, length = True, [], 0
            if held and part.begins:
                text = f" {text}"
            held.append(text)
            length += len(text)
            blank_line = False
        if part.ends and held and (blank_line or documents == "line"):
            end = Position(begin.file, part.end, part.line + 1, stored=part.stored)
            yield Passage("".join(held).strip(), not started, True, end)
            started, held, length = False, [], 0
    if held:
        end = Position(begin.file, part.end, part.line + part.ends, stored=part.stored)
        yield Passage("".join(held).strip(), not started, True, end)


class _LinePart(NamedTuple):
    text: str  # control characters are spaces
    begins: bool  # a line
    ends: bool
    line: int
    offset: int
    end: int
    stored: int


def _line_parts(path, encoding_errors, begin):
    """Yield the lines of *path*, a line of more than ``MAX_PASSAGE_CHARACTERS`` bytes in parts.

    A part depends on where it begins alone, so that reading can begin there again.
    """
    line, begins, remainder = begin.line, not begin.in_line, b""
    offset, stored, next_look = begin.offset, begin.stored, 0
    garbled = Garbled(path, begin.offset)
    with open_text(path, encoding_errors) as (file, raw_file):
        file.seek(begin.offset)  # a compressed file is read up to there
        while True:
            raw = remainder + file.readline(MAX_PASSAGE_CHARACTERS - len(remainder))
            if not raw:
                return garbled.finish(line, offset)
            ends = len(raw) < MAX_PASSAGE_CHARACTERS or raw.endswith(b"\n")
            cut = len(raw) if ends else _cut(raw)
            raw, remainder = raw[:cut], raw[cut:]
            start, offset = offset, offset + cut
            if file is raw_file:
                stored = offset
            elif offset >= next_look:
                stored, next_look = raw_file.tell(), offset + _LOOK_EVERY
            if not start:
                raw = raw.removeprefix(codecs.BOM_UTF8)
            try:
                text = raw.translate(_BYTES_TO_SPACE).decode("utf-8")
                if 0 in raw:
                    garbled.add(raw, line, offset)
            except UnicodeDecodeError as error:
                garbled.add(raw, line, offset)
                if encoding_errors == "fail":
                    raise UserError(
                        f"{path}, line {line}: byte 0x{raw[error.start]:02x} is not UTF-8: mend the file, convert it "
                        "(such as with `iconv -f ENCODING -t UTF-8`), or pass --encoding-errors replace"
                    ) from None
                text = raw.translate(_BYTES_TO_SPACE).decode("utf-8", "replace")
            if not text.isascii():
                text = _MORE_CONTROLS.sub(" ", text)
            yield _LinePart(text, begins, ends, line, start, offset, stored)
            begins = ends
            line += ends


def _cut(raw):
    """Where to cut the bytes of an unfinished line: after its last white space, else between two characters."""
    cut = 1 + max(raw.rfind(b" "), raw.rfind(b"\t"))
    if cut > len(raw) // 2:
        return cut
    for cut in range(len(raw) - 1, len(raw) - 4, -1):
        if raw[cut] & 0xC0 != 0x80:  # the first byte of the last character, which may be incomplete
            return cut
    return len(raw)
