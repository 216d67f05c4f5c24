"""Runs of several workers that begin with a checkpoint, started as fairseq starts them on a machine with GPUs."""

import json
import re
import shutil
from types import SimpleNamespace

import fairseq_cli.train
import fairseq_cli.validate
import numpy as np
import pytest
import torch
import torch.distributed
from fairseq.distributed import utils as distributed_utils
from fairseq_runs import Run, scores, train, validate
from processes import start_fairseq_by_fork
from refusals import script
from test_glue_runs import FINETUNING, VALIDATION
from toy_corpus import TOY_TRAINING
from toy_glue import write_glue
from two_workers import (
    DESCENT,
    GLOO,
    assert_same_weights,
    free_port,
    run_two_workers,
    start_two_workers,
    train_by_two_workers,
)

from pixelgpt_fairseq.data.data_folder import DataFolder
from pixelgpt_fairseq.tasks import worker_exchange

MODALITIES = ("text", "pixel", "pair")
PRETRAINING = [
    *TOY_TRAINING,
    *"--modalities text,pixel,pair --disable-validation --save-interval-updates 3 --max-update 6".split(),
    "--save-dir",
]


@pytest.fixture(scope="module")
def two_workers_run(toy_data, tmp_path_factory):
    """6 updates in bf16 by two workers: their losses, and the folder with the checkpoints of the third and the last."""
    folder = tmp_path_factory.mktemp("two")
    losses = Run(train_by_two_workers(toy_data, *PRETRAINING, folder, "--bf16")).losses()
    assert len(losses) == 6
    return losses, folder


def restarted(checkpoint, folder):
    """A folder from which fairseq-train goes on after *checkpoint*."""
    folder.mkdir()
    shutil.copy(checkpoint, folder / "checkpoint_last.pt")
    return folder


def updates(folder):
    return torch.load(folder / "checkpoint_last.pt", weights_only=True)["optimizer_history"][-1]["num_updates"]


def test_two_workers_resume_step_for_step(toy_data, two_workers_run, tmp_path):
    expected, whole = two_workers_run
    resumed = restarted(whole / "checkpoint_1_3.pt", tmp_path / "resumed")
    main, arguments = fairseq_cli.train.cli_main, [toy_data, *PRETRAINING, resumed, "--bf16"]
    output = start_two_workers(main, *arguments, method="spawn")
    # A worker that was spawned from here logs in the format of Python, not of fairseq.
    lines = [json.loads(line) for line in re.findall(r"INFO:train_inner:(\{.*\})", output)]
    assert [float(line["loss"]) for line in lines] == expected[3:]
    assert_same_weights(resumed, whole, tolerance=0)


def test_one_worker_resumes_the_checkpoint_of_two(toy_data, two_workers_run, tmp_path):
    expected, whole = two_workers_run
    alone = restarted(whole / "checkpoint_1_3.pt", tmp_path / "alone")
    losses = train(toy_data, *PRETRAINING, alone, "--bf16", "--update-freq", "2").losses()
    assert losses == pytest.approx(expected[3:], rel=0.01)  # two batches added up by one worker, in bfloat16
    assert updates(alone) == 6


def test_two_workers_resume_the_checkpoint_of_one(toy_data, checkpoint, tmp_path):
    two = restarted(checkpoint, tmp_path / "two")
    assert len(Run(train_by_two_workers(toy_data, *PRETRAINING, two, "--continue-anyway")).losses()) == 3
    assert updates(two) == 6


def test_two_workers_begin_what_one_with_twice_the_update_frequency_ends(toy_data, tmp_path):
    options = [*PRETRAINING[:-1], *DESCENT, "--save-dir"]
    train(toy_data, *options, tmp_path / "alone", "--update-freq", "4")
    start_two_workers(fairseq_cli.train.cli_main, toy_data, *options, tmp_path / "two", "--update-freq", "2")
    changed = restarted(tmp_path / "two" / "checkpoint_1_3.pt", tmp_path / "changed")
    assert len(train(toy_data, *options, changed, "--update-freq", "4").losses()) == 3
    for folder in ("two", "changed"):
        assert_same_weights(tmp_path / folder, tmp_path / "alone", tolerance=1e-6)


