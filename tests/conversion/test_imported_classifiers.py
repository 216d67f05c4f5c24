"""A released classifier's outputs mean what its config.json calls them, whatever their order."""

import json

import pytest
import torch
from naive import small_model
from refusals import refusal, script
from safetensors.torch import load_file, save_file
from toy_released import ROWS, row, write_rows

from pixelgpt_fairseq.checkpoints.loading import load_checkpoint
from pixelgpt_fairseq.checkpoints.released import load_released, save_released
from pixelgpt_fairseq.conversion.released_folders import export_released, import_released
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.evaluation.prediction import predict
from pixelgpt_fairseq.models import provenance
from pixelgpt_fairseq.sources.glue import GLUE_TASKS

RTE = GLUE_TASKS["rte"][0]
TURNED = {"0": "NOT_ENTAILMENT", "1": "Entailment"}


def classifier(folder, turned=False, num_labels=2, **settings):
    """A released folder of a classifier; with *turned*, its two outputs stand in the other order."""
    save_released(small_model(num_labels=num_labels), folder)
    if turned:
        tensors = load_file(folder / "model.safetensors")
        tensors["score.weight"] = tensors["score.weight"].flip(0).contiguous()
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    held = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(held | settings))
    return folder


@pytest.fixture(scope="module")
def rte_data(tmp_path_factory):
    """A data folder of RTE."""
    folder = tmp_path_factory.mktemp("rte")
    for split in ("train", "validation"):
        write_rows(folder / f"GLUE/rte-{split}", [row(*values) for values in ROWS])
    script("render_glue")(["--released", str(folder / "GLUE"), "--task", "rte", "--destdir", str(folder / "data")])
    return folder / "data"


def answers(checkpoint, data):
    return predict(checkpoint, data, ["valid"], cpu=True, progress=False)["valid"]


@pytest.mark.parametrize("task", [RTE, None])
def test_outputs_in_another_order_give_the_same_words(task, rte_data, tmp_path):
    import_released(classifier(tmp_path / "plain"), tmp_path / "plain.pt", RTE, progress=False)
    folder = classifier(tmp_path / "turned", turned=True, id2label=TURNED)
    import_released(folder, tmp_path / "turned.pt", task, progress=False)
    ours, theirs = answers(tmp_path / "turned.pt", rte_data), answers(tmp_path / "plain.pt", rte_data)
    assert torch.equal(ours.logits, theirs.logits)
    assert ours.words() == theirs.words()
    assert ours.metrics() == theirs.metrics()
    # The weights in the file are as they were, and come back so.
    export_released(tmp_path / "turned.pt", tmp_path / "again", progress=False)
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_a_model_keeps_the_order_of_its_outputs_and_says_it(tmp_path):
    folder = classifier(tmp_path / "turned", turned=True, id2label=TURNED)
    import_released(folder, tmp_path / "told.pt", RTE, progress=False)
    import_released(folder, tmp_path / "not_told.pt", progress=False)
    told, not_told = load_checkpoint(tmp_path / "told.pt").model, load_checkpoint(tmp_path / "not_told.pt").model
    assert told.data_settings["classification"]["labels"] == ["not_entailment", "entailment"]
    assert not_told.data_settings["class_names"] == load_checkpoint(folder).model.data_settings["class_names"]
    assert not_told.data_settings["class_names"] == ["NOT_ENTAILMENT", "Entailment"]
    assert torch.equal(told.score.weight, load_released(folder).score.weight)


def test_fine_tuning_starts_from_the_head_in_the_order_of_the_data(tmp_path):
    folder = classifier(tmp_path / "turned", turned=True, id2label=TURNED)
    import_released(folder, tmp_path / "model.pt", progress=False)
    state = torch.load(tmp_path / "model.pt", weights_only=True)
    model = small_model(num_labels=2, data_settings={"classification": RTE.to_dict()})
    provenance.reconcile(model, state["model"], trained=state["task_state"]["data_settings"])
    assert torch.equal(state["model"]["score.weight"], load_released(folder).score.weight.flip(0))


