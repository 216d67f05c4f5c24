"""What a run that begins with a checkpoint takes from it, and what the user's own options change."""

import shutil

import pytest
import torch
from fairseq_runs import train, validate
from refusals import script
from toy_corpus import TOY_TRAINING
from toy_glue import write_glue

from pixelgpt_fairseq.checkpoints.loading import load_checkpoint

# All five sizes, as the recipes give them.
SIZES = (
    "--hidden-size 48 --num-hidden-layers 1 --num-attention-heads 4 --num-key-value-heads 2 --intermediate-size 96"
).split()
ONE_UPDATE = "--max-update 1 --disable-validation --save-dir".split()
SETTINGS = {"rope_theta": 500.0, "max_position_embeddings": 256, "rms_norm_eps": 1e-6, "tie_word_embeddings": True}
CLASSIFICATION = (
    "--user-dir pixelgpt_fairseq --task rendered_glue --arch pixelgpt --criterion rendered_classification "
    "--batch-size 4 --cpu --optimizer adam --lr 1e-3 --num-workers 0 --no-epoch-checkpoints --modality pair "
    "--max-positions 48"
).split()


def state(folder):
    return torch.load(folder / "checkpoint_last.pt", weights_only=True)


@pytest.fixture(scope="module")
def pretrained(toy_data, tmp_path_factory):
    """A DualGPT with pairs of 40 patches, in the folder that is returned."""
    folder = tmp_path_factory.mktemp("pretrained")
    options = "--modalities text,pixel,pair --rope-theta 500 --max-position-embeddings 256 --rms-norm-eps 1e-6".split()
    options += ["--tie-word-embeddings", "--pair-patches", "40"]
    train(toy_data, *TOY_TRAINING, *SIZES, *options, *ONE_UPDATE, folder)
    return folder


def begin(pretrained, data, folder, *options):
    """Pretrain one more update."""
    beginning = ["--modalities", "text,pixel,pair", "--finetune-from-model", pretrained / "checkpoint_last.pt"]
    return train(data, *TOY_TRAINING, *SIZES, *beginning, *options, *ONE_UPDATE, folder)


def test_settings_are_the_checkpoints_also_where_all_sizes_are_given(toy_data, pretrained, tmp_path):
    run = begin(pretrained, toy_data, tmp_path)
    found = state(tmp_path)
    assert {name: found["cfg"]["model"][name] for name in SETTINGS} == SETTINGS
    assert found["task_state"]["data_settings"]["pair_patches"] == 40
    assert "WARNING" not in run.log
    # A run that is given again begins with its own last checkpoint, also where the first is gone.
    shutil.copytree(tmp_path, tmp_path / "again")
    options = [*TOY_TRAINING, *SIZES, "--modalities", "text,pixel,pair", "--finetune-from-model", tmp_path / "gone.pt"]
    train(toy_data, *options, *"--max-update 2 --disable-validation --save-dir".split(), tmp_path / "again")
    found = state(tmp_path / "again")
    assert {name: found["cfg"]["model"][name] for name in SETTINGS} == SETTINGS
    assert found["task_state"]["data_settings"]["pair_patches"] == 40


def test_the_checkpoint_of_continue_once_counts_as_well(toy_data, pretrained, tmp_path):
    options = ["--modalities", "text,pixel,pair", "--continue-once", pretrained / "checkpoint_last.pt"]
    train(
        toy_data, *TOY_TRAINING, *SIZES, *options, *"--max-update 2 --disable-validation --save-dir".split(), tmp_path
    )
    found = state(tmp_path)
    assert {name: found["cfg"]["model"][name] for name in SETTINGS} == SETTINGS


def test_an_option_wins_also_where_it_is_the_default(toy_data, pretrained, tmp_path):
    options = "--rope-theta 10000 --max-position-embeddings 1024 --rms-norm-eps 1e-5 --pair-patches 32".split()
    run = begin(pretrained, toy_data, tmp_path, *options)
    found = state(tmp_path)
    given = {"rope_theta": 10000.0, "max_position_embeddings": 1024, "rms_norm_eps": 1e-5, "tie_word_embeddings": True}
    assert {name: found["cfg"]["model"][name] for name in given} == given
    assert found["task_state"]["data_settings"]["pair_patches"] == 32
    for named in ("--rope-theta 500.0", "--rms-norm-eps 1e-06", "began at position 40"):
        assert named in run.log


