"""The main road as users walk it: fairseq's own commands on a folder that render_corpus.py could have written."""

import os
import signal
from functools import partial

import fairseq_cli.train
import fairseq_cli.validate
import pytest
import torch
from fairseq.trainer import Trainer
from fairseq_runs import Run, train, validate
from hydra_runs import SMALL_PRETRAINING
from processes import Command
from refusals import refusal, script
from toy_corpus import TOY_TRAINING, command
from two_workers import DESCENT, assert_same_weights, train_by_two_workers

REGIMES = {"PixelGPT": "pixel", "DualGPT": "text,pixel,pair"}  # one modality, and updates of each in turn


def pretrain(data, save_dir, *options):
    return train(data, *TOY_TRAINING, "--save-dir", save_dir, *options)


def weights(folder, name="checkpoint_last.pt"):
    return torch.load(folder / name, weights_only=True)["model"]


def killed_in_update(number):
    """fairseq-train, in a process that is killed in this update."""
    step = Trainer.train_step

    def killed(self, *arguments, **options):
        if self.get_num_updates() == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(self, *arguments, **options)

    Trainer.train_step = killed
    fairseq_cli.train.cli_main()


@pytest.fixture(scope="module")
def dual_run(toy_data, tmp_path_factory):
    """A DualGPT of 60 updates: the process and its checkpoints."""
    folder = tmp_path_factory.mktemp("dual")
    options = (
        "--modalities text,pixel,pair --patch-loss-weight 10 --max-update 60 --validate-interval-updates 20".split()
    )
    return pretrain(toy_data, folder, *options, "--tensorboard-logdir", folder / "tensorboard"), folder


def test_losses_of_every_modality_fall(dual_run):
    first, *_, last = dual_run[0].lines("valid")
    for name in ("pixel_patch_loss", "text_token_loss", "text_ppl", "pair_patch_loss", "pair_token_loss", "pair_ppl"):
        assert last[name] < first[name], name


def test_fairseq_validate_gives_the_numbers_of_training(toy_data, dual_run):
    run, folder = dual_run
    *_, last = run.lines("valid")
    options = "--user-dir pixelgpt_fairseq --task rendered_pretraining --cpu --batch-size 2 --log-format json".split()
    options += ["--path", folder / "checkpoint_last.pt"]
    printed = Command(fairseq_cli.validate.cli_main, toy_data, *options).wait()
    for found in (Run(printed), validate(toy_data, *options)):
        (line,) = found.lines("valid")
        for name in ("loss", "pixel_patch_loss", "text_token_loss", "text_ppl", "pair_patch_loss", "pair_token_loss"):
            assert line[name] == pytest.approx(last[name], rel=1e-3), name


def test_tensorboard_logs_through_fairseqs_flag(dual_run):
    _, folder = dual_run
    assert list((folder / "tensorboard").rglob("events.out.tfevents.*"))


def test_a_checkpoint_alone_draws_its_predictions(dual_run, tmp_path):
    _, folder = dual_run
    picture = tmp_path / "out.png"
    checkpoint = folder / "checkpoint_last.pt"
    arguments = ["--checkpoint", checkpoint, "--text", "Hello patches", "--output", picture]
    script("show_predictions")([str(argument) for argument in arguments])
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "already there" in refusal(script("show_predictions"), *arguments)


@pytest.mark.parametrize("regime", REGIMES)
def test_two_workers_equal_one_with_twice_the_update_frequency(toy_data, tmp_path, regime):
    options = ["--modalities", REGIMES[regime], "--max-update", "12", "--disable-validation", *DESCENT]
    alone = pretrain(toy_data, tmp_path / "alone", *options, "--update-freq", "2")
    output = train_by_two_workers(toy_data, *TOY_TRAINING, *options, "--save-dir", tmp_path / "two")
    together = Run(output).losses()
    assert len(together) == 12
    assert together == pytest.approx(alone.losses(), abs=1e-3)  # logged with few digits; the weights are exact
    assert_same_weights(tmp_path / "two", tmp_path / "alone", tolerance=1e-6)


def test_a_killed_run_resumes_step_for_step(toy_data, tmp_path):
    options = ["--modalities", "text,pixel,pair", "--max-update", "40", "--disable-validation"]
    # Two epochs, so that a run may be resumed within the second.
    options += ["--save-interval-updates", "10", "--keep-interval-updates", "1", "--batch-size", "16"]
    whole = pretrain(toy_data, tmp_path / "whole", *options).losses()
    assert len(whole) == 40
    place = ["--save-dir", tmp_path / "killed"]
    for update in (15, 35):
        run = Command(partial(killed_in_update, update), toy_data, *TOY_TRAINING, *options, *place).process
        run.join()
        assert run.exitcode == -signal.SIGKILL
    resumed = pretrain(toy_data, tmp_path / "killed", *options)
    assert "(epoch 2 @ 30 updates)" in resumed.log
    assert resumed.losses() == whole[30:]
    expected = weights(tmp_path / "whole")
    for name, weight in weights(tmp_path / "killed").items():
        torch.testing.assert_close(weight, expected[name], rtol=0, atol=0)


@pytest.mark.parametrize("flags", [["--bf16"], ["--memory-efficient-fp16"], ["--checkpoint-activations"]])
def test_trains_with_fairseqs_precision_flags(toy_data, tmp_path, flags):
    options = ["--modalities", "pixel,pair", "--max-update", "6", "--disable-validation"]
    found = pretrain(toy_data, tmp_path, *options, *flags).losses()
    assert len(found) == 6
    assert found[-1] < found[0]


def test_hydra_recipe_trains(toy_data, tmp_path):
    process = command(
        "fairseq-hydra-train",
        *("--config-dir", "pixelgpt_fairseq/config/pretraining", "--config-name", "dualgpt_tiny"),
        *(f"task.data={toy_data}", *SMALL_PRETRAINING, "optimization.max_update=3"),
        *(f"hydra.run.dir={tmp_path}", f"checkpoint.save_dir={tmp_path}/checkpoints"),
    )
    assert process.returncode == 0, process.stderr + process.stdout
    assert (tmp_path / "checkpoints" / "checkpoint_last.pt").exists()


def test_the_log_tells_the_speed_of_each_worker(dual_run):
    for line in dual_run[0].lines("train_inner")[-3:]:
        assert line["wps_per_gpu"] == pytest.approx(line["wps"], rel=0.01)
        assert line["tflops_per_gpu"] >= 0
        assert "mfu" not in line  # a CPU has no peak in the table
