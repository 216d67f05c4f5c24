"""Rows of the tables that users have: TSV as GLUE and XNLI spell it, CSV, JSON lines."""

import codecs
import csv
import json
from typing import NamedTuple

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.sources.containers import open_text, text_suffix

MAX_LINE_BYTES = 1 << 20
FORMATS = {".tsv": "tsv", ".txt": "tsv", ".csv": "csv", ".jsonl": "json", ".json": "json"}


class Row(NamedTuple):
    """The values asked for of one row, as text."""

    line: int  # number of the line in the file, from 1; the last one of a row that has several
    values: tuple[str, ...]


class BadRow(UserError):
    """A row that cannot be used, such as one with too few columns."""


def read_rows(path, columns, on_bad_row=None):
    """Read *columns* of a table.

    Args:
        path: a file whose name ends in ``.tsv`` (columns between tabs, quotation marks mean nothing: GLUE's way),
            ``.csv`` (quoted as spreadsheets do) or ``.jsonl`` (a JSON object on every line); compressed or in UTF-16
            where :func:`~pixelgpt_fairseq.sources.containers.open_text` reads it.
        columns: names that the file's first line (or its objects) must have; or numbers from 1, for a file without
            a header.
        on_bad_row: called with the :class:`BadRow` of a row to be passed over; None: the error is raised.

    Yields:
        Row

    Raises:
        UserError: naming the file, and the line: a column is absent, a row has more or fewer columns than the header,
            the text is not UTF-8, a line is longer than ``MAX_LINE_BYTES``.
    """
    kind, rows = _open(path)
    places = None if kind == "json" else _places(path, rows, columns)
    while True:
        try:
            line, fields = next(rows)
            if kind == "json":
                values = tuple(_json_value(path, line, fields, column) for column in columns)
            else:
                values = _values(path, line, fields, *places)
        except StopIteration:
            return
        except BadRow as error:
            if on_bad_row is None:
                raise
            on_bad_row(error)
        else:
            yield Row(line, values)


def has_column(path, column):
    """Whether a table has *column*: in its header, or, in JSON lines, in its first object."""
    _, rows = _open(path)
    _, fields = next(rows, (0, []))
    return len(fields) >= column if isinstance(column, int) else column in fields


def _open(path):
    """(format, iterator of (line, columns or JSON object))."""
    kind = FORMATS.get(text_suffix(path))
    if kind is None:
        raise UserError(
            f"{path}: cannot tell the format: the name must end in {', '.join(FORMATS)}, or in one of these and .gz, "
            ".zst, .xz or .bz2"
        )
    return kind, {"tsv": _tsv_rows, "csv": _csv_rows, "json": _JsonRows}[kind](path, _lines(path))


def _lines(path):
    """Yield (number, text) of the lines, without their ends; empty ones at the end of the file are left out."""
    try:
        with open_text(path) as (file, _):
            empty = []
            for number, raw in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES + 1), b""), start=1):
                if len(raw) > MAX_LINE_BYTES:
                    raise UserError(
                        f"{path}, line {number}: longer than {MAX_LINE_BYTES:,} bytes: is this a table of sentences?"
                    )
                if number == 1:
                    raw = raw.removeprefix(codecs.BOM_UTF8)
                try:
                    text = raw.decode("utf-8").rstrip("\r\n")
                except UnicodeDecodeError as error:
                    raise UserError(f"{path}, line {number}: byte 0x{raw[error.start]:02x} is not UTF-8") from None
                empty.append((number, text))
                if text:
                    yield from empty
                    empty.clear()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror.lower()}") from None


def _tsv_rows(path, lines):
    return ((number, text.split("\t")) for number, text in lines)


def _csv_rows(path, lines):
    reader = csv.reader((text + "\n" for _, text in lines), strict=True)
    try:
        for fields in reader:
            yield reader.line_num, fields
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: not CSV: {error}") from None


class _JsonRows:
    """Iterator over the objects of JSON lines, which goes on after a bad one."""

    def __init__(self, path, lines):
        self.path, self.lines = path, lines

    def __iter__(self):
        return self

    def __next__(self):
        number, text = next(self.lines)
        try:
            row = json.loads(text)
        except json.JSONDecodeError as error:
            raise BadRow(f"{self.path}, line {number}: not JSON: {error}") from None
        if not isinstance(row, dict):
            raise BadRow(f"{self.path}, line {number}: not a JSON object")
        return number, row


def _json_value(path, line, row, column):
    if column not in row:
        raise BadRow(f"{path}, line {line}: no {column!r}: it has {', '.join(map(repr, row))}")
    value = row[column]
    if isinstance(value, bool):
        return json.dumps(value)  # the labels true and false
    if not isinstance(value, str | int | float):
        raise BadRow(f"{path}, line {line}: {column!r} is {value!r}, not a text or a number")
    return str(value)


def _places(path, rows, columns):
    """(indices of *columns*, number of columns in the header or None)."""
    if all(isinstance(column, int) for column in columns):
        return [column - 1 for column in columns], None
    _, header = next(rows, (0, []))
    for column in columns:
        if column not in header:
            raise UserError(
                f"{path}: no column {column!r}: its first line has {', '.join(map(repr, header)) or 'nothing'}"
            )
    return [header.index(column) for column in columns], len(header)


def _values(path, line, fields, places, expected):
    if expected is not None and len(fields) != expected:
        raise BadRow(f"{path}, line {line}: {len(fields)} columns, the first line has {expected}")
    if len(fields) <= max(places):
        raise BadRow(f"{path}, line {line}: {len(fields)} columns, column {max(places) + 1} is needed")
    return tuple(fields[place] for place in places)
