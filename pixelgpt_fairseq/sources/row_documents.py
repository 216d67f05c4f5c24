"""Documents that are rows with fields: JSON lines and Parquet."""

import re
from typing import NamedTuple

from pixelgpt_fairseq.sources import passages
from pixelgpt_fairseq.sources.bad_rows import BadRow, check_whole_characters, refuse_bad_row
from pixelgpt_fairseq.sources.passages import CONTROL_TO_SPACE, Passage, Position

MAX_ROW_BYTES = 16 << 20  # of a line of JSON, or of a text in Parquet
MAX_ID_CHARACTERS = 1000
_CONTROLS = re.compile(f"[{re.escape(''.join(map(chr, CONTROL_TO_SPACE)))}]")
_SURROGATES = re.compile("[\ud800-\udfff]")


class Fields(NamedTuple):
    """Which fields of a row are read; dots lead into nested ones, as in ``metadata.title``."""

    text: str = "text"
    id: str | None = None


class CorpusRow(NamedTuple):
    """A row as a reader of one format finds it.

    Attributes:
        where: of the row, for messages.
        line: its number, from 1.
        offset, end: where it begins and where the next one does: see Position.
        stored: bytes of the file that have been read, for progress.
        values: of the text and the id, as they stand there, or the error that says why there are none.
        next_line: number of the line or row at *end*.
    """

    where: str
    line: int
    offset: int
    end: int
    stored: int
    values: tuple | BadRow
    next_line: int


def row_passages(rows, fields, encoding_errors, begin, on_bad_row=refuse_bad_row):
    """Turn rows into passages: a row is a document, its lines joined by spaces as those of a text file are.

    Args:
        rows: iterator of CorpusRow, from the one at *begin* on.
        fields: Fields.
        encoding_errors: ``"fail"``, or ``"replace"`` halves of characters, which JSON can spell, by U+FFFD.
        begin: Position.
        on_bad_row: called with the BadRow of each row that cannot be used. A row of white space is none, and left out.

    Yields:
        Passage
    """
    bad_rows, in_row = begin.bad_rows, begin.in_row
    for row in rows:
        try:
            if isinstance(row.values, BadRow):
                raise row.values
            text = _text(row, fields.text, row.values[0], encoding_errors)
            name = _id(row, fields.id, row.values[1]) if fields.id else None
        except BadRow as error:
            on_bad_row(error)
            bad_rows += 1
            continue
        start, in_row = in_row, 0
        while start < len(text):
            end = _cut(text, start)
            part = text[start:end].strip()
            if end == len(text):
                after = Position(begin.file, row.end, row.next_line, stored=row.stored, bad_rows=bad_rows)
            else:
                after = Position(begin.file, row.offset, row.line, False, True, row.stored, end, bad_rows)
            if part:
                yield Passage(part, start == 0, end == len(text), after, name)
            start = end


def find_field(row, name):
    """The value of a field of nested dicts; a name may itself hold dots.

    Raises:
        KeyError: if there is none.
    """
    if isinstance(row, dict):
        if name in row:
            return row[name]
        for dot in re.finditer(r"\.", name):
            if name[: dot.start()] in row:
                return find_field(row[name[: dot.start()]], name[dot.end() :])
    raise KeyError(name)


def too_long(where):
    """The BadRow to give for a row of more than ``MAX_ROW_BYTES``."""
    return BadRow(f"{where}: longer than {MAX_ROW_BYTES:,} bytes")


def read_line(file):
    """Read a line of a file.

    Returns:
        (the line, or None if it has more than ``MAX_ROW_BYTES``; its length in bytes, 0 at the end of the file)
    """
    limit = MAX_ROW_BYTES
    raw = file.readline(limit)
    length = len(raw)
    if length < limit or raw.endswith(b"\n"):
        return raw, length
    while raw and not raw.endswith(b"\n"):
        raw = file.readline(limit)
        length += len(raw)
    return None, length


def _text(row, name, value, encoding_errors):
    """The text of a row in one line: without control characters, and without white space at its ends."""
    if not isinstance(value, str):
        raise BadRow(f"{row.where}: {name!r} is {_kind(value)}, not a text")
    if encoding_errors == "replace":
        value = _SURROGATES.sub("\ufffd", value)
    check_whole_characters(value, f"{row.where}: {name!r}")
    lines = (_CONTROLS.sub(" ", line).strip() for line in value.split("\n"))
    return " ".join(line for line in lines if line)


def _id(row, name, value):
    if not isinstance(value, str | int):
        raise BadRow(f"{row.where}: {name!r} is {_kind(value)}, not a text or a whole number")
    value = str(value)
    check_whole_characters(value, f"{row.where}: {name!r}")
    if len(value) > MAX_ID_CHARACTERS:
        raise BadRow(f"{row.where}: {name!r} is longer than {MAX_ID_CHARACTERS:,} characters")
    return _CONTROLS.sub(" ", value)


def _kind(value):
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    return "null" if value is None else f"{value!r:.40}"


def _cut(text, start):
    """Where the passage that begins at *start* ends: after a space if there is one in its second half."""
    limit = passages.MAX_PASSAGE_CHARACTERS
    if len(text) - start <= limit:
        return len(text)
    cut = 1 + text.rfind(" ", start, start + limit)
    return cut if cut > start + limit // 2 else start + limit
