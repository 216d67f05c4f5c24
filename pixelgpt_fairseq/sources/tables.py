"""Reads the rows of tables: TSV as in GLUE and XNLI, CSV, JSON lines."""

import codecs
import contextlib
import csv
import json
from typing import NamedTuple

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.sources.bad_rows import BadRow, check_whole_characters, parse_json_object
from pixelgpt_fairseq.sources.compression import text_suffix
from pixelgpt_fairseq.sources.containers import open_text

MAX_LINE_BYTES = 1 << 20
# CSV dialects: (delimiter, whether spaces may follow it). The first that yields the requested columns is used.
_CSV_SPELLINGS = ((",", False), (",", True), (";", False), (";", True), ("\t", False))
FORMATS = {".tsv": "tsv", ".txt": "tsv", ".csv": "csv", ".jsonl": "json", ".json": "json"}


class Row(NamedTuple):
    """The requested values of one row, as text."""

    line: int  # number of the line in the file, from 1; the last one of a row that has several
    values: tuple[str, ...]


def read_rows(path, columns, on_bad_row=None):
    """Read *columns* of a table.

    Args:
        path: a file whose name ends in ``.tsv`` (columns between tabs, quotation marks mean nothing: GLUE's way),
            ``.csv`` (quoted as spreadsheets do; with semicolons or tabs where commas do not give the columns) or
            ``.jsonl`` (a JSON object on every line); compressed or in UTF-16 where
            :func:`~pixelgpt_fairseq.sources.containers.open_text` reads it. Blank lines of CSV and JSON are left out.
        columns: names that the file's first line (or its objects) must have; or numbers from 1, for a file without
            a header.
        on_bad_row: called with the :class:`BadRow` of a row to be passed over; None: the error is raised.

    Yields:
        Row

    Raises:
        UserError: naming the file, and the line: a column is absent, a row has more or fewer columns than the header,
            the text is not UTF-8, a line is longer than ``MAX_LINE_BYTES``.
    """
    kind, rows = _open(path, columns)
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


def first_row(path, columns=()):
    """What the first row of a table has: its header, or, in JSON lines, the names in its first object.

    Args:
        path: see :func:`read_rows`.
        columns: those that will be asked for, which tell how CSV is spelled.

    Raises:
        UserError: if no row can be read.
    """
    _, rows = _open(path, columns)
    first_error = None
    while True:
        try:
            return list(next(rows)[1])
        except StopIteration:
            if first_error is not None:
                raise first_error from None
            return []
        except BadRow as error:
            first_error = first_error or error


def has_column(path, column):
    """Whether a table has *column*: in its header, or, in JSON lines, in its first object."""
    return _place(first_row(path, [column]), column) is not None


def _open(path, columns):
    """(format, iterator of (line, columns or JSON object))."""
    kind = FORMATS.get(text_suffix(path))
    if kind is None:
        raise UserError(
            f"{path}: cannot tell the format: the name must end in {', '.join(FORMATS)}, or in one of these and .gz, "
            ".zst, .xz or .bz2"
        )
    if kind == "csv":
        return kind, _CsvRows(path, columns)
    return kind, {"tsv": _tsv_rows, "json": _JsonRows}[kind](path, _lines(path, kind))


def read_lines(path):
    """Yield (number, text) of the lines of a text file, without their ends; empty ones at its end are left out.

    Raises:
        UserError: naming the file, and the line: it cannot be read, is not UTF-8, or is too long.
    """
    return _lines(path, "text")


def _lines(path, kind):
    """Yield (number, text) of the lines, without their ends; empty ones at the end of the file are left out."""
    try:
        with open_text(path) as (file, _):
            empty = []
            for number, raw in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES + 1), b""), start=1):
                if number == 1:
                    raw = raw.removeprefix(codecs.BOM_UTF8)
                    if kind == "json" and raw.lstrip().startswith(b"["):
                        raise UserError(
                            f"{path}: a JSON array; what is read are JSON lines, an object on each line: convert it, "
                            "for example with jq -c '.[]'"
                        )
                if len(raw) > MAX_LINE_BYTES:
                    raise UserError(
                        f"{path}, line {number}: longer than {MAX_LINE_BYTES:,} bytes: is this a table of sentences?"
                    )
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


