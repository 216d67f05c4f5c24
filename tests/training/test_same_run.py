"""A folder that holds a run takes that run alone: with other settings it is refused, and what differs is named."""

import json
import shutil

import pytest
import torch
from fairseq_runs import train
from hydra_runs import PRETRAINING, SMALL_PRETRAINING, hydra_train
from refusals import refusal
from toy_corpus import MAX_PATCHES, TOY_TRAINING
from toy_finetuning import TRAINING

from pixelgpt_fairseq.data.data_folder import DataFolder
from pixelgpt_fairseq.preprocessing.binarize import binarize
from pixelgpt_fairseq.rendering import RendererConfig

WAYS_OUT = (
    "choose another --save-dir (Hydra: hydra.run.dir), or go on with that run in spite of this by --continue-anyway "
    "(task.continue_anyway=true)"
)


def updates(folder):
    return torch.load(folder / "checkpoint_last.pt", weights_only=True)["optimizer_history"][-1]["num_updates"]


@pytest.fixture
def run(toy_data, checkpoint, tmp_path):
    """Gives fairseq-train the options of a run of three updates and others; the folder holds that run."""
    folder = tmp_path / "run"
    folder.mkdir()
    shutil.copy(checkpoint, folder / "checkpoint_last.pt")
    options = [*TOY_TRAINING, "--modalities", "text,pixel,pair", "--disable-validation", "--save-dir", folder]
    return lambda *more, data=toy_data: train(data, *options, "--max-update", 4, *more)


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        ("--lr 1e-4 --seed 7", "--seed 7, not 1; --lr 0.0001, not 0.003"),
        ("--batch-size 4", "--batch-size x --update-freq x workers 4, not 2"),
        ("--update-freq 3", "--batch-size x --update-freq x workers 6, not 2"),
        ("--optimizer fused_adamw", "--optimizer fused_adamw, not adam"),
        ("--adam-betas (0.9,0.5)", "--adam-betas [0.9, 0.5], not [0.9, 0.999]"),
        ("--modality-weights 1,1,2", "--modality-weights [1, 1, 2], not (none)"),
        ("--patch-loss-weight 10", "--patch-loss-weight 10.0, not 1.0"),
        ("--hidden-size 24", "--hidden-size 24, not 48"),
        ("--dropout 0.1", "--dropout 0.1, not 0.0"),
        ("--pair-patches 16", "--pair-patches 16, not 32"),
        ("--lr-scheduler cosine", "--lr-scheduler cosine, not fixed"),
    ],
)
def test_a_folder_that_holds_another_run_is_refused(run, tmp_path, options, difference):
    line = refusal(lambda _: run(*options.split()))
    assert line.startswith(f"{tmp_path / 'run'}: holds another run: ")
    assert difference in line
    assert line.endswith(f": {WAYS_OUT}")
    assert updates(tmp_path / "run") == 3


def test_other_ways_into_the_folder_of_another_run_are_refused_too(run, checkpoint, tmp_path):
    folder = tmp_path / "run"
    ways = (
        ["--no-save"],
        ["--restore-file", checkpoint],
        ["--restore-file", checkpoint, "--reset-optimizer", "--reset-dataloader"],
    )
    for way in ways:
        assert "holds another run: --seed 2, not 1: " in refusal(lambda _, way=way: run("--seed", 2, *way))
    line = refusal(lambda _: run("--finetune-from-model", checkpoint))
    assert line == f"{folder}: holds another run: --finetune-from-model {checkpoint}, not (none): {WAYS_OUT}"
    (folder / "checkpoint_last.pt").rename(folder / "checkpoint_best.pt")
    assert "holds another run: --seed 2, not 1: " in refusal(lambda _: run("--seed", 2))


def test_the_folder_of_a_run_of_another_task(run, toy_glue, tmp_path):
    options = [*TRAINING, "--modality", "text", "--best-checkpoint-metric", "accuracy", "--save-dir", tmp_path / "run"]
    line = refusal(
        lambda _: train(toy_glue / "rte", *options, "--finetune-from-model", tmp_path / "run/checkpoint_last.pt")
    )
    assert line == (
        f"{tmp_path / 'run'}: holds another run: --task rendered_glue, not rendered_pretraining: "
        "choose another --save-dir (Hydra: hydra.run.dir); "
        f"--finetune-from-model {tmp_path / 'run' / 'checkpoint_last.pt'} begins with the weights of that run"
    )


def test_the_same_run_goes_on(run, toy_data, tmp_path):
    """It may be longer, told of otherwise, and shared by its workers otherwise."""
    run("--log-interval", 7, "--log-format", "simple", "--save-interval-updates", 5, "--keep-interval-updates", 1)
    run("--max-update", 5, "--batch-size", 1, "--update-freq", 2, "--num-workers", 1, "--checkpoint-activations")
    run("--max-update", 6, "--validate-interval-updates", 1, "--best-checkpoint-metric", "ppl")
    (tmp_path / "link").symlink_to(toy_data)
    run("--max-update", 7, data=tmp_path / "link")
    assert updates(tmp_path / "run") == 7


