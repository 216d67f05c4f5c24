import warnings

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
import torch
from fairseq.logging import metrics as fairseq_metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelgpt_fairseq.criterions import metrics
from pixelgpt_fairseq.errors import UserError

BUILT_IN = {
    kind: tuple(
        name
        for name, metric in metrics.METRICS.items()
        if metric.of == kind and metric.function.__module__ == metrics.__name__
    )
    for kind in metrics.KINDS
}


def pooled(log, batches, names):
    """The metrics that fairseq shows after *batches*."""
    with fairseq_metrics.aggregate(new_root=True) as aggregate:
        for batch in batches:
            log(batch, names)
        return aggregate.get_smoothed_values()


def batches_of(values):
    return torch.split(values, [1, 3, len(values) - 4])


@pytest.mark.parametrize("num_labels", [2, 3])
def test_metrics_of_classes_equal_scikit_learn(num_labels):
    random = torch.Generator().manual_seed(num_labels)
    truth = torch.randint(num_labels, (200,), generator=random)
    predicted = torch.where(torch.rand(200, generator=random) < 0.5, truth, truth.roll(1))
    batches = [
        metrics.confusion_matrix(p, t, num_labels)
        for p, t in zip(batches_of(predicted), batches_of(truth), strict=True)
    ]
    found = pooled(metrics.log_classes, batches, BUILT_IN[metrics.CLASSES])
    average = "binary" if num_labels == 2 else "macro"
    assert found == {
        "accuracy": pytest.approx(sklearn.metrics.accuracy_score(truth, predicted), abs=1e-5),
        "f1": pytest.approx(sklearn.metrics.f1_score(truth, predicted, average=average), abs=1e-5),
        "matthews_correlation": pytest.approx(sklearn.metrics.matthews_corrcoef(truth, predicted), abs=1e-5),
    }


def test_metrics_of_scores_equal_scipy():
    random = np.random.default_rng(0)
    truth = random.integers(0, 26, 100) / 5  # with ties
    predicted = truth + random.normal(0, 2, 100)
    scores = torch.from_numpy(np.stack([predicted, truth], axis=1))
    found = pooled(metrics.log_scores, batches_of(scores), BUILT_IN[metrics.SCORES])
    assert found == {
        "pearsonr": pytest.approx(scipy.stats.pearsonr(predicted, truth).statistic, abs=1e-5),
        "spearmanr": pytest.approx(scipy.stats.spearmanr(predicted, truth).statistic, abs=1e-5),
    }


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 4), st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=8))
def test_metrics_of_few_examples_are_numbers_and_nobody_is_warned(num_labels, pairs):
    truth, predicted = (torch.tensor(side) % num_labels for side in zip(*pairs, strict=True))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        confusion = metrics.confusion_matrix(predicted, truth, num_labels)
        found = pooled(metrics.log_classes, [confusion], BUILT_IN[metrics.CLASSES])
        scores = torch.stack([predicted, truth], dim=1).double()
        found |= pooled(metrics.log_scores, [scores], BUILT_IN[metrics.SCORES])
    assert all(-1 <= value <= 1 for value in found.values())


def test_nothing_logged_since_the_meters_were_reset_is_no_number():
    with fairseq_metrics.aggregate(new_root=True) as aggregate:
        metrics.log_classes(torch.tensor([1.0, 0, 0, 1]), ("accuracy",))
        metrics.log_scores(torch.tensor([[1.0, 1], [2, 2]]), ("pearsonr",))
        assert aggregate.get_smoothed_values() == {"accuracy": 1.0, "pearsonr": 1.0}
        aggregate.reset()
        assert aggregate.get_smoothed_values() == {"accuracy": None, "pearsonr": None}


def test_languages_count_alike_in_the_average_whatever_their_number_of_examples():
    random = torch.Generator().manual_seed(0)
    truth, predicted = (torch.randint(3, (200,), generator=random) for _ in range(2))
    languages = torch.multinomial(torch.tensor([0.7, 0.0, 0.2, 0.1]), 200, replacement=True, generator=random)
    names = ("en", "de", "sw", "th")
    batches = [
        metrics.confusion_matrix(p, t, 3, number, len(names))
        for p, t, number in zip(*map(batches_of, (predicted, truth, languages)), strict=True)
    ]
    found = pooled(lambda batch, _: metrics.log_languages(batch, 3, names), batches, ())
    expected = {
        f"accuracy_{name}": sklearn.metrics.accuracy_score(truth[languages == i], predicted[languages == i])
        for i, name in enumerate(names)
        if name != "de"  # has no examples, and so no accuracy
    }
    assert found == pytest.approx({"average_accuracy": np.mean([*expected.values()]), **expected}, abs=1e-5)
    assert list(found) == ["average_accuracy", "accuracy_en", "accuracy_sw", "accuracy_th"]
    assert not np.isclose(found["average_accuracy"], sklearn.metrics.accuracy_score(truth, predicted), atol=1e-3)


def test_languages_without_examples_since_the_meters_were_reset_have_no_numbers():
    with fairseq_metrics.aggregate(new_root=True) as aggregate:
        metrics.log_languages(torch.eye(2).repeat(2, 1).flatten(), 2, ("en", "sw"))
        assert aggregate.get_smoothed_values() == dict.fromkeys(("average_accuracy", "accuracy_en", "accuracy_sw"), 1)
        aggregate.reset()
        assert set(aggregate.get_smoothed_values().values()) == {None}


# Registration


@pytest.fixture
def registry(monkeypatch):
    monkeypatch.setattr(metrics, "METRICS", dict(metrics.METRICS))
    return metrics.METRICS


def test_a_registered_metric_is_logged_by_its_name(registry):
    @metrics.register_metric("error_rate", of="classes", maximize=False)
    def error_rate(confusion):
        return 1 - np.trace(confusion) / confusion.sum()

    assert metrics.parse_metrics("accuracy, error_rate", "classes") == ("accuracy", "error_rate")
    confusion = torch.tensor([3.0, 1, 0, 4])
    assert pooled(metrics.log_classes, [confusion], ("error_rate",)) == {"error_rate": 0.125}
    assert not registry["error_rate"].maximize


@pytest.mark.parametrize(
    ("names", "kind", "message"),
    [
        ("accuracy,acuracy", "classes", "no metric 'acuracy' is registered; there are accuracy, f1, .* --user-dir"),
        ("pearsonr", "classes", "pearsonr is a metric of scores; of classes there are accuracy"),
        ("accuracy", "scores", "accuracy is a metric of classes; of scores there are pearsonr"),
        ("f1,f1", "classes", "named twice"),
    ],
)
def test_metrics_that_cannot_be_reported_are_named(names, kind, message):
    with pytest.raises(UserError, match=message):
        metrics.parse_metrics(names, kind)


def test_the_name_of_a_metric_is_given_once(registry):
    with pytest.raises(ValueError, match=r"metric accuracy already: pixelgpt_fairseq.criterions.metrics.accuracy"):
        metrics.register_metric("accuracy", of="classes")(len)
    metrics.register_metric("accuracy", of="classes")(metrics.accuracy)  # its module, executed again
    with pytest.raises(ValueError, match="must be classes or scores"):
        metrics.register_metric("mine", of="labels")
    with pytest.raises(ValueError, match="cannot be the name"):
        metrics.register_metric("mine,yours", of="scores")
