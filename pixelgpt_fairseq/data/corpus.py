"""Reading a text corpus as documents of any length, in constant memory."""

import codecs
import os
from typing import NamedTuple

from pixelgpt_fairseq.errors import UserError

# A longer document arrives as several passages, so that memory does not depend on the length of lines or documents.
MAX_PASSAGE_CHARACTERS = 1 << 20

# Control characters have no look: in a corpus they are spaces.
CONTROL_TO_SPACE = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029], " ")


class Passage(NamedTuple):
    """A document, or a part of one too long to hold: never empty, without white space at its ends."""

    text: str
    starts_document: bool
    ends_document: bool


def read_passages(paths, documents="blank-line", encoding_errors="fail", on_bytes=None):
    """Read the documents of *paths*, one file after the other.

    Args:
        paths: UTF-8 text files.
        documents: ``"blank-line"``: lines up to the next empty line, or to the end of the file, are a document, joined
            by spaces; ``"line"``: every line that is not empty is one.
        encoding_errors: what to do with bytes that are not UTF-8: ``"fail"``, or ``"replace"`` them by U+FFFD.
        on_bytes: called with the number of bytes read, for progress.

    Yields:
        Passage

    Raises:
        UserError: naming the file, and the line for invalid UTF-8; for a file of white space alone.
    """
    for path in paths:
        passage = None
        for passage in _passages(_line_parts(path, encoding_errors, on_bytes), documents):
            yield passage
        if passage is None:
            raise UserError(f"{path}: no text: only white space")


def _passages(line_parts, documents):
    started = False
    held, length = [], 0  # what is not yielded yet of the document, and its characters
    for part in line_parts:
        text = part.text.translate(CONTROL_TO_SPACE)
        if part.begins:
            blank_line, text = True, text.lstrip()
        if part.ends:
            text = text.rstrip()
        if text.strip():
            if held and length + len(text) > MAX_PASSAGE_CHARACTERS:
                yield Passage("".join(held).strip(), not started, False)
                started, held, length = True, [], 0
            if held and part.begins:
                text = f" {text}"
            held.append(text)
            length += len(text)
            blank_line = False
        if part.ends and held and (blank_line or documents == "line"):
            yield Passage("".join(held).strip(), not started, True)
            started, held, length = False, [], 0
    if held:
        yield Passage("".join(held).strip(), not started, True)


def check_inputs(paths):
    """Check that *paths* are files that hold something.

    Raises:
        UserError: naming the first that does not.
    """
    for path in paths:
        if not os.path.exists(path):
            raise UserError(f"{path}: no such file")
        if not os.path.isfile(path):
            raise UserError(f"{path}: not a file: name files of text, such as FOLDER/*.txt")
        if not os.path.getsize(path):
            raise UserError(f"{path}: empty")


class _LinePart(NamedTuple):
    text: str
    begins: bool  # a line
    ends: bool


def _line_parts(path, encoding_errors, on_bytes):
    """Yield the lines of *path*, a line of more than ``MAX_PASSAGE_CHARACTERS`` bytes in parts."""
    errors = "strict" if encoding_errors == "fail" else "replace"
    number, begins, remainder = 1, True, b""
    with open(path, "rb") as file:
        while True:
            read = file.readline(MAX_PASSAGE_CHARACTERS)
            if on_bytes:
                on_bytes(len(read))
            raw, remainder = remainder + read, b""
            if not raw:
                return
            ends = len(read) < MAX_PASSAGE_CHARACTERS or read.endswith(b"\n")
            if not ends:
                cut = _cut(raw)
                raw, remainder = raw[:cut], raw[cut:]
            if number == 1 and begins:
                raw = raw.removeprefix(codecs.BOM_UTF8)
            try:
                yield _LinePart(raw.decode("utf-8", errors), begins, ends)
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{path}, line {number}: byte 0x{raw[error.start]:02x} is not UTF-8: "
                    "mend the file, or pass --encoding-errors replace"
                ) from None
            begins = ends
            number += ends


def _cut(raw):
    """Where to cut the bytes of an unfinished line: after its last white space, else between two characters."""
    cut = 1 + max(raw.rfind(b" "), raw.rfind(b"\t"))
    if cut > len(raw) // 2:
        return cut
    for cut in range(len(raw) - 1, len(raw) - 4, -1):
        if raw[cut] & 0xC0 != 0x80:  # the first byte of the last character, which may be incomplete
            return cut
    return len(raw)
