"""HatemojiBuild: short texts with emoji, hateful or not, and the reader of its public CSV files.

They come as one file, whose column ``split`` tells the splits apart, or as a file for each split in a folder.
"""

from pathlib import Path

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.sources.examples import SentenceTask, read_examples
from pixelgpt_fairseq.sources.tables import read_rows

HATEMOJI = SentenceTask("hatemoji", ("0", "1"), ("accuracy", "f1"), "accuracy")  # 1: hateful
# What its labels are called elsewhere.
_SPELLINGS = {"hateful": "1", "not hateful": "0", "non-hateful": "0", "not-hateful": "0", "nothate": "0", "hate": "1"}
_TEXT, _LABEL, _SPLIT = "text", "label_gold", "split"
# Split of a data folder -> how the published files spell it.
SPLITS = {"train": ("train",), "valid": ("validation", "valid", "dev"), "test": ("test",)}


def find_sources(path) -> dict[str, tuple[Path, str | None]]:
    """What there is of HatemojiBuild.

    Args:
        path: its file, or a folder with ``train.csv``, ``validation.csv`` and ``test.csv``.

    Returns:
        split -> (file, value of its column ``split``; None where the file holds this split alone)

    Raises:
        UserError: if there is no split, or the file has no column ``split``.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"--hatemoji {path}: no such file or folder")
    if path.is_dir():
        files = {split: _first_file(path, names) for split, names in SPLITS.items()}
        found = {split: (file, None) for split, file in files.items() if file is not None}
        if not found:
            raise UserError(f"--hatemoji {path}: no files such as train.csv in it")
        return found
    values = {value for _, (value,) in read_rows(path, [_SPLIT])}
    found = {}
    for split, names in SPLITS.items():
        there = [name for name in names if name in values]
        if there:
            found[split] = (path, there[0])
    if not found:
        raise UserError(f"--hatemoji {path}: its column {_SPLIT} names no train, validation or test")
    return found


def read_source(source, on_bad_row=None):
    """Yield the examples of a split: see :func:`~pixelgpt_fairseq.sources.examples.read_examples`."""
    path, value = source
    where = None if value is None else (_SPLIT, value)
    return read_examples(
        path, HATEMOJI, (_TEXT,), _LABEL, detokenized=False, on_bad_row=on_bad_row, where=where, spellings=_SPELLINGS
    )


def _first_file(folder, names):
    return next((path for name in names if (path := folder / f"{name}.csv").is_file()), None)
