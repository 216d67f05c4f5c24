"""The names of a classifier's outputs are read strictly, and matched to a task's classes by what they say."""

from pathlib import Path

import pytest

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.sources.class_names import match_classes, read_class_names
from pixelgpt_fairseq.sources.glue import GLUE_TASKS

WHERE = Path("folder/config.json")
RTE = GLUE_TASKS["rte"][0].labels
MNLI = GLUE_TASKS["mnli"][0].labels


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({}, None),
        ({"id2label": None, "label2id": None}, None),
        ({"id2label": {"0": "LABEL_0", "1": "LABEL_1"}, "label2id": {"LABEL_0": 0, "LABEL_1": 1}}, None),
        ({"id2label": {"0": "no", "1": "yes"}}, ["no", "yes"]),
        ({"id2label": {"1": "yes", "0": "no"}}, ["no", "yes"]),
        ({"label2id": {"yes": 1, "no": "0"}}, ["no", "yes"]),
        ({"id2label": {"0": "no", "1": "yes"}, "label2id": {"LABEL_0": 0, "LABEL_1": 1}}, ["no", "yes"]),
        ({"id2label": {"0": "LABEL_1", "1": "LABEL_0"}}, ["LABEL_1", "LABEL_0"]),
        ({"id2label": {"0": 1, "1": 0}}, ["1", "0"]),
        ({"num_labels": 2, "problem_type": "single_label_classification"}, None),
    ],
)
def test_names_stand_in_the_order_of_the_outputs(settings, names):
    assert read_class_names(settings, WHERE, 2) == names


@pytest.mark.parametrize(
    ("settings", "outputs", "message"),
    [
        ({"id2label": {"0": "no", "2": "yes"}}, 2, r"id2label has the numbers 0, 2: a model of 2 outputs"),
        ({"id2label": {"1": "no", "2": "yes"}}, 2, r"id2label has the numbers 1, 2"),
        ({"label2id": {"no": 0, "yes": 3}}, 2, r"label2id has the numbers 0, 3"),
        ({"id2label": {"0": "a", "1": "b"}}, 3, r"id2label has the numbers 0, 1: a model of 3 outputs"),
        ({"id2label": {"0": "yes", "1": "Yes"}}, 2, "two outputs have the same name: yes, Yes"),
        ({"id2label": {"0": "no", "1": "yes"}, "label2id": {"yes": 0, "no": 1}}, 2, "label2id yes, no"),
        ({"id2label": ["no", "yes"]}, 2, "is no table of names and numbers"),
        ({"id2label": {"zero": "no", "1": "yes"}}, 2, r'id2label: "zero" for "no" is not a valid value'),
        ({"id2label": {"0": None, "1": "yes"}}, 2, r'"0" for null is not a valid value'),
        ({"id2label": {"0": " ", "1": "yes"}}, 2, "is not a valid value"),
        ({"id2label": {"0": "a", "00": "b", "1": "c"}}, 2, "is not a valid value"),
        ({"label2id": {"yes": 0.5, "no": 1}}, 2, "is not a valid value"),
        ({"label2id": {"yes": True, "no": 0}}, 2, "is not a valid value"),
        ({"num_labels": 3}, 2, "num_labels 3, the weights have 2 outputs"),
        ({"problem_type": "multi_label_classification"}, 2, "multi_label_classification"),
        ({"problem_type": "regression"}, 2, "regression"),
        ({"problem_type": "single_label_classification"}, 1, "single_label_classification"),
    ],
)
def test_names_that_cannot_be_are_refused(settings, outputs, message):
    with pytest.raises(UserError, match=rf"^folder/config\.json: .*{message}"):
        read_class_names(settings, WHERE, outputs)


@pytest.mark.parametrize(
    ("names", "labels", "task", "order"),
    [
        (["entailment", "not_entailment"], RTE, "rte", [0, 1]),
        (["NOT_ENTAILMENT", "Entailment"], RTE, "rte", [1, 0]),
        (["not-entailment", " entailment "], RTE, "qnli", [1, 0]),
        (["CONTRADICTION", "NEUTRAL", "ENTAILMENT"], MNLI, "mnli", [2, 1, 0]),
        (["neutral", "contradictory", "entailment"], MNLI, "xnli", [1, 2, 0]),
        (["LABEL_1", "LABEL_0"], RTE, "rte", [1, 0]),
        (["1", "0"], RTE, "rte", [1, 0]),
        (["1", "0"], ("0", "1"), "sst2", [1, 0]),
        (["POSITIVE", "NEGATIVE"], ("0", "1"), "sst2", [1, 0]),
        (["not_equivalent", "equivalent"], ("0", "1"), "mrpc", [0, 1]),
        (["LABEL_0", "LABEL_1"], ("1", "2"), "own", [0, 1]),
        (["2", "1"], ("1", "2"), "own", [1, 0]),
        (["Yes", "yes"], ("yes", "Yes"), "own", [1, 0]),
        (["not_sure", "quite-sure"], ("Quite sure", "Not sure"), "own", [1, 0]),
        (["a-b", "a b"], ("a b", "a-b"), "own", [1, 0]),
        (["score"], (), "stsb", []),
    ],
)
def test_outputs_are_matched_by_name(names, labels, task, order):
    assert match_classes(names, labels, task) == order


@pytest.mark.parametrize(
    ("names", "labels", "task"),
    [
        (["yes", "no"], RTE, "rte"),
        (["positive", "negative"], ("0", "1"), "cola"),
        (["0", "1"], ("1", "2"), "own"),
        (["LABEL_1", "LABEL_2"], RTE, "rte"),
        (["entailment", "LABEL_0"], RTE, "rte"),
        (["entailment"], RTE, "rte"),
        (["entailment", "neutral", "contradiction"], RTE, "rte"),
        (["a", "b"], (), "stsb"),
        (["YES", "no"], ("yes", "Yes"), "own"),
    ],
)
def test_names_of_something_else_are_refused(names, labels, task):
    with pytest.raises(UserError, match=rf"outputs are called {', '.join(names)}; task {task} has "):
        match_classes(names, labels, task)
