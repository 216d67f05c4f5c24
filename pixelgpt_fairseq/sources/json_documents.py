"""JSON lines as a corpus: an object on every line, of which one field is the text."""

import codecs
import itertools

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.sources.bad_rows import BadRow, parse_json_object
from pixelgpt_fairseq.sources.containers import Progress, open_text
from pixelgpt_fairseq.sources.corpus_formats import MOST_LINES
from pixelgpt_fairseq.sources.row_documents import CorpusRow, find_field, read_line, too_long

_CONVERT = "what is read are JSON lines, an object on each line: convert it, such as with"


def read_json_rows(path, fields, encoding_errors, begin):
    """Read the rows of a file of JSON lines; blank lines are left out.

    Args:
        path: see :func:`~pixelgpt_fairseq.sources.containers.open_text`.
        fields: Fields.
        encoding_errors: ``"fail"``, or ``"replace"`` bytes that are not UTF-8 by U+FFFD.
        begin: Position of the first row to read.

    Yields:
        CorpusRow
    """
    with open_text(path, encoding_errors) as (file, raw_file):
        file.seek(begin.offset)  # a compressed file is read up to there
        progress, offset = Progress(file, raw_file), begin.offset
        for line in itertools.count(begin.line):
            raw, length = read_line(file)
            if not length:
                return
            start, offset = offset, offset + length
            if raw is not None and not raw.strip():
                continue
            where = f"{path}, line {line}"
            try:
                if raw is None:
                    raise too_long(where)
                if not start:
                    raw = raw.removeprefix(codecs.BOM_UTF8)
                values = _values(raw, where, fields, encoding_errors)
            except BadRow as error:
                values = error
            yield CorpusRow(where, line, start, offset, progress.stored(offset), values, line + 1)


def check_json(path, fields, lines, cut):
    """Check that a file is JSON lines with the fields asked for, as far as its first lines tell.

    Args:
        path: of the file.
        fields: Fields.
        lines: the first lines of it that are not empty.
        cut: whether the only line is longer than that.

    Raises:
        UserError
    """
    first = lines[0].lstrip() if lines else ""
    if first.startswith("["):
        raise UserError(f"{path}: a JSON array; {_CONVERT} `jq -c '.[]'`")
    if cut or not lines:
        return
    found, error = [], None
    for line in lines[:MOST_LINES]:
        try:
            found.append(parse_json_object(line, path))
        except BadRow as problem:
            error = error or problem
    if not found:
        if first.startswith("{"):
            raise UserError(f"{error}; {_CONVERT} `jq -c .`, or fetch it again")
        raise UserError(f"{path}: not JSON lines, as its name says: give it a name that ends in .txt if it is text")
    for option, name in (("--text-field", fields.text), ("--id-field", fields.id)):
        if name and not any(_has(row, name) for row in found):
            raise UserError(f"{path}: no field {name!r}: it has {_listed(found[0])}: name one with {option}")


def _values(raw, where, fields, encoding_errors):
    try:
        text = raw.decode("utf-8", "strict" if encoding_errors == "fail" else "replace")
    except UnicodeDecodeError as error:
        raise BadRow(f"{where}: byte 0x{raw[error.start]:02x} is not UTF-8") from None
    row = parse_json_object(text, where)
    try:
        return find_field(row, fields.text), find_field(row, fields.id) if fields.id else None
    except KeyError:
        lacking = next(name for name in (fields.text, fields.id) if not _has(row, name))
        raise BadRow(f"{where}: no field {lacking!r}: it has {_listed(row)}") from None


def _has(row, name):
    try:
        find_field(row, name)
    except KeyError:
        return False
    return True


def _listed(keys):
    return ", ".join(repr(key[:20]) for key in list(keys)[:10]) + (", ..." if len(keys) > 10 else "") or "nothing"
