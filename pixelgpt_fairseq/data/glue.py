"""The tasks of GLUE: one table of all that differs between them, and the reader of GLUE's own files.

A task of the user's own, with one or two sentences to an example, is described by the same :class:`SentenceTask`.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from pixelgpt_fairseq.data.corpus import CONTROL_TO_SPACE
from pixelgpt_fairseq.data.tables import BadRow, has_column, read_rows
from pixelgpt_fairseq.errors import UserError

NO_LABEL = -1


@dataclass(frozen=True)
class SentenceTask:
    """What is to be told of one sentence, or of two.

    Attributes:
        name: ``rte``, say.
        labels: the words of the classes, in the order of their numbers, as GLUE's submissions spell them; empty for
            regression.
        metrics: names in :mod:`pixelgpt_fairseq.metrics`; the first is the one that GLUE names first.
        best_metric: by which the published recipes choose checkpoints.
    """

    name: str
    labels: tuple[str, ...]
    metrics: tuple[str, ...]
    best_metric: str

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


class Source(NamedTuple):
    """A split's file."""

    split: str  # train, valid, test; valid_mismatched and so on
    files: tuple[str, ...]  # names that it goes by in a GLUE folder, relative to it; the first that is there is read
    columns: tuple[str | int, ...]  # of the sentences: names, or numbers from 1 in a file without a header
    label: str | int | None  # column of the label; None: the file has none
    submission: str | None = None  # name of the file in a GLUE submission
    optional: bool = False  # left out where the file is absent


def _sources(folder, columns, label, submission, test_columns=None):
    """The three usual splits of a GLUE task."""
    return (
        Source("train", (f"{folder}/train.tsv",), columns, label),
        Source("valid", (f"{folder}/dev.tsv",), columns, label),
        Source("test", (f"{folder}/test.tsv",), test_columns or columns, None, submission, optional=True),
    )


_PAIR = ("sentence1", "sentence2")
_ENTAILMENT = ("entailment", "not_entailment")
_MRPC = ("#1 String", "#2 String")
_QQP = ("question1", "question2")

# name: (task, its files)
GLUE_TASKS = {
    task.name: (task, sources)
    for task, sources in (
        (
            SentenceTask("cola", ("0", "1"), ("matthews_correlation", "accuracy"), "matthews_correlation"),
            _sources("CoLA", (4,), 2, "CoLA.tsv", test_columns=("sentence",)),
        ),
        (
            SentenceTask("sst2", ("0", "1"), ("accuracy",), "accuracy"),
            _sources("SST-2", ("sentence",), "label", "SST-2.tsv"),
        ),
        (
            SentenceTask("mrpc", ("0", "1"), ("f1", "accuracy"), "f1"),
            _sources("MRPC", _MRPC, "Quality", "MRPC.tsv"),
        ),
        (
            SentenceTask("stsb", (), ("pearsonr", "spearmanr"), "spearmanr"),
            _sources("STS-B", _PAIR, "score", "STS-B.tsv"),
        ),
        (
            SentenceTask("qqp", ("0", "1"), ("f1", "accuracy"), "f1"),
            _sources("QQP", _QQP, "is_duplicate", "QQP.tsv"),
        ),
        (
            SentenceTask("mnli", ("entailment", "neutral", "contradiction"), ("accuracy",), "accuracy"),
            (
                Source("train", ("MNLI/train.tsv",), _PAIR, "gold_label"),
                Source("valid", ("MNLI/dev_matched.tsv",), _PAIR, "gold_label"),
                Source("valid_mismatched", ("MNLI/dev_mismatched.tsv",), _PAIR, "gold_label"),
                Source("test", ("MNLI/test_matched.tsv",), _PAIR, None, "MNLI-m.tsv", True),
                Source("test_mismatched", ("MNLI/test_mismatched.tsv",), _PAIR, None, "MNLI-mm.tsv", True),
                # GLUE's diagnostic set has no training data: it is for models of MNLI.
                Source("ax", ("AX/AX.tsv", "diagnostic/diagnostic.tsv"), _PAIR, None, "AX.tsv", True),
            ),
        ),
        (
            SentenceTask("qnli", _ENTAILMENT, ("accuracy",), "accuracy"),
            _sources("QNLI", ("question", "sentence"), "label", "QNLI.tsv"),
        ),
        (
            SentenceTask("rte", _ENTAILMENT, ("accuracy",), "accuracy"),
            _sources("RTE", _PAIR, "label", "RTE.tsv"),
        ),
        (
            SentenceTask("wnli", ("0", "1"), ("accuracy",), "accuracy"),
            _sources("WNLI", _PAIR, "label", "WNLI.tsv"),
        ),
    )
}


