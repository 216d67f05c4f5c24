"""Models of other patch sizes than the published one."""

import pytest
import torch
import torch.nn.functional as F
from naive import small_model

from pixelgpt_fairseq.checkpoints.released import save_released
from pixelgpt_fairseq.data.patches import gray_to_rgb_patches, unpatchify
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.models.architectures import PixelGPTConfig, take_patch_size
from pixelgpt_fairseq.models.flops import training_flops


@pytest.mark.parametrize("side", [8, 32])
@torch.no_grad()
def test_a_patch_of_any_size_is_embedded_as_by_the_convolution(side):
    model = small_model(patch_size=side)
    patches = torch.randint(0, 256, (2, 5, side * side), dtype=torch.uint8)
    strips = unpatchify(gray_to_rgb_patches(patches), 3, side).float() / 255
    embeddings = model.model.embed_patches["patch_embeddings"]
    expected = F.conv2d(strips, embeddings.projection.weight, embeddings.projection.bias, stride=side)
    expected = embeddings.norm(expected.flatten(2).transpose(1, 2))
    torch.testing.assert_close(embeddings(patches), expected)
    for given in (patches, gray_to_rgb_patches(patches), strips):
        assert model(patches=given).patch_predictions.shape == (2, 5, 3 * side * side)


def test_patches_of_another_size_are_refused():
    with pytest.raises(UserError, match="patches of 256 values, the model reads 192 or 64: its patches are 8 x 8"):
        small_model(patch_size=8)(patches=torch.zeros(1, 2, 256, dtype=torch.uint8))


def test_the_patch_size_is_that_of_the_data():
    config = PixelGPTConfig()
    take_patch_size(config, {"renderer": {"pixels_per_patch": 32}})
    assert config.patch_size == 32
    with pytest.raises(
        UserError, match=r"the data has patches of 16 x 16 pixels, the model reads 32 x 32 .*--patch-size 32"
    ):
        take_patch_size(config, {"renderer": None})  # the authors' strips


def test_operations_count_the_values_of_the_patch():
    small, large = (training_flops(small_model(patch_size=side), patches=1, patch_values=0) for side in (8, 16))
    assert large - small == 6 * 32 * (256 - 64) * 3


def test_the_released_layout_has_the_published_size_alone(tmp_path):
    with pytest.raises(
        UserError, match="the model's patches are 8 x 8 pixels; the released layout has models of 16 x 16"
    ):
        save_released(small_model(patch_size=8), tmp_path / "folder")
    assert not (tmp_path / "folder").exists()
    save_released(small_model(patch_size=8, uses_patches=False), tmp_path / "text")
