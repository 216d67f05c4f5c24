"""Commands read a checkpoint once for all checks that they begin with."""

import shutil
from pathlib import Path

import pytest
import torch
from fairseq_runs import train
from toy_corpus import TOY_TRAINING

from pixelgpt_fairseq.checkpoints.loading import each_read_once, read_state
from pixelgpt_fairseq.errors import UserError


@pytest.fixture
def read(monkeypatch):
    """The files that were read, each time."""
    files, load = [], torch.load
    monkeypatch.setattr(torch, "load", lambda path, **options: files.append(str(path)) or load(path, **options))
    return files


def test_a_file_is_read_once_unless_it_changes(checkpoint, tmp_path, read):
    path = Path(shutil.copy(checkpoint, tmp_path))
    with each_read_once():
        assert read_state(path).keys() == read_state(path).keys()
        assert len(read) == 1
        torch.save({**read_state(path), "more": 1}, path.with_name("other"))
        path.with_name("other").replace(path)
        assert read_state(path)["more"] == 1
        path.unlink()
        for _ in range(2):
            with pytest.raises(UserError, match="no such file"):
                read_state(path)
    shutil.copy(checkpoint, tmp_path)
    read.clear()
    for _ in range(2):
        read_state(path)
    assert len(read) == 2  # nothing is kept


def test_a_run_that_goes_on_reads_its_checkpoint_for_the_checks_for_the_model_and_for_itself(
    toy_data, checkpoint, tmp_path, read
):
    last = tmp_path / "checkpoint_last.pt"
    shutil.copy(checkpoint, last)
    options = "--modalities text,pixel,pair --max-update 4 --disable-validation --no-epoch-checkpoints".split()
    train(toy_data, *TOY_TRAINING, *options, "--save-dir", tmp_path, "--continue-anyway")
    assert read.count(str(last)) <= 3, read
