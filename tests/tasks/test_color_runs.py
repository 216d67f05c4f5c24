"""Training on colors, and on text that Pillow has shaped, by fairseq's own commands."""

import pytest
import torch
from fairseq_runs import train
from PIL import features
from refusals import script
from toy_corpus import TOY_TRAINING, documents

from pixelgpt_fairseq.checkpoints.loading import load_checkpoint
from pixelgpt_fairseq.data.data_folder import DataFolder


@pytest.fixture(scope="module")
def colored(tmp_path_factory, toy_data):
    """A data folder of color strips, with the splits train and valid, written by the script."""
    folder = tmp_path_factory.mktemp("colored")
    look = "--render-mode rgb --font-color #a02010 --background-color #f0f8ff --max-patches 64".split()
    if features.check("raqm"):
        look += ["--renderer-backend", "pillow"]
    for split, texts, options in (("train", documents(20)[5:], look), ("valid", documents(5), [])):
        (folder / f"{split}.txt").write_text("\n\n".join(texts))
        arguments = ["--input", folder / f"{split}.txt", "--destdir", folder / "data", "--split", split, *options]
        arguments += ["--tokenizer", toy_data / "tokenizer.model"]
        script("render_corpus")([str(argument) for argument in arguments])
    return folder / "data"


def test_later_splits_have_the_look_of_the_first(colored):
    renderers = [DataFolder(colored).read_manifest(split)["renderer"] for split in ("train", "valid")]
    assert renderers[0] == renderers[1]
    assert renderers[0]["render_mode"] == "rgb"
    assert renderers[0]["font_color"] == "#a02010"


def test_a_model_trains_on_colors_and_knows_it(colored, tmp_path):
    options = ["--modalities", "pixel,pair", "--max-update", "3", "--save-dir", tmp_path / "run"]
    train(colored, *TOY_TRAINING, *options)
    checkpoint = load_checkpoint(tmp_path / "run" / "checkpoint_last.pt")
    renderer = checkpoint.renderer()
    assert renderer.config.differences(DataFolder(colored).renderer_config()) == []
    patches = torch.from_numpy(renderer("As it was trained").patches())
    assert patches.shape[1] == 768
    predictions = checkpoint.model(patches=patches[None]).patch_predictions
    assert predictions.shape == (1, len(patches), 768)
    assert torch.isfinite(predictions).all()


def test_a_model_of_one_channel_is_told_before_training(fairseq, colored):
    message = fairseq(colored, "--num-channels", 1, "--modalities", "pixel")
    assert "render mode rgb" in message
    assert "--render-mode gray" in message
