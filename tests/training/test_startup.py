"""What fairseq's commands are told wrongly is said before anything is loaded or trained, in one line."""

import importlib.util

import fairseq_cli.train
import fairseq_cli.validate
import pytest
import torch
from fairseq_runs import train, validate
from refusals import refusal
from toy_corpus import TOY_TRAINING
from toy_finetuning import TRAINING, fairseq_validate

from pixelgpt_fairseq.storage import locks
from pixelgpt_fairseq.tasks.rendered_glue import RenderedGlueTask
from pixelgpt_fairseq.tasks.rendered_pretraining import RenderedPretrainingTask
from pixelgpt_fairseq.training import startup

PRETRAINING = [*TOY_TRAINING, "--modalities", "text,pixel,pair", "--max-update", "2"]
FINETUNING = [*TRAINING, "--modality", "text", "--best-checkpoint-metric", "accuracy"]
VALIDATION = "--user-dir pixelgpt_fairseq --task rendered_pretraining --cpu --batch-size 2".split()


def without(options, *names):
    """*options* without those that are named, and their values."""
    left = list(options)
    for name in names:
        place = left.index(name)
        del left[place : place + 2]
    return left


@pytest.fixture
def refused(tmp_path, monkeypatch):
    """The line with which fairseq-train refuses, before it builds a task or a model."""

    def nothing(*arguments, **options):
        raise AssertionError("the mistake was not found at the start")

    monkeypatch.setattr(fairseq_cli.train.tasks, "setup_task", nothing)
    return lambda *arguments: refusal(lambda _: train(*arguments, "--save-dir", tmp_path / "run"))


@pytest.mark.skipif(importlib.util.find_spec("fairscale") is not None, reason="needs fairscale to be absent")
@pytest.mark.parametrize("backend", ["fully_sharded", "slowmo"])
def test_a_data_parallel_backend_that_needs_another_package_names_it(refused, toy_data, backend):
    line = refused(toy_data, *TOY_TRAINING, "--ddp-backend", backend)
    assert line.startswith(f"--ddp-backend {backend}: needs the package fairscale (pip install fairscale)")


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("--arch", "no --arch (Hydra: model._name): the models of this package are pixelgpt, pixelgpt_base, "),
        ("--criterion", "no --criterion, or fairseq's own: --task rendered_pretraining needs --criterion patch_token"),
        ("--optimizer", "no --optimizer: the recipes train with --optimizer fused_adamw"),
        ("--batch-size", "no --batch-size (examples) and no --max-tokens (patches and tokens): give one of them"),
    ],
)
def test_an_option_that_is_missing(refused, toy_data, missing, message):
    sizes = ("--hidden-size", "--num-hidden-layers", "--intermediate-size") if missing == "--arch" else ()
    learning = ("--lr",) if missing == "--optimizer" else ()
    assert refused(toy_data, *without(PRETRAINING, missing, *sizes, *learning)).startswith(message)


def test_a_modality_is_to_be_given(refused, toy_glue):
    line = refused(toy_glue / "rte", *without(FINETUNING, "--modality"))
    assert line == "no --modality (Hydra: task.modality): say what the model reads of an example: text, pixel, pair"


def test_a_cosine_schedule_without_updates_to_fall_in(refused, toy_data):
    cosine = ["--lr-scheduler", "cosine", "--warmup-updates", 2]
    assert refused(toy_data, *PRETRAINING, *cosine, "--max-update", 2).startswith(
        "--warmup-updates 2: as many as --max-"
    )
    assert refused(toy_data, *PRETRAINING, *cosine, "--max-update", 0).startswith("no --max-update: --lr-scheduler cos")


def test_the_criterion_of_another_task(refused, toy_data, toy_glue):
    other = "--criterion rendered_classification: --task rendered_pretraining needs --criterion patch_token_loss"
    assert refused(toy_data, *PRETRAINING, "--criterion", "rendered_classification") == other
    other = "--criterion patch_token_loss: --task rendered_glue needs --criterion rendered_classification"
    assert refused(toy_glue / "rte", *FINETUNING, "--criterion", "patch_token_loss") == other


def test_a_metric_that_the_task_does_not_report(refused, toy_data, toy_glue):
    assert refused(toy_glue / "rte", *FINETUNING, "--best-checkpoint-metric", "f1") == (
        "--best-checkpoint-metric f1: not among what --task rendered_glue reports of valid: loss, accuracy"
    )
    line = refused(toy_data, *PRETRAINING, "--modalities", "text,pixel", "--best-checkpoint-metric", "accuracy")
    assert line == (
        "--best-checkpoint-metric accuracy: not among what --task rendered_pretraining reports of valid: loss, "
        "text_token_loss, pixel_patch_loss, text_ppl"
    )


