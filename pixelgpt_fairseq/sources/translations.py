"""Sources and their targets: two columns of a table, or two files of which every line belongs to that of the other."""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.sources.bad_rows import BadRow, refuse_bad_row
from pixelgpt_fairseq.sources.examples import clean
from pixelgpt_fairseq.sources.tables import read_lines, read_rows

_ABSENT = object()


class Translation(NamedTuple):
    """A text and what is to be made of it: its transcription, transliteration, translation or summary."""

    source: str
    target: str


def read_table(path, columns, on_bad_row=None) -> Iterator[Translation]:
    """Read two columns of a table.

    Args:
        path: see :func:`~pixelgpt_fairseq.sources.tables.read_rows`.
        columns: source and target: names, or numbers from 1 for a file without a header.
        on_bad_row: called with the error of each row to be passed over (wrong columns, an empty text); None: the error
            is raised.

    Raises:
        UserError: naming the file and line.
    """
    refuse = on_bad_row or refuse_bad_row
    for line, texts in read_rows(path, columns, refuse):
        found = Translation(*map(clean, texts))
        empty = [str(column) for column, text in zip(columns, found, strict=True) if not text]
        if empty:
            refuse(BadRow(f"{path}, line {line}: empty text (column {empty[0]})"))
        else:
            yield found


def read_parallel(source_path, target_path, on_bad_row=None) -> Iterator[Translation]:
    """Read two parallel text files, in UTF-8 or as :func:`~pixelgpt_fairseq.sources.containers.open_text` reads them.

    Args:
        source_path, target_path: files with as many lines.
        on_bad_row: called with the error of each line to be passed over, which is empty in one of the two files; None:
            the error is raised. Lines that are empty in both are left out.

    Raises:
        UserError: naming the file and line, or both files where they differ in length.
    """
    refuse = on_bad_row or refuse_bad_row
    lines = (read_lines(path) for path in (source_path, target_path))
    for number, both in enumerate(itertools.zip_longest(*lines, fillvalue=_ABSENT), start=1):
        if _ABSENT in both:
            longer, shorter = (source_path, target_path) if both[1] is _ABSENT else (target_path, source_path)
            raise UserError(
                f"{shorter} has {number - 1:,} lines, {longer} has more: the two are not parallel: each line of one "
                "file belongs to the same line of the other"
            )
        found = Translation(*(clean(text) for _, text in both))
        if found.source and found.target:
            yield found
        elif found.source or found.target:
            path = target_path if found.source else source_path
            refuse(BadRow(f"{path}, line {number}: empty, but that of the other file is not"))
