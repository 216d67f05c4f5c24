"""Validation during fine-tuning: every metric chooses checkpoints and ends runs; what comes of a seed."""

import pytest
import torch
from toy_finetuning import fairseq_train, fairseq_validate
from toy_glue import write_examples

from pixelgpt_fairseq.checkpoints.loading import read_state
from pixelgpt_fairseq.evaluation.runs import read_log
from pixelgpt_fairseq.sources.glue import GLUE_TASKS

# Every metric that a recipe or a user may choose by, on a task that has it.
CHOICES = [
    ("mrpc", "f1"),
    ("cola", "matthews_correlation"),
    ("stsb", "pearsonr"),
    ("stsb", "spearmanr"),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Folders of toy examples, pixels alone, by task."""
    folder = tmp_path_factory.mktemp("data")
    for task in {task for task, _ in CHOICES}:
        for split, number in (("train", 24), ("valid", 11)):
            write_examples(folder / task, split, GLUE_TASKS[task][0], None, number)
    return folder


def train(data, folder, metric, *options):
    fairseq_train(data, folder, "--modality", "pixel", "--best-checkpoint-metric", metric, *options)
    found = read_log(folder / "train.log").validations
    return {updates: scores["valid"] for updates, scores in found.items()}


@pytest.mark.parametrize(("task", "metric"), CHOICES)
def test_every_metric_chooses_the_best_checkpoint(data, tmp_path, task, metric):
    options = ["--max-update", 6, "--validate-interval-updates", 2, "--save-interval-updates", 2]
    validations = train(data / task, tmp_path, metric, *options)
    names = set(GLUE_TASKS[task][0].metrics)
    assert len(validations) >= 3
    assert all(names <= scores.keys() for scores in validations.values())
    best = read_state(tmp_path / "checkpoint_best.pt")
    updates = best["optimizer_history"][-1]["num_updates"]
    assert best["extra_state"]["best"] == max(scores[metric] for scores in validations.values())
    assert best["extra_state"]["best"] == validations[updates][metric]
    found = fairseq_validate(data / task, tmp_path / "checkpoint_best.pt", "valid")
    assert {name: found[name] for name in names} == pytest.approx(
        {name: validations[updates][name] for name in names}, abs=1e-4
    )


@pytest.mark.parametrize(("task", "metric"), [("mrpc", "f1"), ("stsb", "spearmanr")])
def test_a_metric_that_gets_no_better_ends_the_run(data, tmp_path, task, metric):
    still = ["--lr", 0, "--patience", 2, "--max-update", 100, "--validate-interval-updates", 2]
    validations = train(data / task, tmp_path, metric, *still, "--validate-interval", 1000)
    assert list(validations) == [2, 4, 6]  # the first, and two that are no better
    assert "early stop since valid performance hasn't improved for last 2 runs" in (tmp_path / "train.log").read_text()


def test_runs_are_the_same_by_seed(data, tmp_path):
    def weights(name, *options):
        train(data / "mrpc", tmp_path / name, "f1", "--max-update", 2, *options)
        return torch.load(tmp_path / name / "checkpoint_last.pt", weights_only=True)["model"]

    first, again, other = weights("a"), weights("b"), weights("c", "--seed", 2)
    assert all(torch.equal(again[name], weight) for name, weight in first.items())
    assert not torch.equal(other["score.weight"], first["score.weight"])
