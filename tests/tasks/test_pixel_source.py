"""--pixel-source text: the same batches in the same order as from stored patches."""

import logging
import shutil

import pytest
import torch
from fairseq_runs import end_loaders, train
from omegaconf import OmegaConf
from refusals import fairseq  # noqa: F401
from toy_corpus import MAX_PATCHES, TOY_TRAINING

from pixelgpt_fairseq.data.data_folder import DataFolder
from pixelgpt_fairseq.preprocessing.binarize import binarize
from pixelgpt_fairseq.rendering import RendererConfig
from pixelgpt_fairseq.tasks.rendered_pretraining import RenderedPretrainingConfig, RenderedPretrainingTask

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # Hydra's, of fairseq's ways


@pytest.fixture(scope="module")
def text_data(toy_data, tmp_path_factory):
    """The toy data, of which the text was stored instead of the patches."""
    path = tmp_path_factory.mktemp("text") / "data"
    tokenizer = DataFolder(toy_data).tokenizer()
    for split in ("train", "valid"):
        source = toy_data.parent / f"{split}.txt"
        config = RendererConfig(max_patches=MAX_PATCHES)
        binarize([source], path, split, config, tokenizer, store="text", progress=False)
    return path


def setup_task(data, **options):
    cfg = OmegaConf.structured(RenderedPretrainingConfig)
    given = {"tokens_per_sample": 64, "seed": 1, "train_subset": "train", "update_freq": [2]}
    return RenderedPretrainingTask.setup_task(OmegaConf.merge(cfg, {"data": str(data), **given, **options}))


def iterator(data, shard=0, num_workers=0, **options):
    task = setup_task(data, **options)
    task.load_dataset("train")
    return task.get_batch_iterator(
        task.datasets["train"], max_sentences=2, num_shards=2, shard_id=shard, num_workers=num_workers
    )


def assert_equal_batches(ours, theirs):
    assert len(ours) == len(theirs)
    patches = 0
    for one, other in zip(ours, theirs, strict=True):
        assert one["modality"] == other["modality"]
        assert torch.equal(one["id"], other["id"])
        assert one["net_input"].keys() == other["net_input"].keys()
        for name, value in one["net_input"].items():
            assert (
                torch.equal(value, other["net_input"][name])
                if torch.is_tensor(value)
                else (value == other["net_input"][name])
            )
        patches += "patches" in one["net_input"]
    assert patches > 4


@pytest.mark.parametrize("shard", [0, 1])
@pytest.mark.parametrize("break_mode", ["none", "complete", "complete_doc", "eos"])
def test_batches_are_those_of_stored_patches(toy_data, text_data, break_mode, shard):
    stored, rendered = (
        iterator(data, shard, sample_break_mode=break_mode, modalities="text,pixel,pair")
        for data in (toy_data, text_data)
    )
    for _ in range(2):  # epochs
        assert_equal_batches(list(rendered.next_epoch_itr()), list(stored.next_epoch_itr()))


def test_resumed_within_an_epoch_in_the_loaders_workers(toy_data, text_data):
    stored, rendered = (iterator(data, num_workers=2, modalities="pixel,pair") for data in (toy_data, text_data))
    list(stored.next_epoch_itr())
    epoch = stored.next_epoch_itr()
    for _ in range(7):
        next(epoch)
    rendered.load_state_dict(stored.state_dict())
    resumed = list(rendered.next_epoch_itr())
    assert_equal_batches(resumed, list(epoch))
    end_loaders()


def test_folders_of_both_kinds_take_turns(toy_data, text_data):
    task = setup_task(f"{toy_data}:{text_data}", modalities="pixel")
    task.load_dataset("train", epoch=1)
    stored = task.datasets["train"]
    task.load_dataset("train", epoch=2)
    rendered = task.datasets["train"]
    assert len(stored) == len(rendered)
    assert all(torch.equal(stored[i]["patches"], rendered[i]["patches"]) for i in range(0, len(stored), 5))


def test_stored_patches_are_taken_where_both_are_there(toy_data, text_data, tmp_path, caplog):
    both = shutil.copytree(toy_data, tmp_path / "both")
    for name in ("bin", "idx"):
        shutil.copy(text_data / f"train.shards/00000/pieces.{name}", both / "train.shards/00000")
    caplog.set_level(logging.INFO)
    setup_task(both).load_dataset("train")
    assert "patches are rendered from text" not in caplog.text
    setup_task(both, pixel_source="text").load_dataset("train")
    assert f"{both}, train: patches are rendered from text in the --num-workers of the data loader" in caplog.text


def test_text_is_taken_where_only_it_is_there_and_that_is_said(text_data, caplog):
    caplog.set_level(logging.INFO)
    setup_task(text_data).load_dataset("valid")
    assert f"{text_data}, valid: patches are rendered from text" in caplog.text


def test_asked_for_text_that_was_not_stored(fairseq, toy_data):  # noqa: F811
    line = fairseq(toy_data, "--pixel-source", "text")
    assert line == (
        f"{toy_data}: split valid holds no text to render: render it with --store text or both, or leave out "
        "--pixel-source text"
    )


def test_fonts_that_are_gone_are_told_before_training(fairseq, text_data, tmp_path):  # noqa: F811
    data = DataFolder(shutil.copytree(text_data, tmp_path / "data"))
    for split in ("train", "valid"):
        path = data.manifest_path(split)
        path.write_text(path.read_text().replace("KurintoSans-Rg.ttf", "Gone.ttf"))
    assert "font Gone.ttf" in fairseq(data.path)


def test_a_run_from_text_is_the_run_from_patches(toy_data, text_data, tmp_path):
    weights = {}
    for data in (toy_data, text_data):
        options = f"--modalities text,pixel,pair --max-update 6 --save-dir {tmp_path / data.parent.name}".split()
        train(data, *TOY_TRAINING, *options, "--num-workers", "1")
        weights[data] = torch.load(tmp_path / data.parent.name / "checkpoint_last.pt", weights_only=True)["model"]
    for name, weight in weights[text_data].items():
        assert torch.equal(weight, weights[toy_data][name])
