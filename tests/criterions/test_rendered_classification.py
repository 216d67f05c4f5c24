from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from fairseq.logging import metrics

from pixelgpt_fairseq.criterions.rendered_classification import RenderedClassificationLoss
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.models.pixelgpt import PixelGPTOutput


def criterion(num_labels=3, training=False, languages=()):
    names = ("accuracy", "matthews_correlation") if num_labels > 1 else ("pearsonr", "spearmanr")
    task = SimpleNamespace(num_labels=num_labels, regression=num_labels == 1, metrics=names, languages=languages)
    return RenderedClassificationLoss(None, task).train(training)


def model(logits):
    """A model that gives the batch's own logits."""
    return PixelGPTOutput(class_logits=logits)


def batch(logits, labels):
    size = len(logits)
    labels = torch.tensor(labels, dtype=torch.int64 if logits.shape[1] > 1 else torch.float64)
    return {"net_input": {"logits": logits}, "labels": labels, "nsentences": size, "ntokens": 5 * size}


def logged(criterion, outputs):
    with metrics.aggregate(new_root=True) as aggregate:
        criterion.log_metrics(outputs)
        return aggregate.get_smoothed_values()


LOGITS = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
CLASSES = [0, 1, 2, 2, 1, 0, 1]
SCORES = [0.0, 5.0, 2.5, 1.0, 3.0, 4.0, 2.0]


def test_loss_of_classes_is_the_summed_cross_entropy():
    loss, sample_size, _ = criterion()(model, batch(LOGITS, CLASSES))
    assert sample_size == 7
    torch.testing.assert_close(loss / 7, F.cross_entropy(LOGITS, torch.tensor(CLASSES)))


def test_loss_of_scores_is_the_summed_squared_error():
    loss, sample_size, _ = criterion(1)(model, batch(LOGITS[:, :1], SCORES))
    assert sample_size == 7
    torch.testing.assert_close(loss / 7, F.mse_loss(LOGITS[:, 0], torch.tensor(SCORES)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_losses_of_half_precision_are_float32(dtype):
    for labels, logits in ((CLASSES, LOGITS), (SCORES, LOGITS[:, :1])):
        loss, _, _ = criterion(logits.shape[1])(model, batch(logits.to(dtype), labels))
        assert loss.dtype == torch.float32


@pytest.mark.parametrize(("logits", "labels"), [(LOGITS, CLASSES), (LOGITS[:, :1], SCORES)], ids=["classes", "scores"])
def test_metrics_are_those_of_all_examples_however_they_are_cut_into_batches(logits, labels):
    one = criterion(logits.shape[1])
    outputs = [one(model, batch(logits[a:b], labels[a:b]))[2] for a, b in ((0, 1), (1, 5), (5, 7))]
    whole = logged(one, [one(model, batch(logits, labels))[2]])
    assert logged(one, [*outputs, one.empty_output()]) == pytest.approx(whole, abs=1e-4)
    assert set(whole) == {"loss", *one.metrics}


@pytest.mark.parametrize(("logits", "labels"), [(LOGITS, CLASSES), (LOGITS[:, :1], SCORES)], ids=["classes", "scores"])
def test_outputs_of_workers_add_up(logits, labels, monkeypatch):
    one = criterion(logits.shape[1])
    whole = logged(one, [one(model, batch(logits, labels))[2]])
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 3)
    parts = [batch(logits[a:b], labels[a:b]) | {"id": torch.arange(a, b), "examples": 7} for a, b in ((0, 3), (3, 7))]
    outputs = [one(model, part)[2] for part in parts]
    summed = {key: sum(output[key] for output in outputs) for key in outputs[0]}
    assert logged(one, [summed]) == pytest.approx(whole, abs=1e-4)


def test_training_logs_the_loss_and_what_costs_nothing():
    for logits, labels, names in ((LOGITS, CLASSES, {"loss", "accuracy"}), (LOGITS[:, :1], SCORES, {"loss"})):
        one = criterion(logits.shape[1], training=True)
        assert set(logged(one, [one(model, batch(logits, labels))[2]])) == names


def test_examples_without_labels_are_told_in_one_line():
    sample = batch(LOGITS, CLASSES)
    del sample["labels"]
    with pytest.raises(UserError, match="these examples have no labels"):
        criterion()(model, sample)


LANGUAGES = ("en", "de", "sw")
OF_EXAMPLES = torch.tensor([0, 2, 0, 0, 2, 2, 0])


def test_accuracies_of_languages_are_those_of_all_examples_however_they_are_spread():
    one = criterion(languages=LANGUAGES)
    parts = [
        {**batch(LOGITS[a:b], CLASSES[a:b]), "languages": OF_EXAMPLES[a:b]} for a, b in ((0, 1), (1, 2), (2, 5), (5, 7))
    ]
    outputs = [one(model, part)[2] for part in parts]
    found = logged(one, [*outputs, one.empty_output()])
    right = LOGITS.argmax(dim=-1) == torch.tensor(CLASSES)
    expected = {LANGUAGES[i]: right[i == OF_EXAMPLES].double().mean().item() for i in (0, 2)}
    assert found["accuracy_en"] == pytest.approx(expected["en"], abs=1e-4)
    assert found["accuracy_sw"] == pytest.approx(expected["sw"], abs=1e-4)
    assert found["average_accuracy"] == pytest.approx(sum(expected.values()) / 2, abs=1e-4)
    assert found["accuracy"] == pytest.approx(right.double().mean().item(), abs=1e-4)
    assert "accuracy_de" not in found
    workers = [
        {key: sum(output[key] for output in share) for key in outputs[0]}
        for share in (outputs[:3], [outputs[3], one.empty_output()])
    ]
    assert logged(one, workers) == pytest.approx(found, abs=1e-5)


def test_training_on_several_languages_logs_what_costs_nothing():
    one = criterion(training=True, languages=LANGUAGES)
    output = one(model, {**batch(LOGITS, CLASSES), "languages": OF_EXAMPLES})[2]
    assert set(logged(one, [output])) == {"loss", "accuracy"}