@pytest.fixture(scope="module")
def rte(checkpoint, tmp_path_factory):
    folder = tmp_path_factory.mktemp("glue")
    write_glue(folder / "GLUE")
    options = ["--glue-dir", folder / "GLUE", "--task", "rte", "--destdir", folder / "rte", "--like", checkpoint]
    script("render_glue")([str(option) for option in options])
    return folder / "rte"


@pytest.mark.parametrize("modality", MODALITIES)
def test_two_workers_finetune_a_checkpoint_and_validate_it(rte, checkpoint, tmp_path, modality):
    options = ["--modality", modality, "--finetune-from-model", checkpoint, "--max-update", "3"]
    options += ["--best-checkpoint-metric", "accuracy", "--save-dir", tmp_path]
    trained = Run(train_by_two_workers(rte, *FINETUNING, *options))
    assert "loading pretrained model" in trained.log
    assert len(trained.losses()) == 3
    options = [*VALIDATION, "--path", tmp_path / "checkpoint_last.pt"]
    validated = Run(run_two_workers(fairseq_cli.validate.cli_main, rte, *options))
    names = ("loss", "accuracy")
    assert scores(validated.lines("valid")[-1], *names) == pytest.approx(scores(trained.lines("valid")[-1], *names))


def test_finetuning_by_two_workers_equals_one_also_where_the_last_update_is_not_full(rte, tmp_path):
    batch_size = 6
    assert -(-len(examples_of(rte)) // batch_size) % 4 == 3  # one worker has one batch less than the other
    options = [*FINETUNING, "--modality", "text", "--max-epoch", "1", "--disable-validation", *DESCENT]
    options += ["--batch-size", str(batch_size), "--save-dir"]
    alone = train(rte, *options, tmp_path / "alone", "--update-freq", "4").lines("train")
    output = train_by_two_workers(rte, *options, tmp_path / "two", "--update-freq", "2")
    together = Run(output).lines("train")
    assert together[-1]["loss"] == pytest.approx(alone[-1]["loss"], abs=2e-3)
    assert_same_weights(tmp_path / "two", tmp_path / "alone", tolerance=1e-6)


def examples_of(data):
    return np.load(DataFolder(data).labels_path("train"))


def test_two_workers_validate_pretraining_as_one_does(toy_data, checkpoint):
    options = "--user-dir pixelgpt_fairseq --task rendered_pretraining --batch-size 7 --log-format json --cpu".split()
    options += ["--path", checkpoint]
    alone = validate(toy_data, *options)
    together = Run(run_two_workers(fairseq_cli.validate.cli_main, toy_data, *options))
    names = ("loss", "pixel_patch_loss", "text_token_loss", "pair_patch_loss", "pair_token_loss")
    expected = scores(alone.lines("valid")[-1], *names)
    assert scores(together.lines("valid")[-1], *names) == pytest.approx(expected, rel=1e-3)


def test_finetune_py_trains_by_two_workers(rte, checkpoint, tmp_path, monkeypatch, capsys):
    printed = start_fairseq_by_fork(monkeypatch, start_two_workers)
    options = ["--model", "dualgpt", "--task", "rte", "--modality", "pair", "--data", rte, "--save-dir", tmp_path]
    options += ["--checkpoint", checkpoint, "--gpus", 2, "--batch-size", 8, "--"]
    options += [*GLOO, *"--max-update 2 --max-positions 32 --validate-interval-updates 2".split()]
    script("finetune")([str(option) for option in options])
    assert "training on 2 devices" in printed[0]
    assert re.search(r"checkpoint_best\.pt: accuracy [\d.]+", capsys.readouterr().out)


def test_a_fairseq_with_other_functions_is_left_alone_and_named(caplog):
    other = SimpleNamespace(_broadcast_object_slow=lambda obj, group: obj)
    known = other._broadcast_object_slow
    worker_exchange.replace_object_exchange(other)
    assert other._broadcast_object_slow is known
    assert not hasattr(other, "all_gather_list")
    assert "--load-checkpoint-on-all-dp-ranks" in caplog.text


@pytest.fixture
def one_process_group():
    torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{free_port()}", world_size=1, rank=0)
    yield torch.distributed.group.WORLD
    torch.distributed.destroy_process_group()


def test_gathered_objects_may_be_longer_than_fairseqs_buffer(one_process_group):
    data = [{"scores": torch.arange(100_000)}]
    (gathered,) = distributed_utils.all_gather_list(data, group=one_process_group, max_size=16384)
    assert torch.equal(gathered[0]["scores"], data[0]["scores"])
