"""A run that was stopped and resumed ends where the uninterrupted one does."""

import shutil

import pytest
import torch
from fairseq_runs import train
from toy_corpus import TOY_TRAINING

from pixelgpt_fairseq.checkpoints.loading import load_checkpoint

OPTIONS = [
    *TOY_TRAINING,
    *"--modalities pixel --save-interval-updates 3 --max-update 6 --disable-validation --save-dir".split(),
]


def state(path):
    return torch.load(path, weights_only=True)


def updates(folder):
    return state(folder / "checkpoint_last.pt")["optimizer_history"][-1]["num_updates"]


def restarted(checkpoint, folder):
    """A folder from which fairseq-train goes on after *checkpoint*."""
    folder.mkdir()
    shutil.copy(checkpoint, folder / "checkpoint_last.pt")
    return folder


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, weight in expected.items():
        assert torch.equal(found[name], weight), name


@pytest.mark.parametrize(
    "precision",
    [
        [],
        ["--bf16"],
        ["--memory-efficient-bf16"],
        ["--fp16", "--fp16-no-flatten-grads"],  # flat ones are for GPUs
    ],
    ids=lambda flags: " ".join(flags) or "fp32",
)
def test_a_resumed_run_has_the_weights_of_the_uninterrupted_one(toy_data, tmp_path, precision):
    train(toy_data, *OPTIONS, tmp_path / "whole", *precision)
    whole = state(tmp_path / "whole" / "checkpoint_last.pt")["model"]
    resumed = restarted(tmp_path / "whole" / "checkpoint_1_3.pt", tmp_path / "resumed")
    train(toy_data, *OPTIONS, resumed, *precision)
    assert_equal(state(resumed / "checkpoint_last.pt")["model"], whole)
    rounded = all(torch.equal(weight, weight.bfloat16().float()) for weight in whole.values())
    assert rounded == ("--memory-efficient-bf16" in precision)


@pytest.fixture(scope="module")
def bf16_run(toy_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bf16")
    train(toy_data, *OPTIONS, folder, "--bf16")
    return folder / "checkpoint_last.pt"


def test_a_loaded_model_has_the_float32_weights(bf16_run):
    weights = load_checkpoint(bf16_run).model.state_dict()
    assert any(not torch.equal(weight, weight.bfloat16().float()) for weight in weights.values())


def test_finetuning_in_half_precision_begins_with_the_float32_weights(toy_data, bf16_run, tmp_path):
    options = ["--bf16", "--finetune-from-model", bf16_run, "--lr", "0"]
    train(toy_data, *OPTIONS, tmp_path, *options)
    assert_equal(state(tmp_path / "checkpoint_last.pt")["model"], state(bf16_run)["model"])


def test_a_resumed_run_stops_early_where_the_uninterrupted_one_does(toy_data, tmp_path):
    # Without learning no validation is better than the first: the second that is not ends the run.
    options = "--modalities pixel --lr 0 --patience 2 --max-update 8 --save-interval-updates 1 --save-dir".split()
    stopped = train(toy_data, *TOY_TRAINING, *options, tmp_path / "whole")
    assert "early stop" in stopped.log
    assert updates(tmp_path / "whole") == 3
    resumed = restarted(tmp_path / "whole" / "checkpoint_1_2.pt", tmp_path / "resumed")
    assert "early stop" in train(toy_data, *TOY_TRAINING, *options, resumed).log
    assert updates(resumed) == 3
    again = train(toy_data, *TOY_TRAINING, *options, resumed)
    assert "finished before: stopped early: no better validation in the last 2" in again.log
    assert updates(resumed) == 3
    train(toy_data, *TOY_TRAINING, *options, resumed, "--patience", "3")
    assert updates(resumed) == 4
