"""What can be told of a corpus before it is read: files that are none, formats drawn with their marks, documents."""

import json
import logging
import os
import re

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.sources.containers import open_text

logger = logging.getLogger(__name__)

_LOOK_BYTES = 1 << 20  # of each file
_MOST_LINES = 10  # that are looked at to tell what they are
_LONG_DOCUMENT = 100  # lines; with no empty one between them, they may be sentences that do not belong together
_FEW_FILES = 10  # more than that are documents of their own
_JSON_START = re.compile(r'\s*\[?\s*\{\s*"(?:[^"\\]|\\.)*"\s*:')
_MARKUP_START = re.compile(r"\s*<(?:\?xml|!doctype|html|mediawiki|doc|tei)\b|WARC/1", re.IGNORECASE)


def check_inputs(paths, documents="blank-line"):
    """Check that *paths* are files of text, and warn of what looks like a misunderstanding.

    Args:
        paths: of a corpus.
        documents: see :func:`~pixelgpt_fairseq.sources.corpus.read_passages`.

    Raises:
        UserError: naming the first file that is absent, empty, no text, damaged at its beginning, or JSON.
    """
    found_lines = found_documents = 0
    for path in paths:
        if not os.path.exists(path):
            raise UserError(f"{path}: no such file")
        if not os.path.isfile(path):
            raise UserError(f"{path}: not a file: name files of text, such as FOLDER/*.txt")
        if not os.path.getsize(path):
            raise UserError(f"{path}: empty")
        with open_text(path, "replace") as (file, _):
            raw = file.read(_LOOK_BYTES)
        lines = raw.decode("utf-8", "replace").removeprefix("\ufeff").split("\n")
        cut = len(raw) == _LOOK_BYTES
        if cut and len(lines) > 1:
            lines.pop()
            cut = False
        _check_format(path, [line for line in lines if _has_text(line)][:_MOST_LINES], cut)
        found_lines += sum(map(_has_text, lines))
        found_documents += sum(
            _has_text(line) and not (number and _has_text(lines[number - 1])) for number, line in enumerate(lines)
        )
    few = found_lines >= _LONG_DOCUMENT * max(1, found_documents)
    if documents == "blank-line" and few and len(paths) <= _FEW_FILES:
        logger.warning(
            "%s: the first %s lines are %s: an empty line ends a document, and the lines before it are joined; "
            "if every line is a document, pass --documents line",
            paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more",
            f"{found_lines:,}",
            "1 document" if found_documents == 1 else f"{found_documents:,} documents",
        )


def _has_text(line):
    return bool(line) and not line.isspace()


def _check_format(path, first, cut):
    """Refuse JSON lines and arrays of objects, and warn of what else is drawn with its marks.

    A text may well begin with a brace: where not all of the first lines are JSON, it is a text.

    Args:
        path: of the file.
        first: its first lines that are not empty.
        cut: whether the only line is longer than what was looked at.
    """
    if not first:
        return
    keys = _json_keys(first, cut)
    if keys is not None:
        name = next((key for key in ("text", "content", "sentence") if key in keys), "text")
        known = f" (with {_listed(keys)})" if keys else ""
        raise UserError(
            f"{path}: this is JSON{known}, and would be drawn with all its braces: "
            f"write its texts to a text file, such as with `jq -r '.{name} + \"\\n\"'`, and name that"
        )
    format_name = "JSON" if _JSON_START.match("\n".join(first)) else "markup" if _MARKUP_START.match(first[0]) else None
    if format_name:
        logger.warning("%s: this looks like %s, which is drawn as it stands: extract its text", path, format_name)


def _json_keys(first, cut):
    """The keys of the first of JSON's objects, as far as they are known; None if the lines are not JSON.

    See :func:`_check_format` for the arguments.
    """
    starts = _JSON_START.match("\n".join(first))
    if not starts:
        return None
    if cut or first[0].lstrip().startswith("["):
        return []
    try:
        objects = [json.loads(line) for line in first]
    except (ValueError, RecursionError):
        return None
    return list(objects[0]) if all(isinstance(value, dict) for value in objects) else None


def _listed(keys):
    return ", ".join(key[:20] for key in keys[:5]) + (", ..." if len(keys) > 5 else "")
