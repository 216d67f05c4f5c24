"""Runs of fairseq in this process know nothing of each other, and leave nothing behind."""

import logging
import random

import numpy as np
import torch
from fairseq import checkpoint_utils
from fairseq.logging import progress_bar
from fairseq_runs import progress, scores, train, validate
from toy_corpus import TOY_TRAINING

VALIDATION = "--user-dir pixelgpt_fairseq --task rendered_pretraining --cpu --batch-size 2 --log-format json".split()
OPTIONS = "--modalities text --max-update 2 --save-interval-updates 1 --keep-best-checkpoints 1".split()


def test_a_run_after_another_is_the_run_in_a_new_process(toy_data, tmp_path):
    def run(name):
        folder = tmp_path / name
        places = ["--save-dir", folder, "--tensorboard-logdir", folder / "events", "--log-file", folder / "train.log"]
        folder.mkdir()
        return train(toy_data, *TOY_TRAINING, *OPTIONS, *places)

    first, second = run("first"), run("second")
    assert second.losses() == first.losses()
    assert len(first.losses()) == 2
    for name in ("first", "second"):
        assert (tmp_path / name / "checkpoint_best.pt").exists()
        assert list((tmp_path / name / "events").rglob("events.out.tfevents.*"))
        lines = [
            line for line in (tmp_path / name / "train.log").read_text().splitlines() if "begin validation" in line
        ]
        assert len(lines) == 2
    found = validate(toy_data, *VALIDATION, "--path", tmp_path / "second" / "checkpoint_last.pt")
    (valid,) = found.lines("valid")
    assert abs(valid["loss"] - second.lines("valid")[-1]["loss"]) < 1e-3


def test_this_process_is_as_it_was(toy_data, tmp_path):
    def kept():
        root = logging.getLogger()
        loggers = [root, logging.getLogger("fairseq_cli.train"), logging.getLogger("fairseq.logging.progress_bar")]
        generators = torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()
        return [logger.handlers[:] for logger in loggers], root.level, generators

    before = kept()
    train(toy_data, *TOY_TRAINING, *OPTIONS, "--save-dir", tmp_path, "--log-file", tmp_path / "train.log")
    validate(toy_data, *VALIDATION, "--path", tmp_path / "checkpoint_last.pt")
    assert kept() == before
    assert not hasattr(checkpoint_utils.save_checkpoint, "best")
    assert progress_bar._tensorboard_writers == {}


def test_a_score_is_never_taken_for_another_whose_name_ends_like_it():
    log = (
        'a | INFO | valid.sw | {"epoch": 1, "valid.sw_loss": "3"}\n'
        'b | INFO | valid | {"epoch": 1, "valid_accuracy": "0.25", "valid_best_accuracy": "0.5", "valid_wall": "x"}\n'
        'c | INFO | valid_mismatched | {"epoch": 1, "valid_mismatched_accuracy": "1"}\n'
    )
    (line,) = progress(log, "valid")
    assert line == {"epoch": 1, "accuracy": 0.25, "best_accuracy": 0.5, "wall": "x"}
    assert scores(line, "accuracy") == {"accuracy": 0.25}
