"""XNLI: its fifteen languages, the names of its splits in a data folder, and the reader of its own files.

In a data folder every language has splits of its own: ``train.en``, ``valid.sw``, ``test.zh``.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.sources.bad_rows import refuse_bad_row
from pixelgpt_fairseq.sources.examples import SentenceTask, label_column_of, read_examples
from pixelgpt_fairseq.sources.tables import read_rows

# In the order of the paper's tables.
LANGUAGES = tuple("en ar bg de el fr hi ru es sw th tr ur vi zh".split())
SOURCE_LANGUAGE = "en"  # the one that cross-lingual transfer trains on
SPLITS = TRAIN, VALID, TEST = ("train", "valid", "test")
XNLI = SentenceTask("xnli", ("entailment", "neutral", "contradiction"), ("accuracy",), "average_accuracy", 2)
# The training files have a word of their own.
SPELLINGS = {"contradictory": "contradiction"}

_FOLDERS = ("", "XNLI-1.0", "XNLI-MT-1.0/multinli", "multinli")  # where the files lie in the published archives
_LANGUAGE_COLUMN, _LABEL_COLUMN = "language", "gold_label"


class Source(NamedTuple):
    """The file of a language's split, and where in it the examples stand."""

    path: Path
    columns: tuple[str, str]
    label: str | None  # None: its rows have no labels
    language_column: str | None  # None: all rows are of one language


def split_name(split, language):
    """Name of a language's split in a data folder: ``valid.sw``."""
    return f"{split}.{language}"


def languages_of(folder, split) -> list[str]:
    """The languages of which a DataFolder has the split, in the paper's order."""
    there = set(folder.splits())
    return [language for language in LANGUAGES if split_name(split, language) in there]


def parse_languages(text, option="--languages") -> list[str]:
    """Languages named with commas between them, in the paper's order.

    Raises:
        UserError: naming one that XNLI does not have.
    """
    named = [name.strip() for name in text.split(",") if name.strip()]
    for name in named:
        if name not in LANGUAGES:
            raise UserError(f"{option} {text}: XNLI has no language {name!r}: it has {','.join(LANGUAGES)}")
    if not named:
        raise UserError(f"{option} names none: choose from {','.join(LANGUAGES)}")
    return [language for language in LANGUAGES if language in named]


def file_name(split, language) -> str:
    """Name of the file in which XNLI has a language's split."""
    return {TRAIN: f"multinli.train.{language}.tsv", VALID: "xnli.dev.tsv", TEST: "xnli.test.tsv"}[split]


def find_file(xnli_dir, split, language) -> Path | None:
    """The file in *xnli_dir*, or where the published archives have it; None if it is in none of these places."""
    places = (Path(xnli_dir, folder, file_name(split, language)) for folder in _FOLDERS)
    return next((path for path in places if path.is_file()), None)


def find_sources(xnli_dir, splits: Iterable[str] = SPLITS, on_bad_row=None) -> dict[tuple[str, str], Source]:
    """Find the files of XNLI in a folder: (split, language) -> Source.

    Args:
        xnli_dir: a folder with ``xnli.dev.tsv``, ``xnli.test.tsv``, ``multinli.train.en.tsv`` and so on, as they are or
            in the folders of the published archives.
        splits: those to look for.
        on_bad_row: as in :func:`~pixelgpt_fairseq.sources.tables.read_rows`, of the rows in which the language stands.

    Raises:
        UserError: naming the file and line of a row that is no row.
    """
    sources = {}
    for split in splits:
        there = None
        for language in LANGUAGES:
            path = find_file(xnli_dir, split, language)
            if path is None:
                continue
            if split == TRAIN:
                sources[split, language] = Source(path, ("premise", "hypo"), "label", None)
                continue
            if there is None:
                there = {values[0] for _, values in read_rows(path, [_LANGUAGE_COLUMN], on_bad_row or refuse_bad_row)}
                label = label_column_of(path, _LABEL_COLUMN, split, XNLI) if split == TEST else _LABEL_COLUMN
            if language in there:
                sources[split, language] = Source(path, ("sentence1", "sentence2"), label, _LANGUAGE_COLUMN)
    return sources


def read_source(source, language, on_bad_row=None, detokenized=False):
    """Yield the examples of a language: see :func:`~pixelgpt_fairseq.sources.examples.read_examples`."""
    where = (source.language_column, language) if source.language_column else None
    return read_examples(
        source.path, XNLI, source.columns, source.label, detokenized, on_bad_row, where=where, spellings=SPELLINGS
    )
