"""A miniature XNLI in its fifteen languages, laid out and spelled as XNLI's own files.

The sentences stand in toy_xnli.tsv. Every language says the same: of each of three premises, one for each split, what
follows from it (entailment), what may be (neutral) and what cannot be (contradiction).
"""

import csv
from pathlib import Path

from toy_glue import write_tsv

LABELS = ("entailment", "neutral", "contradiction")
SPLITS = ("train", "valid", "test")

with (Path(__file__).parent / "toy_xnli.tsv").open(encoding="utf-8", newline="") as file:
    _ROWS = {(row["language"], row["split"]): row for row in csv.DictReader(file, delimiter="\t")}
TOY_LANGUAGES = tuple(dict.fromkeys(language for language, _ in _ROWS))
_COLUMNS = (
    "language gold_label sentence1_binary_parse sentence2_binary_parse sentence1_parse sentence2_parse sentence1 "
    "sentence2 promptID pairID genre label1 label2 label3 label4 label5 sentence1_tokenized sentence2_tokenized match"
).split()


def examples(language, split):
    """The (premise, hypothesis, label) of a split: three."""
    row = _ROWS[language, split]
    return [(row["premise"], row[label], label) for label in LABELS]


def sentences():
    """All sentences."""
    return [row[name] for row in _ROWS.values() for name in ("premise", *LABELS)]


def write_xnli(folder, languages=TOY_LANGUAGES):
    """Write xnli.dev.tsv, xnli.test.tsv and the training files of *languages* to *folder*."""
    for language in languages:
        rows = [
            (premise, hypothesis, label.replace("contradiction", "contradictory"))
            for premise, hypothesis, label in examples(language, "train")
        ]
        write_tsv(folder / f"multinli.train.{language}.tsv", ("premise", "hypo", "label"), *rows)
    for name, split in (("dev", "valid"), ("test", "test")):
        rows = []
        for language in sorted(languages):  # as the published files have them
            for premise, hypothesis, label in examples(language, split):
                values = {"language": language, "gold_label": label, "sentence1": premise, "sentence2": hypothesis}
                rows.append(tuple({**dict.fromkeys(_COLUMNS, ""), **values, "match": "True"}.values()))
        write_tsv(folder / f"xnli.{name}.tsv", _COLUMNS, *rows)
    return folder
