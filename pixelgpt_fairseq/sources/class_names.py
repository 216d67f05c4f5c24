"""Names of the outputs of released classifiers, and their match with the classes of a task.

``id2label`` and ``label2id`` of ``config.json`` name the outputs. Two models of one task may order their outputs
differently, so classes are matched by name.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.sources.glue import CLASS_NAMES
from pixelgpt_fairseq.sources.labels import ClassNumbers

_GENERIC = re.compile(r"label_(\d{1,9})", re.IGNORECASE)  # the transformers library's name for the class of a number


def read_class_names(settings: dict, where: Path, outputs: int) -> list[str] | None:
    """The names of a classifier's outputs, in their order; None if ``config.json`` gives none but ``LABEL_0`` ...

    Args:
        settings: the content of ``config.json``.
        where: its path, for messages.
        outputs: how many the classifier has.

    Raises:
        UserError: if the names are not one for each output, contradict each other, or do not fit ``problem_type``.
    """
    _check_kind(settings, where, outputs)
    numbered = _by_number(settings, "id2label", where), _by_number(settings, "label2id", where)
    for key, names in zip(("id2label", "label2id"), numbered, strict=True):
        if names is not None and sorted(names) != list(range(outputs)):
            numbers = ", ".join(map(str, sorted(names)))
            raise UserError(f"{where}: {key} has the numbers {numbers}: a model of {outputs} outputs needs 0 to n - 1")
    lists = [[names[number] for number in range(outputs)] for names in numbered if names is not None]
    named = [names for names in lists if names != [f"LABEL_{number}" for number in range(outputs)]]
    for names in named:
        if len({name.casefold() for name in names}) < outputs:
            raise UserError(f"{where}: two outputs have the same name: {', '.join(names)}")
    if len(named) == 2 and named[0] != named[1]:
        raise UserError(f"{where}: id2label names the outputs {', '.join(named[0])}, label2id {', '.join(named[1])}")
    return named[0] if named else None


def match_classes(names: Sequence[str], labels: Sequence[str], task: str) -> list[int]:
    """Match the outputs of a classifier with the classes of a task.

    Names are compared without regard to case and to what stands between words (``Not-entailment``). ``LABEL_1`` is
    the class of this number.

    Args:
        names: of the outputs, in their order.
        labels: the words of the task's classes, in the order of their numbers.
        task: the task's name; GLUE's classes that are only numbers have names of their own, such as ``negative``.

    Returns:
        list: number of the class of each output; empty for a regression, whose output is no class.

    Raises:
        UserError: if a name is none of the task's, or classes and outputs are not one to one.
    """
    if not labels and len(names) <= 1:
        return []
    spellings = {name: labels[number] for name, number in CLASS_NAMES.get(task, {}).items()}
    found = [_find(name, labels, spellings) for name in names]
    if None in found or sorted(found) != list(range(len(labels))):
        ours = ", ".join([*labels, *spellings]) or "a score"
        raise UserError(f"the model's outputs are called {', '.join(names)}; task {task} has {ours}")
    return found


def _find(name: str, labels: Sequence[str], spellings: dict[str, str]) -> int | None:
    """The number of the class that *name* means; None if there is none, or more than one."""
    generic = _GENERIC.fullmatch(name.strip())
    if generic:
        return int(generic[1]) if int(generic[1]) < len(labels) else None
    number = ClassNumbers(labels, spellings).find(name)
    joined = list(map(_joined, labels))
    if number is None and len(set(joined)) == len(joined):
        return ClassNumbers(joined, {other: _joined(word) for other, word in spellings.items()}).find(_joined(name))
    return number


def _joined(name: str) -> str:
    """*name* with one underscore between its words: ``not_entailment`` for ``Not entailment``."""
    return re.sub(r"[\s_-]+", "_", name.strip()).casefold()


def _check_kind(settings: dict, where: Path, outputs: int):
    """Compare the number of outputs with that in the file."""
    counted = settings.get("num_labels")
    if counted is not None and counted != outputs:
        raise UserError(f"{where}: num_labels {json.dumps(counted)}, the weights have {outputs} outputs")
    kind = settings.get("problem_type")
    expected = "regression" if outputs == 1 else "single_label_classification"
    if kind is not None and kind != expected:
        raise UserError(
            f"{where}: problem_type {json.dumps(kind)} with {outputs} outputs: this package has a score (1 output) or "
            "one class of several"
        )


def _by_number(settings: dict, key: str, where: Path) -> dict[int, str] | None:
    """``id2label``, or the inverse of ``label2id``; None where it is absent."""
    given = settings.get(key)
    if given is None:
        return None
    if not isinstance(given, dict):
        raise UserError(f"{where}: {key} {json.dumps(given)[:80]} is no table of names and numbers")
    pairs = [(number, name) for number, name in given.items()]
    if key == "label2id":
        pairs = [(number, name) for name, number in pairs]
    named = {}
    for number, name in pairs:
        is_plain = all(isinstance(part, str | int) and not isinstance(part, bool) for part in (number, name))
        if not is_plain or not re.fullmatch(r"\d{1,9}", str(number)) or not str(name).strip() or int(number) in named:
            raise UserError(f"{where}: {key}: {json.dumps(number)} for {json.dumps(name)} is not a valid value")
        named[int(number)] = str(name)
    return named