def test_the_metrics_that_are_named_are_those_that_validation_logs(toy_data, finetuned, tmp_path):
    options = [*PRETRAINING, "--max-update", 1, "--save-dir", tmp_path]
    (line,) = train(toy_data, *options).lines("valid")
    cfg = torch.load(tmp_path / "checkpoint_last.pt", weights_only=True)["cfg"]["task"]
    cfg = type("Cfg", (), cfg)
    losses = {name for name in line if name.endswith(("loss", "ppl")) and not name.startswith("best_")}
    assert set(RenderedPretrainingTask.reported_metrics(cfg, "valid")) == losses
    for run in finetuned.values():
        cfg = type("Cfg", (), {"data": str(run.data), "metrics": None})
        logged = fairseq_validate(run.data, run.checkpoint, "valid")
        assert set(RenderedGlueTask.reported_metrics(cfg, "valid")) <= set(logged)


@pytest.mark.parametrize("option", ["--train-subset", "--valid-subset"])
def test_a_split_that_is_absent_or_has_no_labels(refused, toy_glue, option):
    data = toy_glue / "rte"
    assert refused(data, *FINETUNING, option, "test") == (
        f"{option} test: {data} has no labels for it: choose another split"
    )
    assert "split dev was not rendered" in refused(data, *FINETUNING, option, "dev")


def test_the_direction_of_a_metric_is_doubted(toy_glue, tmp_path, caplog):
    options = [option for option in FINETUNING if option != "--maximize-best-checkpoint-metric"]
    train(toy_glue / "rte", *options, "--max-update", 1, "--save-dir", tmp_path)
    assert "checkpoint_best.pt will be the one with the lowest accuracy: give the command with --max" in caplog.text


@pytest.mark.parametrize("option", ["--restore-file", "--finetune-from-model", "--continue-once"])
def test_a_checkpoint_that_is_absent_damaged_or_a_folder(refused, toy_data, checkpoint, tmp_path, option):
    path = tmp_path / "bad.pt"
    assert refused(toy_data, *PRETRAINING, option, path) == f"{option} {path}: no such file"
    path.write_bytes(checkpoint.read_bytes()[:-1000])
    assert refused(toy_data, *PRETRAINING, option, path) == f"{option} {path}: not a checkpoint, or damaged"
    assert refused(toy_data, *PRETRAINING, option, tmp_path).startswith(f"{option} {tmp_path}: a folder, not a check")


def test_checkpoints_that_exclude_each_other(refused, toy_data, checkpoint):
    both = ["--finetune-from-model", checkpoint, "--restore-file", checkpoint]
    assert refused(toy_data, *PRETRAINING, *both) == "--finetune-from-model and --restore-file: give one of them"
    line = refused(toy_data, *PRETRAINING, "--finetune-from-model", checkpoint, "--reset-optimizer")
    assert line == "--finetune-from-model starts all this anew by itself: leave out --reset-optimizer"


def test_averaged_weights_need_a_checkpoint_that_has_them(refused, toy_data, checkpoint):
    line = refused(toy_data, *PRETRAINING, "--store-ema", "--finetune-from-model", checkpoint)
    assert line.startswith(f"--store-ema: {checkpoint} has no averaged weights")


def test_a_damaged_last_checkpoint_says_what_to_do(refused, toy_data, checkpoint, tmp_path):
    last = tmp_path / "run" / "checkpoint_last.pt"
    last.parent.mkdir()
    last.write_bytes(checkpoint.read_bytes()[:-1000])
    assert refused(toy_data, *PRETRAINING) == (
        f"{last}: not a checkpoint, or damaged: put another checkpoint of the run in its place, or remove it to start "
        "the run over"
    )


def test_a_save_dir_that_cannot_be_written_to_is_told_on_every_rank(toy_data):
    """No rank waits for another to be told: here there is none."""
    workers = "--distributed-world-size 2 --distributed-no-spawn --distributed-init-method tcp://127.0.0.1:1".split()
    file = toy_data / "train.manifest.json"
    assert file.is_file()
    for rank in (0, 1):
        options = [*PRETRAINING, "--save-dir", file / "run", *workers, "--distributed-rank", rank]
        assert refusal(lambda _, options=options: train(toy_data, *options)) == (
            f"--save-dir {file / 'run'}: cannot write there: Not a directory: choose another"
        )


