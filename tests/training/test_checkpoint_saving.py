"""What fairseq-train writes at a save: each state once, whole or not at all, and what the run needs."""

import errno
import os
import re
import shutil
from pathlib import Path

import pytest
import torch
from fairseq_runs import train
from toy_corpus import TOY_TRAINING
from toy_finetuning import TRAINING

from pixelgpt_fairseq.training.checkpoint_saving import LinkingPathManager

EVERY_UPDATE = "--validate-interval-updates 1 --save-interval-updates 1 --keep-interval-updates 1".split()


def updates(path):
    return torch.load(path, weights_only=True)["optimizer_history"][-1]["num_updates"]


def test_a_state_is_written_once_and_its_names_are_links(toy_data, tmp_path):
    train(toy_data, *TOY_TRAINING, "--modalities", "text", "--max-update", 3, *EVERY_UPDATE, "--save-dir", tmp_path)
    last, best, latest = (tmp_path / f"checkpoint_{name}.pt" for name in ("last", "best", "1_3"))
    assert os.path.samefile(last, latest)
    assert sorted(path.name for path in tmp_path.glob("*.pt*")) == sorted({best.name, last.name, latest.name})
    assert updates(last) == 3


def test_a_checkpoint_is_not_changed_by_what_is_saved_after_it(toy_data, tmp_path):
    # The loss falls, and the largest is taken for the best: that of the first update.
    largest = "--best-checkpoint-metric loss --maximize-best-checkpoint-metric".split()
    options = [*TOY_TRAINING, "--modalities", "text", *EVERY_UPDATE, *largest, "--save-dir", tmp_path]
    train(toy_data, *options, "--max-update", 3)
    assert (updates(tmp_path / "checkpoint_best.pt"), updates(tmp_path / "checkpoint_last.pt")) == (1, 3)


def test_a_finetuning_run_saves_what_is_better_what_is_last_and_little_else(toy_glue, tmp_path):
    largest = "--best-checkpoint-metric loss --maximize-best-checkpoint-metric".split()
    options = [toy_glue / "rte", *TRAINING, "--modality", "text", *EVERY_UPDATE, *largest, "--save-dir", tmp_path]
    run = train(*options, "--resume-interval-updates", 3, "--max-update", 6, "--log-format", "json")
    saved = [int(number) for number in re.findall(r"Saved checkpoint .* @ (\d+) updates", run.log)]
    best, expected = None, []
    for update, line in enumerate(run.lines("valid"), start=1):
        better = best is None or line["loss"] >= best[0]
        if better:
            best = line["loss"], update
        if better or update - expected[-1] >= 3 or update == 6:
            expected.append(update)
    assert saved == expected
    assert (updates(tmp_path / "checkpoint_best.pt"), updates(tmp_path / "checkpoint_last.pt")) == (best[1], 6)


def test_a_run_with_an_optimizer_that_has_no_dataclass_goes_on(toy_data, tmp_path):
    options = [*TOY_TRAINING, "--optimizer", "sgd", "--modalities", "text", "--disable-validation"]
    whole = train(toy_data, *options, "--max-update", 3, "--save-dir", tmp_path / "whole").losses()
    for end in (2, 3):
        run = train(toy_data, *options, "--max-update", end, "--save-dir", tmp_path / "parts")
    assert run.losses() == whole[2:]
    saved = torch.load(tmp_path / "parts" / "checkpoint_last.pt", weights_only=True)
    assert saved["cfg"]["optimizer"]["momentum"] == 0.0


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "checkpoint_1_2.pt"
    path.write_bytes(b"new")
    return path


def test_a_name_that_is_taken_is_replaced_and_what_it_names_elsewhere_stays(source, tmp_path):
    other, name = tmp_path / "mine.pt", tmp_path / "checkpoint_best.pt"
    other.write_bytes(b"old")
    name.symlink_to(other)
    assert LinkingPathManager.copy(str(source), str(name), overwrite=True)
    assert name.read_bytes() == b"new"
    assert other.read_bytes() == b"old"
    assert not LinkingPathManager.copy(str(source), str(other), overwrite=False)
    assert other.read_bytes() == b"old"


def test_without_hard_links_a_copy_is_whole_or_absent(source, tmp_path, monkeypatch):
    def refuse(*paths):
        raise OSError(errno.EPERM, "no hard links")

    def stop_halfway(path, copy):
        Path(copy).write_bytes(b"n")
        raise OSError(errno.ENOSPC, "full")

    name = tmp_path / "checkpoint_last.pt"
    name.write_bytes(b"old")
    monkeypatch.setattr(os, "link", refuse)
    with monkeypatch.context() as full:
        full.setattr(shutil, "copyfile", stop_halfway)
        with pytest.raises(OSError, match="full"):
            LinkingPathManager.copy(str(source), str(name), overwrite=True)
    assert name.read_bytes() == b"old"
    assert LinkingPathManager.copy(str(source), str(name), overwrite=True)
    assert name.read_bytes() == b"new"
    assert not os.path.samefile(source, name)
