"""The authors' rendered data: folders of gzip'd JSON lines, a strip as a base64 PNG in each.

A folder is named ``<task>-<split>`` (``rte-validation``, ``xnli-sw-train``) and holds ``part-00000.gz`` and so on. A
line has ``image`` (16 pixels high), ``num_patches`` (those before the last separator), ``label`` and the columns of its
text. The files are not trusted: nothing is decoded before its size is known, and a line is never more than
``MAX_LINE_BYTES`` of memory.
"""

import base64
import binascii
import gzip
import io
import json
import logging
import math
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from pixelgpt_fairseq.data.patches import PATCH_SIZE
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.sources.bad_rows import BadRow, check_whole_characters, refuse_bad_row
from pixelgpt_fairseq.sources.examples import NO_LABEL, SentenceTask

# fairseq enables all loggers, and this one logs a line for every chunk of every PNG.
logging.getLogger("PIL.PngImagePlugin").setLevel(logging.INFO)

MAX_LINE_BYTES = 8 << 20
MAX_STRIP_PATCHES = 4096  # four times the longest that the published models read
_MODES = {"1": "L", "L": "L", "P": "RGB", "RGB": "RGB"}  # of a PNG: what it is read as
_TEXT_COLUMNS = ("premise", "hypothesis", "sentence1", "sentence2", "question", "sentence", "question1", "question2")
# The columns of each task's text; "sentence1" and "sentence2" where nothing else is said.
_COLUMNS = {
    "cola": ("sentence",),
    "sst2": ("sentence",),
    "qqp": ("question1", "question2"),
    "mnli": ("premise", "hypothesis"),
    "qnli": ("question", "sentence"),
    "xnli": ("premise", "hypothesis"),
}
_SPLITS = {"valid": "validation", "valid_mismatched": "validation_mismatched"}
_MATCHED = {"valid": "validation_matched", "test": "test_matched"}  # MNLI


class ReleasedExample(NamedTuple):
    """A line."""

    where: str  # file and line, for messages
    texts: tuple[str, ...] | None  # None where the line has no text
    label: int | float
    patches: np.ndarray  # uint8 [n, 256], or [n, 768] where the strip has colors; the last one is the separator
    strip_patches: int  # how many the strip had before it was cropped


def released_name(task: str, split: str) -> str:
    """Name of the folder of a split: ``rte-validation`` for ``rte``, ``valid``; ``xnli-sw-train`` for ``xnli-sw``."""
    return f"{task}-{(_MATCHED if task == 'mnli' else {}).get(split) or _SPLITS.get(split, split)}"


def find_released(released_dir, task: str, split: str) -> Path | None:
    """The folder of a split in *released_dir*, which may also hold it as the archives unpack; None if it is absent."""
    name = released_name(task, split)
    places = (Path(released_dir, place, name) for place in (".", "rendered_glue", "rendered_xnli"))
    return next((path for path in places if path.is_dir()), None)


def part_files(folder) -> list[Path]:
    """The files of a split, in order.

    Raises:
        UserError: if there are none.
    """
    files = sorted(Path(folder).glob("part-*.gz"))
    if not files:
        raise UserError(f"{folder}: no part-00000.gz in it: is this a folder of released rendered data?")
    return files


def read_released(
    folder,
    task: SentenceTask,
    test: bool = False,
    on_bad_line: Callable[[UserError], None] | None = None,
    on_bytes: Callable[[int], None] = lambda _: None,
) -> Iterator[ReleasedExample]:
    """Read the examples of a split, a line at a time.

    Args:
        folder: with ``part-00000.gz`` and so on.
        task: SentenceTask that the labels must be of.
        test: whether -1 is let through, which stands for no label.
        on_bad_line: called with the error of each line to be passed over; None: the error is raised. What is left of a
            file that is damaged counts as one line.
        on_bytes: called with the compressed bytes that were read.

    Raises:
        UserError: naming file and line.
    """
    for path in part_files(folder):
        number = 0
        try:
            with open(path, "rb") as raw, gzip.GzipFile(fileobj=raw) as file:
                seen = 0
                for line in _lines(file):
                    number += 1
                    where = f"{path}, line {number}"
                    try:
                        example = _read_line(line, where, task, test)
                    except BadRow as error:
                        (on_bad_line or refuse_bad_row)(error)
                    else:
                        if example is not None:
                            yield example
                    on_bytes(raw.tell() - seen)
                    seen = raw.tell()
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            broken = BadRow(f"{path}, line {number + 1}: the gzip file is cut short or damaged: {error}")
            (on_bad_line or refuse_bad_row)(broken)
        except OSError as error:
            raise UserError(f"{path}: {error.strerror or error}") from None


