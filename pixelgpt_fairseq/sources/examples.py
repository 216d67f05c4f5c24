"""Sentences with labels: the definition of a task on sentences, and the reader of its tables."""

import math
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import NamedTuple

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.sources.bad_rows import BadRow, refuse_bad_row
from pixelgpt_fairseq.sources.labels import ClassNumbers, class_words
from pixelgpt_fairseq.sources.passages import CONTROL_TO_SPACE
from pixelgpt_fairseq.sources.tables import describe_header, first_row, has_column, read_rows

NO_LABEL = -1


@dataclass(frozen=True)
class SentenceTask:
    """A task on one sentence, or on two: its classes, or a score, and its metrics.

    Attributes:
        name: ``rte``, say.
        labels: the words of the classes, in the order of their numbers, as GLUE's submissions spell them; empty for
            regression.
        metrics: names in :mod:`pixelgpt_fairseq.criterions.metrics`; the first is the one that GLUE names first.
        best_metric: by which the published recipes choose checkpoints.
        sentences: of an example, 1 or 2; None where that is not known.
    """

    name: str
    labels: tuple[str, ...]
    metrics: tuple[str, ...]
    best_metric: str
    sentences: int | None = None

    @property
    def regression(self) -> bool:
        """Whether labels are numbers, not classes."""
        return not self.labels

    @property
    def num_labels(self) -> int:
        """Outputs of the classification head: the classes, or 1 for regression."""
        return len(self.labels) or 1

    def to_dict(self) -> dict:
        """Plain JSON values: what manifests and checkpoints keep."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict) -> "SentenceTask":
        """The inverse of :meth:`to_dict`."""
        return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})


def custom_task(name, labels=None, sentences=None):
    """A task of the user's own on *sentences* (1 or 2): classes named by *labels*, in their order; regression without.

    Raises:
        UserError: if there are fewer than two classes, or one is named twice.
    """
    if not labels:
        return SentenceTask(name, (), ("pearsonr", "spearmanr"), "spearmanr", sentences)
    metrics = ("accuracy", "f1", "matthews_correlation")
    return SentenceTask(name, class_words(labels), metrics, "accuracy", sentences)


class Example(NamedTuple):
    """One or two sentences, and the number of their class (or their score); NO_LABEL where the file has none."""

    texts: tuple[str, ...]
    label: int | float


def read_examples(
    path, task, columns, label_column=None, detokenized=True, on_bad_row=None, where=None, spellings=None
) -> Iterator[Example]:
    """Read the examples of one file.

    Args:
        path: see :func:`~pixelgpt_fairseq.sources.tables.read_rows`.
        task: SentenceTask.
        columns: one or two: the sentences.
        label_column: None if there are no labels. See :class:`~pixelgpt_fairseq.sources.labels.ClassNumbers` for the
            spellings that are understood.
        detokenized: whether the sentences go through :func:`detokenize`.
        on_bad_row: called with the error of each skipped row (wrong columns, unknown label, empty sentence); None: the
            error is raised. In a split without labels no row may be skipped, and empty sentences are accepted.
        where: (column, value): only rows with this value. A row with wrong columns may belong to another value; if rows
            are skipped at all, it is skipped silently.
        spellings: other words for labels: word -> word of ``task.labels``.

    Raises:
        UserError: naming the file, line and value.
    """
    classes = ClassNumbers(task.labels, spellings)
    labeled = label_column is not None
    wanted = (*columns, *([label_column] if labeled else []), *([where[0]] if where else []))
    skip = on_bad_row or refuse_bad_row if labeled else None
    for line, values in read_rows(path, wanted, _pass_over if labeled and on_bad_row and where else skip):
        if where and values[-1] != where[1]:
            continue
        texts = tuple(map(detokenize if detokenized else clean, values[: len(columns)]))
        try:
            for column, text in zip(columns, texts, strict=True):
                if not text and (labeled or on_bad_row is None):
                    raise BadRow(f"{path}, line {line}: empty sentence (column {column})")
            label = _label(path, line, values[len(columns)].strip(), task, classes) if labeled else NO_LABEL
        except BadRow as error:
            (skip or refuse_bad_row)(error)
            continue
        yield Example(texts, label)


def _pass_over(error):
    pass


def label_column_of(path, column, split, task):
    """*column*, or None for a test split that has no labels: its file lacks the column, or says so in every row.

    Raises:
        UserError: naming the file, if it lacks the column but is to be trained or validated on.
    """
    test = split.startswith("test")
    if column is not None and has_column(path, column):
        return None if test and not has_labels(path, column, task) else column
    if test:
        return None
    lacking = "no column is named with --label-column" if column is None else f"no column {column!r}"
    header = describe_header(first_row(path))
    raise UserError(f"{path}: {lacking}: split {split} needs labels; {header}")


def has_labels(path, column, task):
    """Whether any row has a label in *column*. Public data sets write -1 where it is secret, or nothing.

    Raises:
        UserError: if the file has no such column, or cannot be read.
    """
    if ClassNumbers(task.labels).find(str(NO_LABEL)) is not None:  # the name of a class
        return True
    return any(not _is_absent(value) for _, (value,) in read_rows(path, [column], _pass_over))


def _is_absent(label):
    """Whether a label of a test split means "no label"."""
    try:
        return not label.strip() or float(label) == NO_LABEL
    except ValueError:
        return False


def _label(path, line, value, task, classes):
    if task.regression:
        try:
            score = float(value)
        except ValueError:
            score = math.nan
        if not math.isfinite(score):
            raise BadRow(f"{path}, line {line}: label {value!r} is not a number")
        return score
    number = classes.find(value)
    if number is None:
        hint = " (-1 means no label where it stands in every row of a test split)" if _is_absent(value) else ""
        raise BadRow(f"{path}, line {line}: unknown label {value!r}: it is none of {', '.join(task.labels)}{hint}")
    return number


_DETOKENIZE = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"(?i)-lrb-", "("),
        (r"(?i)-rrb-", ")"),
        (r"`` ?", '"'),
        (r" ?''", '"'),
        (r"(?<!\S)` ?", "'"),
        (r" (?=(?i:n't|'(?:s|re|ve|ll|d|m))\b)", ""),
        (r" (?='(?:\s|$))", ""),
        (r" +(?=[,.!?#/;:%)\]}])", ""),
        (r"(?<=[(\[{]) +", ""),
    )
]


def clean(text):
    """*text* without control characters and without white space at its ends."""
    return text.translate(CONTROL_TO_SPACE).strip()


def detokenize(text):
    """Put tokenized English back together, as the text of the published models' GLUE data was.

    The space before ``, . ! ? # /`` goes, and likewise before ``; : %`` and closing brackets, after opening ones,
    around quotation marks of the Penn Treebank, and before ``n't 's 're 've 'll 'd 'm``:

    >>> detokenize("it 's a `` charming '' journey , is n't it ?")
    'it\\'s a "charming" journey, isn\\'t it?'
    """
    text = clean(text)
    for pattern, replacement in _DETOKENIZE:
        text = pattern.sub(replacement, text)
    return text.strip()