def test_export_of_what_was_trained_here_writes_names_and_their_numbers(tmp_path):
    folder = classifier(tmp_path / "turned", turned=True, id2label=TURNED)
    for task, names in ((RTE, ["not_entailment", "entailment"]), (None, list(TURNED.values()))):
        path = tmp_path / f"{len(names[0])}{task is None}.pt"
        import_released(folder, path, task, progress=False)
        state = torch.load(path, weights_only=True)
        del state["released"]  # as in a checkpoint that was trained further
        torch.save(state, path)
        export_released(path, path.with_suffix(""), progress=False)
        settings = json.loads((path.with_suffix("") / "config.json").read_text())
        assert settings["id2label"] == dict(zip("01", names, strict=True))
        assert settings["label2id"] == dict(zip(names, range(2), strict=True))
        import_released(path.with_suffix(""), path.with_suffix(".again.pt"), progress=False)


@pytest.mark.parametrize(
    ("settings", "task", "message"),
    [
        ({"id2label": {"0": "yes", "1": "no"}}, "rte", "called yes, no; task rte has entailment, not_entailment"),
        ({"id2label": {"0": "entailment", "1": "neutral"}}, "rte", "called entailment, neutral; task rte has"),
        ({"id2label": {"0": "entailment", "2": "not_entailment"}}, "rte", "id2label has the numbers 0, 2"),
        ({"id2label": {"0": "a", "1": "b", "2": "c"}}, "rte", "id2label has the numbers 0, 1, 2: a model of 2 outputs"),
        ({}, "mnli", "2 outputs, task mnli needs 3"),
        ({}, "stsb", "2 outputs, task stsb needs 1"),
        ({"problem_type": "multi_label_classification"}, None, "multi_label_classification"),
    ],
)
def test_names_that_do_not_fit_are_refused(settings, task, message, tmp_path):
    folder = classifier(tmp_path / "folder", **settings)
    with pytest.raises(UserError, match=message):
        import_released(folder, tmp_path / "model.pt", GLUE_TASKS[task][0] if task else None, progress=False)
    assert not (tmp_path / "model.pt").exists()


def test_names_of_another_task_are_refused_when_it_answers(rte_data, tmp_path):
    folder = classifier(tmp_path / "folder", id2label={"0": "negative", "1": "positive"})
    import_released(folder, tmp_path / "model.pt", progress=False)
    with pytest.raises(UserError, match=r"model\.pt: the labels in .* are entailment, not_entailment \(task rte\)"):
        answers(tmp_path / "model.pt", rte_data)


def test_a_folder_that_tells_its_task_in_two_ways_is_refused(tmp_path):
    told = {"pixelgpt_fairseq": {"classification": RTE.to_dict()}}
    folder = classifier(tmp_path / "folder", **told, id2label=TURNED)
    with pytest.raises(UserError, match="which order holds"):
        import_released(folder, tmp_path / "model.pt", progress=False)
    folder = classifier(tmp_path / "qnli", **told)
    with pytest.raises(UserError, match="it was fine-tuned on task rte, not on qnli"):
        import_released(folder, tmp_path / "model.pt", GLUE_TASKS["qnli"][0], progress=False)


def test_a_classifier_has_no_patches_to_show(tmp_path):
    arguments = ["--checkpoint", classifier(tmp_path / "folder"), "--text", "Any", "--output", tmp_path / "out.png"]
    line = refusal(script("show_predictions"), *arguments)
    told = "this model was fine-tuned on a task: it gives labels, and predicts no patches or tokens"
    assert line == f"{tmp_path}/folder: {told}"
    assert not (tmp_path / "out.png").exists()


def test_a_regression_has_no_classes_to_match(tmp_path):
    folder = classifier(tmp_path / "folder", num_labels=1, id2label={"0": "similarity"}, problem_type="regression")
    import_released(folder, tmp_path / "model.pt", GLUE_TASKS["stsb"][0], progress=False)
    assert load_checkpoint(tmp_path / "model.pt").model.data_settings["classification"]["labels"] == []
    with pytest.raises(UserError, match="1 outputs, task rte needs 2"):
        import_released(folder, tmp_path / "rte.pt", RTE, progress=False)
