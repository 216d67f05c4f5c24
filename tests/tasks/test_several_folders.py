"""Folders that take turns by epoch (``a:b``) leave nothing behind, however many epochs."""

import gc
import multiprocessing
import shutil
import statistics
import threading
import weakref
from itertools import pairwise
from pathlib import Path

import pytest
from fairseq_runs import train
from toy_corpus import SMALLER, TOY_TRAINING

from pixelgpt_fairseq.data.modality_mixture import ModalityMixture
from pixelgpt_fairseq.tasks.rendered_pretraining import RenderedPretrainingTask

EPOCHS = 20


def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_twenty_epochs_keep_processes_threads_and_memory_constant(toy_data, tmp_path, monkeypatch):
    other = shutil.copytree(toy_data, tmp_path / "other")
    found, data_sets = [], weakref.WeakSet()
    make = ModalityMixture.__init__
    begin, step = RenderedPretrainingTask.begin_epoch, RenderedPretrainingTask.train_step
    gc.collect()
    gc.disable()
    processes = set(multiprocessing.active_children())

    def made(self, *arguments, **options):
        data_sets.add(self)
        make(self, *arguments, **options)

    def begin_epoch(self, epoch, model):
        # Nobody collects cycles here: what is left is left until Python happens to.
        found.append({"data sets": len(data_sets), "memory": resident_bytes()})
        return begin(self, epoch, model)

    def train_step(self, *arguments, **options):
        children = set(multiprocessing.active_children()) - processes
        found[-1] |= {"processes": len(children), "threads": threading.active_count()}
        return step(self, *arguments, **options)

    monkeypatch.setattr(ModalityMixture, "__init__", made)
    monkeypatch.setattr(RenderedPretrainingTask, "begin_epoch", begin_epoch)
    monkeypatch.setattr(RenderedPretrainingTask, "train_step", train_step)
    try:
        options = "--modalities text --max-epoch 20 --batch-size 64 --num-workers 2 --disable-validation --no-save"
        train(f"{toy_data}:{other}", *TOY_TRAINING, *SMALLER, *options.split())
    finally:
        gc.enable()
    assert len(found) == EPOCHS
    memory = [each.pop("memory") for each in found]
    # The first epochs are not yet behind what Python and torch keep for use again.
    assert found[3] == {**found[3], "processes": 2, "data sets": 1}
    assert found[3:] == [found[3]] * (EPOCHS - 3)
    # What is kept of an epoch grows with each; what the allocators of Python and torch ask for grows at times.
    assert statistics.median(after - before for before, after in pairwise(memory[3:])) < 64 << 10
    assert memory[-1] - memory[3] < 64 << 20


@pytest.mark.parametrize("folders", [1, 2])
def test_every_example_comes_once_before_any_comes_again(toy_data, tmp_path, folders, monkeypatch):
    paths = [shutil.copytree(toy_data, tmp_path / str(i)) for i in range(folders)]
    seen = []
    step = RenderedPretrainingTask.train_step

    def train_step(self, sample, *rest, **options):
        seen.append(sample["id"].tolist())
        return step(self, sample, *rest, **options)

    monkeypatch.setattr(RenderedPretrainingTask, "train_step", train_step)
    options = [*TOY_TRAINING, "--modalities", "text", "--batch-size", "4", "--update-freq", "3", "--disable-validation"]
    epochs = 4 // folders * folders
    run = train(":".join(map(str, paths)), *options, "--max-epoch", epochs, "--no-save")
    assert run.log.count("begin training epoch") == epochs
    per_epoch = len(seen) // epochs
    for folder in range(folders):
        mine = [each for i, each in enumerate(seen) if i // per_epoch % folders == folder]
        counts = [0] * (max(max(each) for each in mine) + 1)
        for each in mine:
            for i in each:
                counts[i] += 1
        assert max(counts) - min(counts) <= 1
