"""Reading a corpus as documents of any length, in constant memory."""

import zlib

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.sources.bad_rows import refuse_bad_row
from pixelgpt_fairseq.sources.corpus_formats import EXTRACTED, JSON, PARQUET, TEXT, corpus_format
from pixelgpt_fairseq.sources.extracted_documents import read_extracted_rows
from pixelgpt_fairseq.sources.json_documents import read_json_rows
from pixelgpt_fairseq.sources.parquet_documents import read_parquet_rows
from pixelgpt_fairseq.sources.passages import Position
from pixelgpt_fairseq.sources.row_documents import Fields, row_passages
from pixelgpt_fairseq.sources.standard_input import STANDARD_INPUT
from pixelgpt_fairseq.sources.text_documents import text_passages

_ROWS = {JSON: read_json_rows, PARQUET: read_parquet_rows, EXTRACTED: read_extracted_rows}


def read_passages(
    paths,
    documents="blank-line",
    encoding_errors="fail",
    start=Position(),  # noqa: B008
    fields=Fields(),  # noqa: B008
    on_bad_row=refuse_bad_row,
):
    """Read the documents of *paths*, one file after the other.

    Args:
        paths: files of text, JSON lines, Parquet or WikiExtractor's documents, as
            :func:`~pixelgpt_fairseq.sources.corpus_inputs.find_inputs` finds them.
        documents: what a document of a text file is. ``"blank-line"``: lines up to the next empty line, or to the end
            of the file, joined by spaces; ``"line"``: every line that is not empty. A row of the other formats is
            always one document.
        encoding_errors: what to do with bytes that are not UTF-8: ``"fail"``, or ``"replace"`` them by U+FFFD.
        start: where to begin: what comes then is what came after the passage that this position is from. Standard
            input is read up to there.
        fields: Fields of the rows.
        on_bad_row: called with the BadRow of each row that cannot be used; by default it is raised.

    Yields:
        Passage

    Raises:
        UserError: naming the file, and the line for invalid UTF-8; for a file of white space alone, one that cannot be
            decompressed, and one that is of none of the formats; if there is nothing but bad rows.
    """
    bad_rows, found = start.bad_rows, start != Position()

    def count(error):
        nonlocal bad_rows
        on_bad_row(error)
        bad_rows += 1

    for number, path in enumerate(paths):
        if number < start.file:
            continue
        begin = start if number == start.file else Position(number, bad_rows=bad_rows)
        read = _read_standard_input if path == STANDARD_INPUT else _read_file
        passage = None
        for passage in read(path, documents, encoding_errors, begin, fields, count):
            yield passage
        found = found or passage is not None
        nothing_read = passage is None and not (begin.offset or begin.in_row)
        if nothing_read and bad_rows == begin.bad_rows:
            raise UserError(f"{path}: no text: only white space")
    if not found:
        raise UserError(f"{', '.join(map(str, paths[:3]))}: no text: all {bad_rows:,} rows are bad")


def _read_file(path, documents, encoding_errors, begin, fields, on_bad_row):
    kind = corpus_format(path)
    if kind == TEXT:
        for passage in text_passages(path, documents, encoding_errors, begin):
            if begin.bad_rows:
                passage = passage._replace(after=passage.after._replace(bad_rows=begin.bad_rows))
            yield passage
    else:
        rows = _ROWS[kind](path, fields, encoding_errors, begin)
        yield from row_passages(rows, fields, encoding_errors, begin, on_bad_row)


def _read_standard_input(path, documents, encoding_errors, begin, fields, on_bad_row):
    """Read from the beginning, and yield what comes after *begin*: nobody can go to a place in standard input."""
    skipping, digest, counted_before = begin.digest != 0, 0, begin.bad_rows

    def count(error):
        if not skipping:
            on_bad_row(error)

    for passage in _read_file(path, documents, encoding_errors, Position(begin.file), fields, count):
        digest = zlib.crc32(passage.text.encode(), digest) or 1
        after = passage.after
        if not skipping:
            yield passage._replace(after=after._replace(digest=digest, bad_rows=after.bad_rows + counted_before))
        elif _place(after) >= _place(begin):
            if digest != begin.digest or _place(after) != _place(begin):
                raise _other_input()
            skipping, counted_before = False, begin.bad_rows - after.bad_rows
    if skipping:
        raise _other_input()


def _place(position):
    return position.offset, position.in_line, position.in_row


def _other_input():
    return UserError(
        "standard input is not what the unfinished run has read: repeat it with the same, or pass --overwrite"
    )
