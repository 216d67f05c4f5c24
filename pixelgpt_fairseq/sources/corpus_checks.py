"""What can be told of a corpus before it is read: files that are none, formats drawn with their marks, documents."""

import logging
import os
import re

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.sources.containers import open_contents
from pixelgpt_fairseq.sources.corpus_formats import (
    EXTRACTED,
    JSON,
    PARQUET,
    begins_as_json,
    corpus_format,
    first_lines,
    has_text,
)
from pixelgpt_fairseq.sources.extracted_documents import check_extracted
from pixelgpt_fairseq.sources.json_documents import check_json
from pixelgpt_fairseq.sources.parquet_documents import check_parquet
from pixelgpt_fairseq.sources.row_documents import Fields
from pixelgpt_fairseq.sources.standard_input import STANDARD_INPUT

logger = logging.getLogger(__name__)

_LONG_DOCUMENT = 100  # lines; with no empty one between them, they may be sentences that do not belong together
_FEW_FILES = 10  # more than that are documents of their own
_MARKUP_START = re.compile(r"\s*<(?:\?xml|!doctype|html|mediawiki|doc|tei)\b|WARC/1", re.IGNORECASE)


def check_inputs(paths, documents="blank-line", fields=Fields()):  # noqa: B008
    """Check that *paths* are files of text, JSON lines or Parquet, and warn of what looks like a misunderstanding.

    Args:
        paths: of a corpus.
        documents, fields: see :func:`~pixelgpt_fairseq.sources.corpus.read_passages`.

    Raises:
        UserError: naming the first file that is absent, empty, damaged at its beginning, of none of the formats, or
            without the fields.
    """
    found_lines = found_documents = 0
    texts = []
    for path in paths:
        _check_there(path)
        kind = corpus_format(path)
        if kind == PARQUET:
            check_parquet(path, fields)
            continue
        lines, cut = first_lines(path)
        with_text = [line for line in lines if has_text(line)]
        if kind == JSON:
            check_json(path, fields, with_text, cut)
            continue
        if kind == EXTRACTED:
            check_extracted(path, fields, with_text[0])
            continue
        texts.append(path)
        _warn_of_marks(path, with_text)
        found_lines += len(with_text)
        found_documents += sum(
            has_text(line) and not (number and has_text(lines[number - 1])) for number, line in enumerate(lines)
        )
    if fields != Fields() and len(texts) == len(paths):
        raise UserError(f"{texts[0]}: a text, which has no fields: leave out --text-field and --id-field")
    few = found_lines >= _LONG_DOCUMENT * max(1, found_documents)
    if documents == "blank-line" and few and len(texts) <= _FEW_FILES:
        logger.warning(
            "%s: the first %s lines are %s: an empty line ends a document, and the lines before it are joined; "
            "if every line is a document, pass --documents line",
            texts[0] if len(texts) == 1 else f"{texts[0]} and {len(texts) - 1} more",
            f"{found_lines:,}",
            "1 document" if found_documents == 1 else f"{found_documents:,} documents",
        )


def _check_there(path):
    if path == STANDARD_INPUT:
        with open_contents(path) as (file, _):
            if not file.peek(1):
                raise UserError("standard input: empty")
    elif not os.path.exists(path):
        raise UserError(f"{path}: no such file")
    elif not os.path.isfile(path):
        raise UserError(f"{path}: not a file: name files, folders or patterns such as FOLDER/*.txt")
    elif not os.path.getsize(path):
        raise UserError(f"{path}: empty")


def _warn_of_marks(path, with_text):
    """Warn of a text that is drawn with the marks of its format, by its lines that are not empty."""
    is_markup = with_text and _MARKUP_START.match(with_text[0])
    format_name = "JSON" if begins_as_json(with_text) else "markup" if is_markup else None
    if format_name:
        logger.warning("%s: this looks like %s, which is drawn as it stands: extract its text", path, format_name)
