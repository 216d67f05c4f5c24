"""Metrics of a whole data set, computed from quantities that are pooled over batches and workers.

F1 and correlations are not means over batches. Classification pools the *confusion matrix*, regression the scores
themselves. They are kept in fairseq meters (names with a leading underscore are not printed), from which the metrics
are derived on demand.

A metric is one function, registered by :func:`register_metric`, here or in a module of the user's own
(docs/extending.md).
"""

import functools
import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from fairseq.logging import metrics

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.registries import check_free

CLASSES, SCORES = KINDS = ("classes", "scores")  # what metrics are of
_CONFUSION = "_confusion"  # meter: [C * C]
_CONFUSION_BY_LANGUAGE = "_confusion_by_language"  # meter: [L * C * C]
_SCORES = "_scores"  # meter: [n, 2]
_DIGITS = 5
_AVERAGE_FIRST = 20  # fairseq's priority of derived metrics: the average, then the languages in their order


class Metric(NamedTuple):
    """A registered metric."""

    function: Callable  # of what is pooled: see register_metric
    of: str  # classes or scores
    maximize: bool  # whether the highest value is the best


METRICS: dict[str, Metric] = {}  # by name


def register_metric(name, of, maximize=True):
    """Decorator: let ``--metrics`` of the fine-tuning tasks, and the manifests of data folders, name this function.

    Args:
        name: what it is called in options and logs.
        of: ``classes``: a function of the confusion matrix, a float64 array ``[C, C]`` with the number of examples of
            each true class (row) and predicted class (column); or ``scores``: of a float64 array ``[n, 2]`` with the
            predicted and the true score of each example. fairseq also asks for the metric of single batches: a batch
            may have one example, or one class.
        maximize: whether the highest value is the best.

    Raises:
        ValueError: if *of* is neither, the name cannot stand in a list, or another function has it.
    """
    if of not in KINDS:
        raise ValueError(f"metric {name}: of must be {' or '.join(KINDS)}, not {of!r}")
    if not name or name != name.strip() or "," in name or name.startswith("_"):
        raise ValueError(f"{name!r} cannot be the name of a metric: no commas, no white space around it, no leading _")

    def register(function):
        held = METRICS.get(name)
        check_free("metric", name, held and held.function, function)
        METRICS[name] = Metric(function, of, maximize)
        return function

    return register


def parse_metrics(names, of):
    """The metrics that an option names, joined by commas.

    Args:
        names: ``accuracy,f1``, say.
        of: ``classes`` or ``scores``.

    Returns:
        tuple of str

    Raises:
        UserError: if one is not registered, of the other kind, or named twice.
    """
    found = tuple(name.strip() for name in str(names).split(","))
    there = ", ".join(name for name, metric in METRICS.items() if metric.of == of)
    for name in found:
        if name not in METRICS:
            raise UserError(
                f"--metrics {names}: no metric {name!r} is registered; there are {there}; one of your own needs the "
                "--user-dir that registers it (docs/extending.md)"
            )
        if METRICS[name].of != of:
            raise UserError(f"--metrics {names}: {name} is a metric of {METRICS[name].of}; of {of} there are {there}")
    if len(set(found)) < len(found):
        raise UserError(f"--metrics {names}: a metric is named twice")
    return found


@register_metric("accuracy", of=CLASSES)
def accuracy(confusion):
    """Share of the examples whose class was predicted."""
    return np.trace(confusion) / confusion.sum()


@register_metric("f1", of=CLASSES)
def f1(confusion):
    """F1 of class 1 where there are two classes; else the mean of every class's F1. 0 where nothing was right."""
    from sklearn.metrics import f1_score  # takes a second to import: only where it is needed

    truth, predicted, counts = _cells(confusion)
    average = "binary" if len(confusion) == 2 else "macro"
    return f1_score(truth, predicted, sample_weight=counts, average=average, zero_division=0.0)


@register_metric("matthews_correlation", of=CLASSES)
def matthews_correlation(confusion):
    """Matthews' correlation of true and predicted classes; 0 where either is constant."""
    from sklearn.metrics import matthews_corrcoef

    truth, predicted, counts = _cells(confusion)
    if np.ptp(truth) == 0 or np.ptp(predicted) == 0:
        return 0.0
    return matthews_corrcoef(truth, predicted, sample_weight=counts)


