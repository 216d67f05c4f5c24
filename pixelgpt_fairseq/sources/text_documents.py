"""Documents of text files: lines up to an empty one, or single lines, of any length in constant memory."""

import codecs
import re
from typing import NamedTuple

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.sources import passages
from pixelgpt_fairseq.sources.containers import Progress, open_text
from pixelgpt_fairseq.sources.encodings import Garbled
from pixelgpt_fairseq.sources.passages import CONTROL_TO_SPACE, Passage, Position

# CONTROL_TO_SPACE in two steps, ten times faster: the bytes of a line, then what only UTF-8 sequences spell.
_BYTES_TO_SPACE = bytes(32 if code in CONTROL_TO_SPACE and code < 0x80 else code for code in range(256))
_MORE_CONTROLS = re.compile(f"[{''.join(chr(code) for code in CONTROL_TO_SPACE if code >= 0x80)}]")


def text_passages(path, documents, encoding_errors, begin):
    """Read the documents of one text file, or what comes of them after the position *begin*.

    Args:
        path, documents, encoding_errors: see :func:`~pixelgpt_fairseq.sources.corpus.read_passages`.
        begin: Position.

    Yields:
        Passage
    """
    line_parts = _line_parts(path, encoding_errors, begin)
    started, blank_line = begin.in_document, False
    held, length = [], 0  # what is not yielded yet of the document, and its characters
    for part in line_parts:
        text = part.text
        if part.begins:
            blank_line, text = True, text.lstrip()
        if part.ends:
            text = text.rstrip()
        if text and not text.isspace():
            if held and length + len(text) > passages.MAX_PASSAGE_CHARACTERS:
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
    offset = begin.offset
    garbled = Garbled(path, begin.offset)
    with open_text(path, encoding_errors) as (file, raw_file):
        progress = Progress(file, raw_file)
        file.seek(begin.offset)  # a compressed file is read up to there
        while True:
            raw = remainder + file.readline(passages.MAX_PASSAGE_CHARACTERS - len(remainder))
            if not raw:
                return garbled.finish(line, offset)
            ends = len(raw) < passages.MAX_PASSAGE_CHARACTERS or raw.endswith(b"\n")
            cut = len(raw) if ends else _cut(raw)
            raw, remainder = raw[:cut], raw[cut:]
            start, offset = offset, offset + cut
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
            yield _LinePart(text, begins, ends, line, start, offset, progress.stored(offset))
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