def test_more_workers_than_gpus(refused, toy_data, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    line = refused(toy_data, *PRETRAINING, "--distributed-world-size", 3)
    assert line.startswith("--distributed-world-size 3: world size is 3 but have 1 available devices: give a number")


def test_torchrun_on_a_machine_without_gpus(refused, toy_data, checkpoint, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    for name, value in {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1", "WORLD_SIZE": "2", "RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    line = refused(toy_data, *PRETRAINING, "--distributed-world-size", 2)
    assert line.startswith("torchrun started this process, and torch sees no GPU here. On CPUs, start every worker")
    validating = [*VALIDATION, "--path", checkpoint, "--distributed-world-size", 2]
    assert refusal(lambda _: validate(toy_data, *validating)) == line


def test_the_checkpoint_of_a_validation(toy_data, checkpoint, tmp_path):
    def refused(*options):
        return refusal(lambda _: validate(toy_data, *VALIDATION, *options))

    assert refused("--path", "/nowhere.pt") == "--path /nowhere.pt: no such file"
    (tmp_path / "bad.pt").write_bytes(checkpoint.read_bytes()[:-1000])
    assert refused("--path", tmp_path / "bad.pt") == f"--path {tmp_path / 'bad.pt'}: not a checkpoint, or damaged"
    assert refused() == "no --path: name the checkpoint"


def test_a_finished_run_that_is_started_again_stays_as_it_is(toy_data, tmp_path):
    options = [*PRETRAINING, "--disable-validation", "--save-dir", tmp_path]
    train(toy_data, *options)
    before = (tmp_path / "checkpoint_last.pt").stat().st_mtime_ns
    log = train(toy_data, *options).log
    assert f"{tmp_path / 'checkpoint_last.pt'}: finished before: 2 updates, and --max-update is 2" in log
    assert (tmp_path / "checkpoint_last.pt").stat().st_mtime_ns == before
    train(toy_data, *options, "--max-update", 3)
    history = torch.load(tmp_path / "checkpoint_last.pt", weights_only=True)["optimizer_history"]
    assert history[-1]["num_updates"] == 3


def test_a_folder_in_which_another_run_trains_is_refused(toy_data, tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "WAIT", 0)
    with startup.locked(tmp_path / startup.LOCK_FILE, "training here"):
        line = refusal(lambda _: train(toy_data, *PRETRAINING, "--save-dir", tmp_path))
    assert line.startswith(f"{tmp_path}: another run is training here now, process ")
    train(toy_data, *PRETRAINING, "--disable-validation", "--save-dir", tmp_path)
    assert not (tmp_path / startup.LOCK_FILE).exists()


def test_an_interruption_says_what_is_left(toy_data, tmp_path, monkeypatch, capsys):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    options = [*PRETRAINING, "--disable-validation", "--save-dir", tmp_path]
    told = []
    for length in (2, 4):
        with monkeypatch.context() as patch:
            patch.setattr(fairseq_cli.train.Trainer, "train_step", interrupted)
            with pytest.raises(SystemExit) as ending:
                train(toy_data, *options, "--max-update", length)
        assert ending.value.code == 130
        told += [line for line in capsys.readouterr().err.splitlines() if line.startswith("interrupted: ")]
        train(toy_data, *options, "--max-update", 2)
    assert told == [
        f"interrupted: no checkpoint has been saved in {tmp_path} yet: the same command starts over",
        f"interrupted: {tmp_path} keeps the checkpoints saved so far: the same command goes on from the last",
    ]


@pytest.mark.parametrize("modalities", ["text", "pixel", "text,pixel"])
def test_a_run_that_goes_on_has_the_modalities_of_its_checkpoint(toy_data, tmp_path, modalities):
    options = [*TOY_TRAINING, "--disable-validation", "--save-dir", tmp_path]
    trained = "pixel" if modalities == "text" else "text"
    train(toy_data, *options, "--max-update", "1", "--modalities", trained)
    line = refusal(lambda _: train(toy_data, *options, "--max-update", "2", "--modalities", modalities))
    assert line.startswith(
        f"{tmp_path}/checkpoint_last.pt: trained with --modalities {trained}, this run has --modalities {modalities}: "
        f"give --modalities {trained} to go on, or start another run from its weights with --finetune-from-model "
    )
    # The way out that the line shows.
    new = ["--finetune-from-model", tmp_path / "checkpoint_last.pt", "--save-dir", tmp_path / "new"]
    run = train(toy_data, *options, *new, "--max-update", "1", "--modalities", modalities)
    assert len(run.losses()) == 1


def test_a_run_goes_on_with_other_modalities_that_the_model_reads(toy_data, tmp_path):
    options = [*TOY_TRAINING, "--disable-validation", "--save-dir", tmp_path, "--modalities"]
    train(toy_data, *options, "text,pixel", "--max-update", "2")
    run = train(toy_data, *options, "text,pixel,pair", "--max-update", "4", "--continue-anyway")
    assert "--modalities text,pixel,pair, not text,pixel" in run.log
    assert len(run.losses()) == 2
