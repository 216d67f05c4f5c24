"""The tasks of GLUE, with everything that differs between them in one table."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from pixelgpt_fairseq.sources.examples import SentenceTask


class Source(NamedTuple):
    """A split's file."""

    split: str  # train, valid, test; valid_mismatched and so on
    files: tuple[str, ...]  # possible paths in a GLUE folder; the first that exists is read
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
    task.name: (replace(task, sentences=len(sources[0].columns)), sources)
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

# The names that GLUE's descriptions have for classes whose files hold numbers, or another word: name -> number. The
# transformers library and the data sets made for it use them.
CLASS_NAMES = {
    "cola": {"unacceptable": 0, "acceptable": 1},
    "sst2": {"negative": 0, "positive": 1},
    "mrpc": {"not_equivalent": 0, "equivalent": 1},
    "qqp": {"not_duplicate": 0, "duplicate": 1},
    "wnli": {"not_entailment": 0, "entailment": 1},
    "mnli": {"contradictory": 2},
    "xnli": {"contradictory": 2},
}


def task_name(name: str) -> str:
    """The name in ``GLUE_TASKS`` of a task as GLUE or the user spells it (``SST-2``, ``CoLA``); others as they are."""
    plain = name.replace("-", "").replace("_", "").casefold()
    return plain if plain in GLUE_TASKS else name


def find_source(source, folder) -> Path | None:
    """The file of *source* in a GLUE folder, or None if there is none of its names."""
    return next((Path(folder, name) for name in source.files if Path(folder, name).is_file()), None)
