"""What fairseq's commands answer to labeled data that is not what they need."""

import shutil

import pytest
from refusals import refusal, script
from toy_corpus import documents
from toy_finetuning import fairseq_train, fairseq_validate

from pixelgpt_fairseq.data.data_folder import DataFolder
from pixelgpt_fairseq.data.tokens import train_tokenizer

CHOICE = ["--modality", "text", "--best-checkpoint-metric", "accuracy", "--max-update", 1]


@pytest.fixture
def train(toy_glue, tmp_path):
    """The line with which fairseq-train refuses rte with options; *data* may be another folder."""

    def run(*options, data=toy_glue / "rte"):
        return refusal(lambda _: fairseq_train(data, tmp_path / "run", *CHOICE, *options))

    return run


def test_splits_without_labels_are_told_in_one_line(finetuned):
    one = finetuned["rte"]
    message = "these examples have no labels: choose another --train-subset or --valid-subset"
    assert refusal(lambda _: fairseq_validate(one.data, one.checkpoint, "test")) == message


def test_a_missing_folder_names_the_script_that_makes_it(train, tmp_path):
    line = train(data=tmp_path / "none")
    assert line == f"{tmp_path / 'none'}: no such folder: render examples into it with pixelgpt render-glue"


def test_a_missing_split_is_told_in_one_line(train, finetuned):
    message = "split dev was not rendered, or not to its end (whole splits: test, train, valid)"
    assert train("--valid-subset", "dev").endswith(message)
    assert train("--train-subset", "dev").endswith(message)
    one = finetuned["rte"]
    assert refusal(lambda _: fairseq_validate(one.data, one.checkpoint, "dev")).endswith(message)


def test_labels_of_another_task_are_told_in_one_line(finetuned, toy_glue):
    rte = finetuned["rte"]
    assert refusal(lambda _: fairseq_validate(toy_glue / "mnli", rte.checkpoint, "valid")) == (
        f"the labels in {toy_glue / 'mnli'} are entailment, neutral, contradiction (task mnli), the checkpoint was "
        "trained on entailment, not_entailment (task rte)"
    )


def test_damaged_labels_are_told_in_one_line(train, toy_glue, tmp_path):
    data = shutil.copytree(toy_glue / "rte", tmp_path / "rte")
    labels = DataFolder(data).labels_path("train")
    labels.write_bytes(labels.read_bytes()[:-8])
    assert train(data=data).startswith(f"{labels}: truncated or damaged")


def test_a_loss_beyond_all_numbers_ends_the_run(train):
    line = train("--max-update", 5, "--lr", 1e38, "--clip-norm", 0, "--disable-validation")
    assert line.startswith(
        "update 2: the loss or its gradients are not finite: choose a lower --lr, a longer --warmup-updates"
    )


def test_data_rendered_otherwise_than_the_checkpoint_expects_is_named(finetuned, toy_glue, tmp_path, caplog):
    one = finetuned["rte"]
    options = ["--tokenizer", toy_glue / "tokenizer.model", "--font-size", 9, "--destdir", tmp_path / "data"]
    arguments = ["--glue-dir", toy_glue / "GLUE", "--task", "rte", *options, "--splits", "train"]
    script("render_glue")([str(argument) for argument in arguments])
    start = ["--modality", "pair", "--max-update", 1, "--finetune-from-model", one.checkpoint]
    fairseq_train(tmp_path / "data", tmp_path / "run", *start, "--disable-validation")
    found = [message for message in caplog.messages if "rendered otherwise" in message]
    assert set(found) == {"the checkpoint's text was rendered otherwise than this data: font_size: 8 against 9"}


def test_another_tokenizer_than_the_checkpoints_is_refused(finetuned, toy_glue, tmp_path):
    one = finetuned["rte"]
    (tmp_path / "other.model").write_bytes(train_tokenizer(iter(documents()), 410).serialized)
    options = ["--tokenizer", tmp_path / "other.model", "--destdir", tmp_path / "data", "--splits", "train", "valid"]
    script("render_glue")([str(part) for part in ["--glue-dir", toy_glue / "GLUE", "--task", "rte", *options]])
    start = ["--modality", "pair", "--max-update", 1, "--finetune-from-model", one.checkpoint]
    for refuses in (
        lambda _: fairseq_validate(tmp_path / "data", one.checkpoint, "valid"),
        lambda _: fairseq_train(tmp_path / "data", tmp_path / "run", *start),
    ):
        assert "is not the one this checkpoint was trained with" in refusal(refuses)


def test_data_without_tokens_is_told_in_one_line(train, toy_glue, tmp_path):
    options = ["--destdir", tmp_path / "data", "--splits", "train", "valid"]
    script("render_glue")([str(part) for part in ["--glue-dir", toy_glue / "GLUE", "--task", "rte", *options]])
    assert DataFolder(tmp_path / "data").tokenizer() is None
    line = train(data=tmp_path / "data")
    assert line == (
        f"{tmp_path / 'data'}: no tokens, which --modality text reads: render it with the --tokenizer of the checkpoint"
    )
