"""Which of the formats that corpora come in a file has, told by its first bytes and by its name."""

import json
import re

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.sources.compression import text_suffix
from pixelgpt_fairseq.sources.containers import open_contents, open_text
from pixelgpt_fairseq.sources.encodings import SAMPLE_BYTES, is_text
from pixelgpt_fairseq.sources.extracted_documents import is_extracted

TEXT, JSON, PARQUET, EXTRACTED = "text", "JSON lines", "Parquet", "WikiExtractor's documents"
SUFFIXES = {
    ".txt": TEXT,
    ".text": TEXT,
    ".jsonl": JSON,
    ".ndjson": JSON,
    ".json": JSON,
    ".parquet": PARQUET,
    ".pq": PARQUET,
}
_PARQUET_START = b"PAR1"
_LOOK_BYTES = 1 << 20  # of each file
MOST_LINES = 10  # that are looked at to tell what they are
_JSON_START = re.compile(r'\s*\[?\s*\{\s*"(?:[^"\\]|\\.)*"\s*:')


def corpus_format(path) -> str:
    """The format of a file: ``TEXT``, ``JSON``, ``PARQUET`` or ``EXTRACTED``.

    A file that begins as Parquet or a document of WikiExtractor does, or whose first lines are JSON objects, is that
    whatever its name.

    Raises:
        UserError: if its name says Parquet, and it is not, or if it cannot be read.
    """
    with open_contents(path) as (file, _):
        start = file.read(SAMPLE_BYTES)
    named = SUFFIXES.get(text_suffix(path))
    if start.startswith(_PARQUET_START) and not is_text(start):
        return PARQUET
    if named == PARQUET:
        raise UserError(f"{path}: its name says Parquet, but it does not begin as such a file does: fetch it again")
    lines, cut = first_lines(path)
    if named == JSON or is_json(lines, cut):
        return JSON
    return EXTRACTED if is_extracted(next(filter(has_text, lines), "")) else TEXT


def first_lines(path):
    """The lines at the beginning of a file of text.

    Returns:
        (list of str, whether the only line is longer than what was looked at)
    """
    with open_text(path, "replace") as (file, _):
        raw = file.read(_LOOK_BYTES)
    lines = raw.decode("utf-8", "replace").removeprefix("\ufeff").split("\n")
    cut = len(raw) == _LOOK_BYTES
    if cut and len(lines) > 1:
        lines.pop()
        cut = False
    return lines, cut


def has_text(line) -> bool:
    """Whether a line is more than white space."""
    return bool(line) and not line.isspace()


def begins_as_json(lines) -> bool:
    """Whether lines begin as a JSON object, or an array of objects, does."""
    return bool(_JSON_START.match("\n".join([line for line in lines if has_text(line)][:MOST_LINES])))


def is_json(lines, cut) -> bool:
    """Whether the first lines of a file (see :func:`first_lines`) are JSON objects, or a JSON array of them.

    A text may well begin with a brace: where not all of the first lines are JSON, it is a text.
    """
    first = [line for line in lines if has_text(line)][:MOST_LINES]
    if not begins_as_json(first):
        return False
    if cut or first[0].lstrip().startswith("["):
        return True
    try:
        return all(isinstance(json.loads(line), dict) for line in first)
    except (ValueError, RecursionError):
        return False