def test_without_a_checkpoint_settings_are_the_defaults(toy_data, tmp_path):
    train(toy_data, *TOY_TRAINING, "--modalities", "pixel", *ONE_UPDATE, tmp_path)
    found = state(tmp_path)
    defaults = {"rope_theta": 10000.0, "max_position_embeddings": 1024, "rms_norm_eps": 1e-5, "num_channels": 3}
    assert {name: found["cfg"]["model"][name] for name in defaults} == defaults
    assert "pair_patches" not in found["task_state"]["data_settings"]


@pytest.fixture(scope="module")
def rte(pretrained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("glue")
    write_glue(folder / "GLUE")
    options = ["--glue-dir", folder / "GLUE", "--task", "rte", "--destdir", folder / "rte"]
    options += ["--like", pretrained / "checkpoint_last.pt"]
    script("render_glue")([str(option) for option in options])
    return folder / "rte"


def test_pairs_are_finetuned_and_validated_with_the_strips_of_pretraining(rte, pretrained, tmp_path):
    options = ["--finetune-from-model", pretrained / "checkpoint_last.pt", *ONE_UPDATE]
    run = train(rte, *CLASSIFICATION, *options, tmp_path / "left_open")
    assert state(tmp_path / "left_open")["task_state"]["data_settings"]["pair_patches"] == 40
    assert "--pair-patches" not in run.log.replace("'--pair-patches'", "")
    other = train(rte, *CLASSIFICATION, "--pair-patches", "48", *options, tmp_path / "other")
    assert "began at position 40, that of this run's begins at 48 (--pair-patches)" in other.log

    # The pretrained checkpoint is not needed any more.
    finetuned = state(tmp_path / "left_open")
    finetuned["cfg"]["task"]["finetune_from_model"] = str(tmp_path / "gone.pt")
    torch.save(finetuned, tmp_path / "moved.pt")
    options = "--user-dir pixelgpt_fairseq --task rendered_glue --cpu --batch-size 4 --log-format json".split()
    losses = [
        validate(rte, *options, *more, "--path", tmp_path / "moved.pt").lines("valid")[-1]["loss"]
        for more in ([], ["--pair-patches", "40"])
    ]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("flags", [[], ["--ema-fp32"], ["--bf16"]], ids=lambda flags: " ".join(flags) or "fp32")
def test_an_exponential_moving_average_is_stored_and_resumed(toy_data, tmp_path, flags):
    options = "--modalities pixel --store-ema --ema-decay 0.5 --disable-validation --save-interval-updates 2".split()
    options += [*flags, "--max-update", "3", "--save-dir"]
    train(toy_data, *TOY_TRAINING, *options, tmp_path / "whole")
    found = state(tmp_path / "whole")
    average = found["extra_state"]["ema"]
    assert average.keys() == found["model"].keys()
    assert not torch.equal(average["lm_pixel_head.weight"], found["model"]["lm_pixel_head.weight"])
    (tmp_path / "resumed").mkdir()
    shutil.copy(tmp_path / "whole" / "checkpoint_1_2.pt", tmp_path / "resumed" / "checkpoint_last.pt")
    train(toy_data, *TOY_TRAINING, *options, tmp_path / "resumed")
    for name, weight in state(tmp_path / "resumed")["extra_state"]["ema"].items():
        assert torch.equal(weight, average[name]), name


def test_an_average_of_checkpoints_loads(pretrained, toy_data, tmp_path):
    begin(pretrained, toy_data, tmp_path)
    states = [state(pretrained), state(tmp_path)]
    average = {name: (weight.clone() + states[0]["model"][name]) / 2 for name, weight in states[1]["model"].items()}
    torch.save({**states[1], "model": average}, tmp_path / "average.pt")
    loaded = load_checkpoint(tmp_path / "average.pt")
    assert loaded.model.data_settings == states[1]["task_state"]["data_settings"]
    assert loaded.model.data_settings["renderer"]
    for name, weight in loaded.model.state_dict().items():
        assert torch.equal(weight, average[name]), name
