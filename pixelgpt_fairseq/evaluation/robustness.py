"""How much the scores of fine-tuned models drop when the text that they read is attacked.

Every evaluation of a checkpoint under an attack is written to a file of results as soon as it is known; one that is
there already is not made again.
"""

import dataclasses
import hashlib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pixelgpt_fairseq.checkpoints.loading import load_checkpoint
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.evaluation.prediction import Classifier
from pixelgpt_fairseq.perturbations import Perturbation
from pixelgpt_fairseq.preprocessing.binarize_examples import binarize_examples
from pixelgpt_fairseq.sources.examples import SentenceTask

RESULTS = "results.jsonl"
MAX_PATCHES = 768  # of a strip; the checkpoint's own limit cuts strips further
_SPLIT = "valid"


@dataclass(frozen=True)
class Condition:
    """How the text is attacked; *attack* None, severity 0 and seed 0: it is not."""

    attack: str | None = None
    severity: float = 0.0
    seed: int = 0

    def perturbation(self, typos) -> Perturbation | None:
        """The perturbation of the texts, or None."""
        if self.attack is None:
            return None
        return Perturbation(self.attack, self.severity, self.seed, typos if self.attack == "natural-typo" else None)


@dataclass(frozen=True)
class Model:
    """A checkpoint, and the name under which its scores are gathered with those of others of that name."""

    name: str
    path: Path

    def sha256(self) -> str:
        """Of the file's content.

        Raises:
            UserError: if the file cannot be read.
        """
        try:
            with open(self.path, "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise UserError(f"--checkpoint {self.path}: {error.strerror}") from None


@dataclass(frozen=True)
class ValidationSet:
    """The examples that models are evaluated on."""

    task: SentenceTask
    examples: list

    def sha256(self) -> str:
        """Of the task, the texts and the labels."""
        content = json.dumps([self.task.to_dict(), self.examples], ensure_ascii=True)
        return hashlib.sha256(content.encode()).hexdigest()


def conditions(attacks, severities, seeds) -> list[Condition]:
    """The unattacked text, then every attack at every severity with the seeds from 1 to *seeds*."""
    attacked = [
        Condition(name, severity, seed) for name in attacks for severity in severities for seed in range(1, seeds + 1)
    ]
    return [Condition(), *attacked]


class Results:
    """The results in a folder: what is known of a checkpoint under a condition.

    A line of the file is written whole or, if the program is killed, is a part of a line that is passed over.

    Args:
        folder: to which results are added.
        others: folders whose results are known, too.

    Raises:
        UserError: if a file is there but holds other lines, or another folder holds no results.
    """

    def __init__(self, folder, others=()):
        self.path = Path(folder, RESULTS)
        self._known = {}
        for other in others:
            path = Path(other, RESULTS)
            if not path.is_file():
                raise UserError(f"--results-of {other}: no {RESULTS} in it: name the --output of another evaluation")
            self._read(path, "--results-of")
        self._whole_bytes = self._read(self.path, "--output") if self.path.exists() else 0

    def _read(self, path, option):
        """Take what a file knows; returns how many bytes its whole lines have."""
        lines = path.read_bytes().split(b"\n")[:-1]
        for number, line in enumerate(lines, start=1):
            try:
                record = json.loads(line)
                self._known[_key(**record["of"])] = record
            except (ValueError, KeyError, TypeError):
                raise UserError(f"{path}, line {number}: not a result: choose another {option}") from None
        return sum(len(line) + 1 for line in lines)

    def find(self, of):
        """The record of an evaluation, or None."""
        return self._known.get(_key(**of))

    def add(self, of, record):
        """Write the *record* (a dict) of an evaluation to the disk.

        Raises:
            UserError: if it cannot be written.
        """
        record = {"of": of, **record}
        line = json.dumps(record).encode() + b"\n"
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o666)
            with open(descriptor, "wb") as file:
                file.truncate(self._whole_bytes)
                file.seek(self._whole_bytes)
                file.write(line)
                file.flush()
                os.fsync(descriptor)
        except OSError as error:
            raise UserError(f"{self.path}: cannot write: {error.strerror}") from None
        self._whole_bytes += len(line)
        self._known[_key(**of)] = record


def _key(**of):
    return json.dumps(of, sort_keys=True)


def evaluations(models, data, found_conditions, typos=None):
    """What is to be evaluated.

    Args:
        models: list of Model.
        data: ValidationSet.
        found_conditions: from :func:`conditions`.
        typos: of ``natural-typo``.

    Returns:
        list of (Model, Condition, dict): the dict tells the evaluation from all others.

    Raises:
        UserError: if a checkpoint cannot be read, or an attack cannot be made.
    """
    digest, found = data.sha256(), []
    attacks = {condition: condition.perturbation(typos) for condition in found_conditions}
    for model in models:
        checkpoint = model.sha256()
        for condition, perturbation in attacks.items():
            attack = perturbation and perturbation.to_dict()
            found.append((model, condition, {"checkpoint": checkpoint, "data": digest, "attack": attack}))
    return found


def evaluate(
    chosen, data, results, typos=None, workers=1, max_tokens=None, batch_size=None, cpu=False, on_result=lambda: None
):
    """Make the evaluations that are not among the *results*.

    Args:
        chosen: from :func:`evaluations`.
        data: ValidationSet.
        results: Results; what is found is added.
        typos: of ``natural-typo``.
        workers: processes that attack and render the text; the results are the same for any number of them.
        max_tokens, batch_size, cpu: see :func:`~pixelgpt_fairseq.evaluation.prediction.predict`.
        on_result: called after each evaluation that was made.

    Raises:
        UserError, SystemExit: if a checkpoint is no classifier of this task, or a font or a file is missing.
    """
    waiting = {}
    for model, condition, of in chosen:
        if results.find(of) is None:
            waiting.setdefault(model.path, []).append((condition, of))
    for path, jobs in waiting.items():
        with tempfile.TemporaryDirectory(prefix="robustness-") as folder:
            reader = _Reader(path, data, folder, workers, max_tokens, batch_size, cpu)
            for condition, of in jobs:
                if results.find(of) is None:  # the same checkpoint may have been named twice
                    results.add(of, {**dataclasses.asdict(condition), **reader.evaluate(condition.perturbation(typos))})
                on_result()


class _Reader:
    """A checkpoint that reads the validation set under one attack after the other."""

    def __init__(self, path, data, folder, workers, max_tokens, batch_size, cpu):
        self.path, self.data, self.folder, self.workers, self.cpu = path, data, folder, workers, cpu
        self.batches = {"max_tokens": max_tokens, "batch_size": batch_size}
        checkpoint = load_checkpoint(path)
        self.config = checkpoint.renderer_config({"max_patches": MAX_PATCHES})
        self.tokenizer = checkpoint.tokenizer
        self.classifier = None

    def evaluate(self, perturbation):
        """The metrics, and what the attack did to the text."""
        summary = binarize_examples(
            self.data.examples,
            self.folder,
            _SPLIT,
            self.data.task,
            self.config,
            self.tokenizer,
            max_missing=1.0,
            workers=self.workers,
            overwrite=True,
            progress=False,
            perturbation=perturbation,
        )
        if self.classifier is None:
            self.classifier = Classifier(self.path, self.folder, [_SPLIT], self.cpu)
        answers = self.classifier.predict(_SPLIT, progress=False, **self.batches)
        return {
            "modality": answers.modality,
            "metrics": answers.metrics(),
            "examples": summary.counts.examples,
            "changed_sentences": summary.attacked,
            "patches": summary.counts.patches,
            "tokens": summary.counts.tokens,
            "missing_characters": summary.missing,
        }