def _lines(file) -> Iterator[bytes | None]:
    """The lines of an open file; None for one that is too long, of which no more than that is held."""
    while line := file.readline(MAX_LINE_BYTES + 1):
        if len(line) <= MAX_LINE_BYTES:
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(MAX_LINE_BYTES)
        yield None


def _read_line(line: bytes | None, where: str, task: SentenceTask, test: bool) -> ReleasedExample | None:
    if line is None:
        raise BadRow(f"{where}: longer than {MAX_LINE_BYTES:,} bytes")
    if not line.strip():
        return None
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadRow(f"{where}: not JSON: {error}") from None
    if not isinstance(row, dict):
        raise BadRow(f"{where}: not a JSON object")
    for name in ("image", "num_patches", "label"):
        if name not in row and not (test and name == "label"):
            raise BadRow(f"{where}: no {name!r}: it has {', '.join(map(repr, row))}")
    texts, label = _read_texts(row, where, task), _read_label(row.get("label"), where, task, test)
    pixels = _read_strip(row["image"], where)
    num_patches, strip_patches = row["num_patches"], pixels.shape[1] // PATCH_SIZE
    if isinstance(num_patches, bool) or not isinstance(num_patches, int) or num_patches < 1:
        raise BadRow(f"{where}: num_patches {num_patches!r} is not a number of patches")
    if num_patches >= strip_patches:
        raise BadRow(f"{where}: num_patches {num_patches} and a separator, the strip has {strip_patches} patches")
    return ReleasedExample(where, texts, label, _crop(pixels, num_patches + 1), strip_patches)


def _read_texts(row: dict, where: str, task: SentenceTask) -> tuple[str, ...] | None:
    expected = _COLUMNS.get(task.name, ("sentence1", "sentence2"))
    there = [name for name in _TEXT_COLUMNS if name in row]
    if not there:
        return None
    if set(there) != set(expected):
        raise BadRow(f"{where}: text in {', '.join(there)}; task {task.name} has {', '.join(expected)}")
    texts = tuple(row[name] for name in expected)
    for name, text in zip(expected, texts, strict=True):
        if not isinstance(text, str):
            raise BadRow(f"{where}: {name} {text!r:.40} is no text")
        check_whole_characters(text, f"{where}: {name}")
    return texts


def _read_label(label, where: str, task: SentenceTask, test: bool) -> int | float:
    if test and (label is None or label == NO_LABEL):
        return NO_LABEL
    number = isinstance(label, int | float) and not isinstance(label, bool)
    if task.regression:
        if not number or not math.isfinite(label):
            raise BadRow(f"{where}: label {label!r:.40} is not a number")
        return float(label)
    if not number or not isinstance(label, int) or not 0 <= label < len(task.labels):
        raise BadRow(f"{where}: unknown label {label!r:.40}: task {task.name} has 0 to {len(task.labels) - 1}")
    return label


def _read_strip(image, where: str) -> np.ndarray:
    """Pixels: uint8 ``[16, width]``, or ``[16, width, 3]``."""
    try:
        content = base64.b64decode(image, validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        raise BadRow(f"{where}: image is not base64: {error}") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # sizes are checked here
            picture = Image.open(io.BytesIO(content), formats=["PNG"])
    except Exception as error:  # a hostile file can fail in many ways
        raise BadRow(f"{where}: image is not a PNG: {_brief(error)}") from None
    width, height = picture.size
    if height != PATCH_SIZE:
        raise BadRow(f"{where}: a strip {height} pixels high, not {PATCH_SIZE}")
    if width % PATCH_SIZE or width > MAX_STRIP_PATCHES * PATCH_SIZE:
        raise BadRow(f"{where}: a strip {width} pixels wide: not whole patches, or over {MAX_STRIP_PATCHES} of them")
    if picture.mode not in _MODES:
        raise BadRow(f"{where}: a PNG of mode {picture.mode}, neither gray nor RGB")
    try:
        return np.asarray(picture.convert(_MODES[picture.mode]))
    except Exception as error:
        raise BadRow(f"{where}: the PNG is damaged: {_brief(error)}") from None


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:80] or type(error).__name__


def _crop(pixels: np.ndarray, num_patches: int) -> np.ndarray:
    """The first patches of a strip; without its channels, where they are equal."""
    pixels = pixels[:, : num_patches * PATCH_SIZE]
    if pixels.ndim == 3 and (pixels == pixels[..., :1]).all():
        pixels = pixels[..., 0]
    cut = pixels.reshape(PATCH_SIZE, num_patches, PATCH_SIZE, -1).swapaxes(0, 1)
    return np.ascontiguousarray(cut).reshape(num_patches, -1)