class _CsvRows:
    """Iterator over the rows of CSV, which goes on after a bad one and leaves out blank lines."""

    def __init__(self, path, columns):
        csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE_BYTES))  # 131,072 characters unless told otherwise
        self.path = path
        delimiter, spaces = self._spelling(columns)
        lines = (text + "\n" for _, text in _lines(path, "csv"))
        self.reader = csv.reader(lines, strict=True, delimiter=delimiter, skipinitialspace=spaces)
        self.width = None  # columns of the first row

    def _spelling(self, columns):
        with contextlib.closing(_lines(self.path, "csv")) as lines:
            first = next((text for _, text in lines if text.strip()), "")
        for delimiter, spaces in _CSV_SPELLINGS:
            try:
                header = next(csv.reader([first], strict=True, delimiter=delimiter, skipinitialspace=spaces), [])
            except csv.Error:  # a field that goes on in the next line, say
                continue
            exact = all(column in header for column in columns if isinstance(column, str))
            if exact and all(_place(header, column) is not None for column in columns):
                return delimiter, spaces
        return _CSV_SPELLINGS[0]

    def __iter__(self):
        return self

    def __next__(self):
        while True:
            try:
                fields = next(self.reader)
            except csv.Error as error:
                # After these errors the reader cannot find the start of the next row.
                lost = "unexpected end" in str(error) or "field limit" in str(error)
                hint = ": is a quotation mark never closed?" if lost else ""
                raise (UserError if lost else BadRow)(
                    f"{self.path}, line {self.reader.line_num}: not CSV: {error}{hint}"
                ) from None
            blank = len(fields) <= 1 and not "".join(fields).strip()
            if not fields or (blank and self.width is not None and self.width > 1):
                continue
            self.width = self.width or len(fields)
            return self.reader.line_num, fields


class _JsonRows:
    """Iterator over the objects of JSON lines, which goes on after a bad one."""

    def __init__(self, path, lines):
        self.path, self.lines = path, lines

    def __iter__(self):
        return self

    def __next__(self):
        number, text = next((number, text) for number, text in self.lines if text.strip())
        return number, parse_json_object(text, f"{self.path}, line {number}")


def _json_value(path, line, row, column):
    if column not in row:
        raise BadRow(f"{path}, line {line}: no {column!r}: it has {', '.join(map(repr, row))}")
    value = row[column]
    if isinstance(value, bool):
        return json.dumps(value)  # the labels true and false
    if not isinstance(value, str | int | float):
        raise BadRow(f"{path}, line {line}: {column!r} is {value!r}, not a text or a number")
    check_whole_characters(str(value), f"{path}, line {line}: {column!r}")
    return str(value)


def _places(path, rows, columns):
    """(indices of *columns*, number of columns in the header or None)."""
    if all(isinstance(column, int) for column in columns):
        return [column - 1 for column in columns], None
    _, header = next(rows, (0, []))
    places = [_place(header, column) for column in columns]
    for column, place in zip(columns, places, strict=True):
        if place is None:
            raise UserError(f"{path}: no column {column!r}: {describe_header(header)}")
    return places, len(header)


def describe_header(header):
    """In words, which columns a table has."""
    return f"its first line has {', '.join(map(repr, header)) or 'nothing'}"


def _place(header, column):
    """Where *column* is in a header, whose names may stand between spaces; None if it is not there."""
    if isinstance(column, int):
        return column - 1 if len(header) >= column else None
    if column in header:
        return header.index(column)
    names = [name.strip() for name in header]
    return names.index(column) if column in names else None


def _values(path, line, fields, places, expected):
    if expected is not None and len(fields) != expected:
        raise BadRow(f"{path}, line {line}: {len(fields)} columns, the first line has {expected}")
    if len(fields) <= max(places):
        raise BadRow(f"{path}, line {line}: {len(fields)} columns, column {max(places) + 1} is needed")
    return tuple(fields[place] for place in places)
