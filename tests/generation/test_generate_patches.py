"""Patches that follow a strip: cached as uncached, in batches as alone, black and white, up to a separator."""

import numpy as np
import pytest
import torch
from naive import small_model

from pixelgpt_fairseq.data.patches import PATCH_LOSSES
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.generation import generate_patches
from pixelgpt_fairseq.generation.patches import (
    black_and_white,
    continue_strips,
    patches_to_pixels,
    prompt_patches,
)
from pixelgpt_fairseq.rendering import RendererConfig, TextRenderer


@pytest.fixture(scope="module")
def renderer():
    return TextRenderer()


@pytest.fixture(scope="module")
def model():
    return small_model(vocab_size=None)


def prompts(renderer, *texts):
    return [prompt_patches(renderer, text) for text in texts or ("One text", "and a longer one that follows")]


def predicting(model, value):
    """A model that predicts the same for every pixel."""
    model.lm_pixel_head.register_forward_hook(lambda module, given, output: torch.full_like(output, value))
    return model


@pytest.mark.parametrize("patch_loss", PATCH_LOSSES)
def test_a_batch_with_a_cache_is_each_prompt_read_again_for_every_patch(model, renderer, patch_loss):
    found = continue_strips(model, prompts(renderer), 6, patch_loss)
    for prompt, row in zip(prompts(renderer), found, strict=True):
        strip = prompt
        for patch in row.patches:
            prediction = model(patches=strip[None]).patch_predictions[0, -1]
            assert torch.equal(patch, black_and_white(prediction, 256, patch_loss))
            strip = torch.cat([strip, patch[None]])
        assert row.patches.dtype == torch.uint8
        assert set(row.patches.unique().tolist()) <= {0, 255}
        assert torch.equal(generate_patches(model, prompt, 6, patch_loss=patch_loss), row.patches)
    assert sum(len(row.patches) for row in found) > 2


def test_the_rule_of_each_patch_loss():
    ink = torch.tensor([[-1.0, 1.0, 1.0, 1.0]])
    assert black_and_white(ink, 4, "bce").tolist() == [[0, 255, 255, 255]]
    assert black_and_white((ink + 1) / 2, 4, "mse").tolist() == [[0, 255, 255, 255]]
    assert black_and_white(ink, 4, "normalized_mse").tolist() == [[0, 255, 255, 255]]
    assert black_and_white(0.4 * ink, 4, "normalized_mse").tolist() == [[255] * 4]  # closer to a blank than to ink
    assert black_and_white(0.4 * ink, 4, "normalized_mse", blank=0).tolist() == [[0] * 4]
    channels = torch.tensor([[-3.0, 1.0, 1.0, 1.0, 1.0, -1.0]])  # two pixels of three channels
    assert black_and_white(channels, 2, "bce").tolist() == [[0, 255]]
    assert black_and_white(channels, 6, "bce").tolist() == [[0, 255, 255, 255, 255, 0]]


def test_a_temperature_draws_pixels_by_their_probabilities():
    torch.manual_seed(0)
    logits = torch.full((1, 40_000), 2.0)
    for temperature in (1.0, 4.0):
        share = (black_and_white(logits, 40_000, "bce", temperature) == 255).float().mean().item()
        assert share == pytest.approx(torch.tensor(2.0 / temperature).sigmoid().item(), abs=0.01)


@pytest.mark.parametrize(("patch_loss", "ends"), [("bce", True), ("mse", True), ("normalized_mse", False)])
def test_a_separator_ends_a_text_but_for_normalized_targets(renderer, patch_loss, ends):
    black = predicting(small_model(vocab_size=None), 0.0 if patch_loss != "bce" else -1.0)
    (found,) = continue_strips(black, prompts(renderer, "text"), 4, patch_loss)
    assert found.ended == ends
    assert len(found.patches) == (0 if ends else 4)
    assert (found.patches == 255).all()  # of normalized targets, the same prediction is a blank


def test_a_model_generates_by_the_patch_loss_that_it_was_trained_with(renderer):
    black = predicting(small_model(vocab_size=None), -1.0)
    black.patch_loss = "bce"
    assert len(generate_patches(black, prompts(renderer, "text")[0], 4)) == 0


def test_white_on_black_has_black_blanks_and_no_separator():
    look = RendererConfig(background_color="black", font_color="white")
    black = predicting(small_model(vocab_size=None, data_settings={"renderer": look.to_dict()}), -1.0)
    assert (
        generate_patches(black, prompts(TextRenderer(look), "text")[0], 3, patch_loss="bce").tolist() == [[0] * 256] * 3
    )


@pytest.mark.parametrize("text", ["The next", "The next word", "mmmmmmm", "m m mm "])
def test_a_shifted_prompt_ends_where_the_next_word_begins(renderer, text):
    pixels = patches_to_pixels(prompt_patches(renderer, text, shift=True), 16)
    text = text.rstrip()
    whole = renderer(f"{text} mmm").pixels
    start = 2 + int(renderer.pen_positions(f"{text} mmm")[len(text) + 1])
    shift = pixels.shape[1] - start
    assert 0 <= shift < 16
    assert (pixels[:, :shift] == 255).all()
    assert np.array_equal(pixels[:, shift:], whole[:, :start])


@pytest.mark.parametrize("text", ["Any text", "mmm", "m", "Texts of many lengths end within a patch"])
def test_a_prompt_is_the_patches_that_its_text_fills(renderer, text):
    pixels = patches_to_pixels(prompt_patches(renderer, text), 16)
    end = 2 + int(renderer.pen_positions(text)[-1])
    assert pixels.shape[1] == max(16, end - end % 16)
    assert np.array_equal(pixels, renderer(text).pixels[:, : pixels.shape[1]])


def test_a_prompt_keeps_its_colors():
    colors = TextRenderer(RendererConfig(render_mode="rgb", font_color="red"))
    for shift in (False, True):
        assert prompt_patches(colors, "Any text", shift).shape[1] == 768
    rgb = patches_to_pixels(prompt_patches(colors, "Any text"), 16)
    assert np.array_equal(rgb, colors("Any text").pixels[:, : rgb.shape[1]])


def test_bad_input_is_one_line(model, renderer):
    (prompt,) = prompts(renderer, "text")
    refused = [
        (lambda: generate_patches(small_model(num_labels=2), prompt, 2), "gives labels"),
        (lambda: generate_patches(small_model(uses_patches=False), prompt, 2), "built for text alone"),
        (lambda: generate_patches(model, prompt, 0), "at least 1"),
        (lambda: generate_patches(model, prompt, 65 - len(prompt) + 1), r"need 65 positions, the model has 64"),
        (lambda: generate_patches(model, prompt[:0], 2), "prompt is empty"),
        (lambda: generate_patches(model, prompt, 2, patch_loss="huber"), "one of normalized_mse, mse, bce"),
        (lambda: generate_patches(model, prompt, 2, temperature=1.0), "only bce gives probabilities"),
        (lambda: generate_patches(model, prompt, 2, temperature=-1.0), "0 or more"),
        (lambda: prompt_patches(renderer, " \n"), "prompt is empty"),
        (lambda: prompt_patches(TextRenderer(RendererConfig(max_patches=4)), "m" * 40), "longer than a strip"),
    ]
    for call, message in refused:
        with pytest.raises(UserError, match=message):
            call()
    assert len(generate_patches(model, prompt, 64 - len(prompt) + 1)) == 64 - len(prompt) + 1
