"""A Wikipedia dump as WikiExtractor writes it: documents between ``<doc id=... url=... title=...>`` and ``</doc>``."""

import codecs
import html
import itertools
import re

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.sources import row_documents
from pixelgpt_fairseq.sources.bad_rows import BadRow
from pixelgpt_fairseq.sources.containers import Progress, open_text
from pixelgpt_fairseq.sources.row_documents import CorpusRow, Fields, read_line, too_long

_BEGIN = re.compile(rb"<doc((?: +[\w-]+=\"[^\"\n]*\")+) *>\s*")
_END = re.compile(rb"</doc>\s*")
_ATTRIBUTE = re.compile(r'([\w-]+)="([^"]*)"')


def is_extracted(line) -> bool:
    """Whether the first line of a file that is not empty is how WikiExtractor begins a document."""
    return bool(_BEGIN.fullmatch(line.encode("utf-8", "replace")))


def check_extracted(path, fields, line):
    """Check that the documents have the fields asked for, by the first *line* that is not empty.

    Raises:
        UserError
    """
    names = [name for name, _ in _ATTRIBUTE.findall(line)]
    if fields.text != Fields().text:
        raise UserError(f"{path}: WikiExtractor's documents have one text each: leave out --text-field")
    if fields.id and fields.id not in names:
        raise UserError(
            f"{path}: no field {fields.id!r}: it has {', '.join(map(repr, names))}: name one with --id-field"
        )


def read_extracted_rows(path, fields, encoding_errors, begin):
    """Read the documents of a file; ``&amp;`` and the like are undone, as WikiExtractor has made them.

    Args:
        path, fields, encoding_errors, begin: see :func:`~pixelgpt_fairseq.sources.json_documents.read_json_rows`.

    Yields:
        CorpusRow
    """
    with open_text(path, encoding_errors) as (file, raw_file):
        file.seek(begin.offset)  # a compressed file is read up to there
        progress, offset, document = Progress(file, raw_file), begin.offset, None
        for line in itertools.count(begin.line):
            text, length = read_line(file)
            start, offset = offset, offset + length
            if text and not start:
                text = text.removeprefix(codecs.BOM_UTF8)
            starts, error = _BEGIN.fullmatch(text or b""), None
            if document and (starts or not length):
                error = "a document without </doc>"
            elif not document and not starts and (text is None or text.strip()):
                error = "not between <doc ...> and </doc>"
            if error:
                place, number = (document.start, document.line) if document else (start, line)
                end, following = (start, line) if document else (offset, line + 1)
                where = f"{path}, line {number}"
                bad = BadRow(f"{where}: {error}")
                yield CorpusRow(where, number, place, end, progress.stored(end), bad, following)
                document = None
            if not length:
                return
            if starts:
                document = _Document(path, line, start, starts[1])
            elif document and _END.fullmatch(text or b""):
                values = document.values(fields, encoding_errors)
                where = document.where
                yield CorpusRow(where, document.line, document.start, offset, progress.stored(offset), values, line + 1)
                document = None
            elif document:
                document.add(text, length)


class _Document:
    """A document while it is read."""

    def __init__(self, path, line, start, attributes):
        self.line, self.start, self.where = line, start, f"{path}, line {line}"
        self._attributes, self._lines, self._length = attributes, [], 0

    def add(self, raw, length):
        self._length += length
        if self._length <= row_documents.MAX_ROW_BYTES:
            self._lines.append(raw)
        else:
            self._lines.clear()

    def values(self, fields, encoding_errors):
        """(text, id), or the BadRow that says why not."""
        try:
            if self._length > row_documents.MAX_ROW_BYTES:
                raise too_long(self.where)
            text, attributes = (
                raw.decode("utf-8", "strict" if encoding_errors == "fail" else "replace")
                for raw in (b"".join(self._lines), self._attributes)
            )
        except BadRow as error:
            return error
        except UnicodeDecodeError as error:
            return BadRow(f"{self.where}: byte 0x{error.object[error.start]:02x} in this document is not UTF-8")
        found = {name: html.unescape(value) for name, value in _ATTRIBUTE.findall(attributes)}
        if fields.id and fields.id not in found:
            return BadRow(f"{self.where}: no field {fields.id!r}: it has {', '.join(map(repr, found))}")
        return html.unescape(text), found.get(fields.id)