def custom_task(name, labels=None):
    """A task of the user's own: classes named by *labels*, in their order; regression without.

    Raises:
        UserError: if there are fewer than two classes, or one is named twice.
    """
    if not labels:
        return SentenceTask(name, (), ("pearsonr", "spearmanr"), "spearmanr")
    if len(set(labels)) != len(labels) or len(labels) < 2:
        raise UserError(f"--labels {' '.join(labels)}: name at least two classes, each once")
    return SentenceTask(name, tuple(labels), ("accuracy", "f1", "matthews_correlation"), "accuracy")


class Example(NamedTuple):
    """One or two sentences, and the number of their class (or their score); NO_LABEL where the file has none."""

    texts: tuple[str, ...]
    label: int | float


def find_source(source, folder) -> Path | None:
    """The file of *source* in a GLUE folder, or None if there is none of its names."""
    return next((Path(folder, name) for name in source.files if Path(folder, name).is_file()), None)


def read_examples(path, task, columns, label_column=None, detokenized=True, on_bad_row=None) -> Iterator[Example]:
    """Read the examples of one file.

    Args:
        path: see :func:`~pixelgpt_fairseq.data.tables.read_rows`.
        task: SentenceTask.
        columns: one or two: the sentences.
        label_column: None if there are no labels. They are the words of ``task.labels`` or the numbers of the classes.
        detokenized: whether the sentences go through :func:`detokenize`.
        on_bad_row: called with the error of each row to be passed over (wrong columns, unknown label, empty sentence);
            None: the error is raised. Where there are no labels every row counts: only empty sentences are let through.

    Raises:
        UserError: naming the file, line and value.
    """
    numbers = {str(number): number for number in range(len(task.labels))}
    classes = numbers | {word: number for number, word in enumerate(task.labels)}
    wanted = (*columns, label_column) if label_column is not None else columns
    skip = on_bad_row if label_column is not None else None
    for line, values in read_rows(path, wanted, skip):
        texts = tuple(map(detokenize if detokenized else clean, values[: len(columns)]))
        try:
            for column, text in zip(columns, texts, strict=True):
                if not text and (skip or on_bad_row is None):
                    raise BadRow(f"{path}, line {line}: empty sentence (column {column})")
            label = NO_LABEL
            if label_column is not None:
                label = _label(path, line, values[-1].strip(), task, classes)
        except BadRow as error:
            if skip is None:
                raise
            skip(error)
            continue
        yield Example(texts, label)


def label_column_of(path, column, split):
    """*column*, or None for a test split whose file lacks it.

    Raises:
        UserError: naming the file, if it lacks the column but is to be trained or validated on.
    """
    if column is not None and has_column(path, column):
        return column
    if split.startswith("test"):
        return None
    lacking = "no column is named with --label-column" if column is None else f"no column {column!r}"
    raise UserError(f"{path}: {lacking}: split {split} needs labels")


def _label(path, line, value, task, classes):
    if task.regression:
        try:
            score = float(value)
        except ValueError:
            score = math.nan
        if not math.isfinite(score):
            raise BadRow(f"{path}, line {line}: label {value!r} is not a number")
        return score
    if value not in classes:
        raise BadRow(f"{path}, line {line}: unknown label {value!r}: it is none of {', '.join(task.labels)}")
    return classes[value]


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
    """Put tokenised English back together, as the text of the published models' GLUE data was.

    The space before ``, . ! ? # /`` goes, and likewise before ``; : %`` and closing brackets, after opening ones,
    around quotation marks of the Penn Treebank, and before ``n't 's 're 've 'll 'd 'm``:

    >>> detokenize("it 's a `` charming '' journey , is n't it ?")
    'it\\'s a "charming" journey, isn\\'t it?'
    """
    text = clean(text)
    for pattern, replacement in _DETOKENIZE:
        text = pattern.sub(replacement, text)
    return text.strip()
