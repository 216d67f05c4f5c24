"""XNLI's table: the accuracy of a fine-tuned model in every language, and their average."""

from dataclasses import dataclass

from pixelgpt_fairseq.checkpoints.loading import read_state
from pixelgpt_fairseq.data.data_folder import DataFolder
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.evaluation.prediction import Predictions, predict
from pixelgpt_fairseq.sources.xnli import LANGUAGES, languages_of, split_name

_NOTHING = "-"  # in the place of a number that there is none of


@dataclass
class XnliResults:
    """The predictions of a checkpoint in each language."""

    checkpoint: str
    setting: str  # translate-train-all or cross-lingual-transfer
    modality: str
    predictions: dict[str, Predictions]  # language -> its answers, in the paper's order

    @property
    def accuracies(self) -> dict[str, float]:
        """Language -> accuracy, 0 to 1; without those that have no labels."""
        found = {language: answers.metrics().get("accuracy") for language, answers in self.predictions.items()}
        return {language: accuracy for language, accuracy in found.items() if accuracy is not None}

    @property
    def average(self) -> float | None:
        """Mean of the accuracies, each language counting as one; None if there are none."""
        accuracies = self.accuracies.values()
        return sum(accuracies) / len(accuracies) if accuracies else None


def languages_to_answer(data, split, languages=None) -> list[str]:
    """The languages that a data folder has of a split, or *languages*.

    Raises:
        UserError: if one of *languages* is absent, or there are none.
    """
    folder = DataFolder(data)
    there = languages_of(folder, split)
    if not there:
        whole = ", ".join(folder.splits()) or "none"
        raise UserError(f"{data}: no language has a split {split} (whole splits: {whole})")
    absent = [language for language in languages or () if language not in there]
    if absent:
        raise UserError(f"{data}: no split {split} of {', '.join(absent)}: it has {', '.join(there)}")
    return languages or there


def answer(checkpoint, data, split, languages, **options) -> XnliResults:
    """Evaluate a checkpoint on a split in several languages.

    Args:
        checkpoint, data: see :func:`~pixelgpt_fairseq.evaluation.prediction.predict`.
        split: ``valid`` or ``test``, say.
        languages: of these languages.
        options: of :func:`~pixelgpt_fairseq.evaluation.prediction.predict`.

    Raises:
        UserError, SystemExit: as there.
    """
    setting = (read_state(checkpoint)["cfg"].get("task") or {}).get("setting", _NOTHING)
    found = predict(checkpoint, data, [split_name(split, language) for language in languages], **options)
    predictions = dict(zip(languages, found.values(), strict=True))
    modality = predictions[languages[0]].modality
    return XnliResults(str(checkpoint), str(setting), modality, predictions)


def table(results) -> list[list[str]]:
    """The rows of the table, the first its header: accuracies in percent, all fifteen languages, their average.

    The average is of the languages that have a number; where those are not all fifteen, its column says how many.
    """
    counted = {len(one.accuracies) for one in results}
    of = "" if counted == {len(LANGUAGES)} else f" of {'/'.join(map(str, sorted(counted)))}"
    rows = [["checkpoint", "setting", "modality", *LANGUAGES, f"average{of}"]]
    for one in results:
        accuracies = one.accuracies
        numbers = [*(accuracies.get(language) for language in LANGUAGES), one.average]
        percent = [_NOTHING if number is None else f"{100 * number:.1f}" for number in numbers]
        rows.append([one.checkpoint, one.setting, one.modality, *percent])
    return rows


def format_table(rows, suffix) -> str:
    """A table as text, in the format that a file name's *suffix* tells: ``.md`` (Markdown) or ``.tsv``."""
    if suffix == ".tsv":
        return "".join("\t".join(row) + "\n" for row in rows)
    header, *body = rows
    rule = ["---" if number < 3 else "---:" for number in range(len(header))]
    return "".join(f"| {' | '.join(row)} |\n" for row in (header, rule, *body))


def prediction_table(results) -> list[list[str]]:
    """Every example's answer, a row each: its language, its number in that language's split, its label, the answer."""
    rows = [["language", "index", "label", "prediction"]]
    for language, answers in results.predictions.items():
        words = answers.words()
        labels = [_NOTHING] * len(words)
        if answers.labels is not None:
            labels = [answers.task.labels[number] for number in answers.labels.tolist()]
        numbered = enumerate(zip(labels, words, strict=True))
        rows += ([language, str(number), label, word] for number, (label, word) in numbered)
    return rows
