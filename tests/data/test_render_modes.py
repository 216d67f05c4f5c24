"""Color, gray and binary strips on their way from the renderer to the loss."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from toy_corpus import documents

from pixelgpt_fairseq.criterions.patch_token_loss import next_patch_loss
from pixelgpt_fairseq.data.data_folder import DataFolder
from pixelgpt_fairseq.data.pairs import PairDataset
from pixelgpt_fairseq.data.patches import normalize_patches, patch_layout, scale_pixels, unpatchify
from pixelgpt_fairseq.data.streams import COLUMNS, PIXEL, TEXT
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.evaluation.pictures import draw_predictions, predict_patches
from pixelgpt_fairseq.models.architectures import PixelGPTConfig
from pixelgpt_fairseq.models.pixelgpt import PixelGPTModel
from pixelgpt_fairseq.preprocessing.binarize import binarize
from pixelgpt_fairseq.rendering import RendererConfig, TextRenderer

COLORS = {"font_color": "#c03010", "background_color": "#e0f0ff"}
SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 32,
}


@pytest.fixture(scope="module")
def colored(tmp_path_factory, toy_data):
    """A data folder of color strips."""
    folder = tmp_path_factory.mktemp("colored")
    path = folder / "text.txt"
    path.write_text("\n\n".join(documents(6)))
    config = RendererConfig(max_patches=64, render_mode="rgb", **COLORS)
    binarize([path], folder / "data", "train", config, DataFolder(toy_data).tokenizer(), progress=False)
    return DataFolder(folder / "data")


def model_of(channels, task_settings=None):
    torch.manual_seed(0)
    config = PixelGPTConfig(num_channels=channels, **SIZES)
    task = SimpleNamespace(data_settings=task_settings or {}, uses_patches=True)
    return PixelGPTModel.build_model(config, task).eval()


@pytest.mark.parametrize(
    ("values", "layout"), [(256, (16, 1)), (768, (16, 3)), (3, (1, 3)), (64, (8, 1)), (192, (8, 3))]
)
def test_the_values_of_a_patch_tell_its_channels(values, layout):
    assert patch_layout(values) == layout


@pytest.mark.parametrize("values", [0, 2, 255, 512])
def test_other_numbers_of_values_are_no_patch(values):
    with pytest.raises(ValueError, match="not a square patch"):
        patch_layout(values)


def test_color_strips_are_stored_as_drawn(colored):
    manifest = colored.manifest("train")
    assert manifest["patch_values"] == 768
    assert manifest["renderer"]["render_mode"] == "rgb"
    rows = colored.open("train", PIXEL, 768)
    config = colored.renderer_config()
    text = documents(1)[0]
    start, end = next(TextRenderer(config).cut(text))
    drawn = TextRenderer(config)(text[start:end])
    stored = unpatchify(rows[0][None], 3)[0].permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(stored, drawn.pixels[:, : stored.shape[1]])
    assert len(np.unique(stored.reshape(-1, 3), axis=0)) > 10


def test_pairs_are_cut_from_color_strips_on_their_background(colored):
    streams = [colored.open("train", PIXEL, 768), colored.open("train", TEXT), colored.open("train", COLUMNS, 2)]
    pairs = PairDataset(*streams, colored.dictionary(), 12, 12)
    assert len(pairs) > 10
    for pair in pairs:
        pixels = unpatchify(pair["patches"][None], 3)[0].permute(1, 2, 0)
        assert pixels[0, 0].tolist() == [0xE0, 0xF0, 0xFF]
        assert (pixels[:, -18:-16] == pixels[0, 0]).all(), "the margin before the separator"
        assert (pixels[:, -16:] == 0).all()


def test_a_model_of_three_channels_reads_colors_and_gray(colored):
    model = model_of(3, colored.settings("train"))
    colors = colored.open("train", PIXEL, 768)[0][:9]
    gray = colors[:, ::3].clone()
    for patches in (colors, gray, gray.repeat_interleave(3, dim=1)):
        predictions = model(patches=patches[None]).patch_predictions
        assert predictions.shape == (1, 9, 768)
    alike = (model(patches=part[None]).patch_predictions for part in (gray, gray.repeat_interleave(3, dim=1)))
    torch.testing.assert_close(*alike, atol=1e-4, rtol=1e-4)


def test_the_target_of_a_color_patch_is_its_colors(colored):
    patches = colored.open("train", PIXEL, 768)[0][None, :9]
    predictions = torch.zeros(1, 9, 768)
    for patch_loss, targets in (("normalized_mse", normalize_patches(patches)), ("mse", scale_pixels(patches))):
        sums, numbers = next_patch_loss(predictions, patches, patch_loss=patch_loss)
        torch.testing.assert_close(sums, (targets[:, 1:] ** 2).mean(-1).sum(1))
        assert numbers.tolist() == [8]


def test_a_model_without_colors_refuses_them(colored):
    with pytest.raises(UserError, match=r"render mode rgb.*--num-channels 1.*--render-mode gray"):
        model_of(1, colored.settings("train"))
    with pytest.raises(UserError, match="patches of 768 values, the model reads 256"):
        model_of(1)(patches=colored.open("train", PIXEL, 768)[0][None, :9])


def test_predictions_of_color_patches_are_drawn_in_color(colored):
    patches = colored.open("train", PIXEL, 768)[0][:9]
    predictions = predict_patches(model_of(3), patches)
    assert predictions.shape == (8, 768)
    picture = np.asarray(draw_predictions(patches, predictions, scale=1))
    strip = unpatchify(patches[None], 3)[0].permute(1, 2, 0).numpy()
    places = np.lib.stride_tricks.sliding_window_view(picture, strip.shape)
    assert (places == strip).all(axis=(3, 4, 5)).any()


def test_a_manifest_with_patches_that_cannot_be_is_refused(colored, tmp_path):
    path = colored.manifest_path("train")
    damaged = tmp_path / path.name
    damaged.write_text(path.read_text().replace('"patch_values": 768', '"patch_values": 700'))
    with pytest.raises(UserError, match=r"manifest\.json: 700 values are not a square patch"):
        DataFolder(tmp_path).read_manifest("train")