@register_metric("pearsonr", of=SCORES)
def pearsonr(scores):
    """Pearson's correlation; 0 where either column is constant, or there are fewer than two examples."""
    return _correlation("pearsonr", scores)


@register_metric("spearmanr", of=SCORES)
def spearmanr(scores):
    """Spearman's rank correlation; 0 where :func:`pearsonr` is."""
    return _correlation("spearmanr", scores)


def confusion_matrix(predicted, truth, num_labels, languages=None, num_languages=1):
    """The confusion matrix of a batch, laid out flat as it is pooled.

    Args:
        predicted, truth: int64 ``[B]``.
        num_labels: the number of classes C.
        languages: int64 ``[B]``: the number of each example's language; there are L = *num_languages*.

    Returns:
        float64 ``[C * C]``; with languages ``[L * C * C]``, a matrix for each.
    """
    if languages is not None:
        truth = truth + languages * num_labels
    # Ones are added at their cells: bincount would make the host wait for a GPU, to learn the largest number.
    cells = torch.zeros(num_languages * num_labels**2, dtype=torch.float64, device=predicted.device)
    return cells.index_add_(0, truth * num_labels + predicted, torch.ones_like(predicted, dtype=torch.float64))


def log_classes(confusion, names):
    """Pool a confusion matrix, flat, and derive the metrics *names*."""
    metrics.log_scalar_sum(_CONFUSION, confusion)
    for name in names:
        metrics.log_derived(name, functools.partial(_of_classes, METRICS[name].function))


def log_languages(confusion, num_labels, languages):
    """Pool the confusion matrices of several languages, flat, and derive ``accuracy_en`` ... and ``average_accuracy``.

    Each language with examples counts as one in the average, whatever their number.
    """
    matrices = confusion.view(len(languages), num_labels, num_labels)
    metrics.log_scalar_sum(_CONFUSION_BY_LANGUAGE, matrices)
    metrics.log_derived("average_accuracy", _average_accuracy, _AVERAGE_FIRST)
    for number in torch.nonzero(matrices.sum(dim=(1, 2))).flatten().tolist():
        one = functools.partial(_accuracy_of, number)
        metrics.log_derived(f"accuracy_{languages[number]}", one, _AVERAGE_FIRST + 1 + number)


def log_scores(scores, names):
    """Pool scores, predicted and true ``[n, 2]``, and derive the metrics *names*."""
    metrics.log_concat_tensor(_SCORES, scores)
    for name in names:
        metrics.log_derived(name, functools.partial(_of_scores, METRICS[name].function))


def _of_classes(metric, meters):
    pooled = meters[_CONFUSION].sum if _CONFUSION in meters else 0
    if not torch.is_tensor(pooled) or not pooled.sum() > 0:  # nothing since the meters were last reset
        return None
    confusion = pooled.double().cpu().numpy()
    side = round(len(confusion) ** 0.5)
    return round(float(metric(confusion.reshape(side, side))), _DIGITS)


def _language_accuracies(meters):
    """The accuracy of each language, a number in the order of the matrices; None without examples."""
    pooled = meters[_CONFUSION_BY_LANGUAGE].sum if _CONFUSION_BY_LANGUAGE in meters else ()
    if not torch.is_tensor(pooled):  # nothing since the meters were last reset
        return []
    return [float(accuracy(matrix)) if matrix.any() else None for matrix in pooled.double().cpu().numpy()]


def _accuracy_of(number, meters):
    accuracies = _language_accuracies(meters)
    return round(accuracies[number], _DIGITS) if accuracies and accuracies[number] is not None else None


def _average_accuracy(meters):
    accuracies = [value for value in _language_accuracies(meters) if value is not None]
    return round(sum(accuracies) / len(accuracies), _DIGITS) if accuracies else None


def _of_scores(metric, meters):
    pooled = meters[_SCORES].tensor if _SCORES in meters else None
    return None if pooled is None else round(float(metric(pooled.double().cpu().numpy())), _DIGITS)


def _cells(confusion):
    """The cells of a confusion matrix that are not empty: true class, predicted class and number of examples."""
    truth, predicted = np.nonzero(confusion)
    return truth, predicted, confusion[truth, predicted]


def _correlation(name, scores):
    import scipy.stats

    predicted, truth = np.asarray(scores).T
    if len(predicted) < 2 or np.ptp(predicted) == 0 or np.ptp(truth) == 0:
        return 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", scipy.stats.NearConstantInputWarning)
        return getattr(scipy.stats, name)(predicted, truth).statistic