def test_copies_of_the_data_are_the_same_data_and_others_are_not(run, toy_data, tmp_path):
    shutil.copytree(toy_data, tmp_path / "copy")
    run(data=tmp_path / "copy")
    text_data, tokenizer = tmp_path / "text", DataFolder(toy_data).tokenizer()  # rendered while training
    for split in ("train", "valid"):
        source, config = toy_data.parent / f"{split}.txt", RendererConfig(max_patches=MAX_PATCHES)
        binarize([source], text_data, split, config, tokenizer, store="text", progress=False)
    run("--max-update", 5, data=text_data)
    shutil.copytree(toy_data, tmp_path / "data")
    path = tmp_path / "data" / "train.manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"documents": 7}))
    line = refusal(lambda _: run("--max-update", 6, data=tmp_path / "data"))
    assert line == f"{tmp_path / 'run'}: holds another run: data {tmp_path / 'data'}, not {text_data}: {WAYS_OUT}"
    line = refusal(lambda _: run("--max-update", 6, data=f"{toy_data}:{toy_data}"))
    assert line.startswith(f"{tmp_path / 'run'}: holds another run: data {toy_data}:{toy_data}, not {text_data}: ")


def test_data_that_was_moved_is_the_same_data(toy_data, tmp_path):
    options = [*TOY_TRAINING, "--modalities", "pixel", "--disable-validation", "--save-dir", tmp_path / "run"]
    shutil.copytree(toy_data, tmp_path / "data")
    train(tmp_path / "data", *options, "--max-update", 1)
    (tmp_path / "disk").mkdir()
    (tmp_path / "data").rename(tmp_path / "disk" / "data")
    train(tmp_path / "disk" / "data", *options, "--max-update", 2)
    (tmp_path / "disk" / "data").rename(tmp_path / "other")
    line = refusal(lambda _: train(tmp_path / "other", *options, "--max-update", 3))
    assert f"holds another run: data {tmp_path / 'other'}, not {tmp_path / 'disk' / 'data'}" in line


def test_continue_anyway_goes_on_and_says_with_what(run, tmp_path, caplog):
    run("--lr", "1e-4", "--continue-anyway")
    last = tmp_path / "run" / "checkpoint_last.pt"
    told = f"{last}: trained with other settings: --lr 0.0001, not 0.003: going on with this command's"
    assert told in [record.message for record in caplog.records]
    run("--lr", "1e-4", "--max-update", 5)  # which is the run in the folder now
    assert updates(tmp_path / "run") == 5


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--optimizer", "fused_adamw"], "--optimizer fused_adamw, not adam"),
        (["--bf16"], "precision fp16 or bf16, not fp32"),
    ],
)
def test_going_on_with_another_optimizer_begins_with_a_new_one(run, tmp_path, options, told):
    line = refusal(lambda _: run(*options, "--continue-anyway"))
    assert line.startswith(f"{tmp_path / 'run' / 'checkpoint_last.pt'}: the state of its optimizer is of no use with ")
    assert told in line
    assert line.endswith(": give --reset-optimizer (checkpoint.reset_optimizer=true) as well")
    run(*options, "--continue-anyway", "--reset-optimizer")
    run(*options, "--max-update", 5)
    assert updates(tmp_path / "run") == 5


# Schedules whose options fairseq changes as it builds them, and model sizes that are left to the checkpoint.
@pytest.mark.parametrize(
    "options",
    [
        ["--lr-scheduler", "cosine", "--min-lr", "1e-2", "--warmup-updates", "2"],
        ["--lr-scheduler", "inverse_sqrt", "--warmup-updates", "2"],
        ["--lr-scheduler", "polynomial_decay", "--total-num-update", "9"],
        ["--finetune-from-model"],
    ],
    ids=lambda options: options[-1],
)
def test_a_run_is_the_same_as_itself(toy_data, checkpoint, tmp_path, options):
    base = [*TOY_TRAINING, "--modalities", "text,pixel,pair", "--disable-validation", "--save-dir", tmp_path / "run"]
    if options == ["--finetune-from-model"]:
        sizes = ("--hidden-size", "--num-hidden-layers", "--intermediate-size")
        for size in sizes:
            place = base.index(size)
            del base[place : place + 2]
        options = [*options, checkpoint, "--arch", "pixelgpt"]
    for length in (3, 4):
        train(toy_data, *base, *options, "--max-update", length)
    assert updates(tmp_path / "run") == 4


def test_a_hydra_run_in_a_folder_that_is_named(toy_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*more):
        folder = ["hydra.run.dir=run", "dataset.disable_validation=true"]
        hydra_train(PRETRAINING, "textgpt_tiny", f"task.data={toy_data}", *SMALL_PRETRAINING, *folder, *more)

    run("optimization.max_update=1")
    run("optimization.max_update=2")
    line = refusal(lambda _: run("optimization.max_update=3", "optimization.lr=[1e-3]", "common.seed=5"))
    assert line.startswith(f"{tmp_path}/run/checkpoints: holds another run: --seed 5, not 1; --lr 0.001, not ")
    run("optimization.max_update=3", "common.seed=5", "task.continue_anyway=true")
    assert updates(tmp_path / "run" / "checkpoints") == 3
