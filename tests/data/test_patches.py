import pytest
import torch

from pixelgpt_fairseq.data import patches as p


def random_strips(batch=2, channels=3, length=5):
    return torch.randint(0, 256, (batch, channels, 16, 16 * length), dtype=torch.uint8)


def test_a_patch_stands_row_by_row_with_channels_last():
    strips = random_strips()
    cut = p.patchify(strips)
    assert cut.shape == (2, 5, 768)
    row, column, channel = 3, 7, 2
    assert cut[1, 4, (row * 16 + column) * 3 + channel] == strips[1, channel, row, 4 * 16 + column]
    expected = torch.einsum("nchpwq->nhwpqc", strips.reshape(2, 3, 1, 16, 5, 16)).reshape(2, 5, 768)
    assert torch.equal(cut, expected)


@pytest.mark.parametrize("channels", [1, 3])
def test_unpatchify_undoes_patchify(channels):
    strips = random_strips(channels=channels)
    assert torch.equal(p.unpatchify(p.patchify(strips), channels), strips)


def test_what_cannot_be_cut_is_refused():
    with pytest.raises(ValueError, match="40 px wide"):
        p.patchify(torch.zeros(1, 3, 16, 40))
    with pytest.raises(ValueError, match="256 values"):
        p.unpatchify(torch.zeros(1, 2, 256), channels=3)


def test_normalized_patches_have_zero_mean_and_unit_unbiased_variance():
    values = torch.rand(2, 3, 768)
    normalized = p.normalize_patches(values)
    by_hand = (values - values.mean(-1, keepdim=True)) / (values.var(-1, keepdim=True, unbiased=True) + 1e-6).sqrt()
    torch.testing.assert_close(normalized, by_hand)
    torch.testing.assert_close(normalized.var(-1), torch.ones(2, 3), rtol=1e-3, atol=0)


def test_pixels_are_scaled_before_they_are_normalized():
    pixels = p.patchify(random_strips())
    torch.testing.assert_close(p.normalize_patches(pixels), p.normalize_patches(pixels.double() / 255))


def test_a_blank_patch_normalizes_to_zeros():
    for blank in (torch.full((1, 256), 255, dtype=torch.uint8), torch.zeros(1, 256)):
        assert p.normalize_patches(blank).abs().max() == 0
        assert p.normalize_gray_patches(blank).abs().max() == 0


def test_gray_targets_are_those_of_the_same_patches_in_three_channels():
    gray = p.patchify(random_strips(channels=1))
    rgb = p.gray_to_rgb_patches(gray)
    assert torch.equal(rgb, p.patchify(p.unpatchify(gray, 1).expand(-1, 3, -1, -1)))
    torch.testing.assert_close(p.normalize_gray_patches(gray), p.normalize_patches(rgb))


def test_denormalized_predictions_take_brightness_and_contrast_from_the_true_patches():
    truth = p.patchify(random_strips())
    torch.testing.assert_close(p.denormalize_patches(p.normalize_patches(truth), truth), truth.float() / 255)
