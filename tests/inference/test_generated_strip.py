"""loaded.generate_patches and scripts/generate.py: strips that go on, and what they read as."""

import numpy as np
import pytest
import torch
from naive import small_model
from PIL import Image
from refusals import refusal, script

import pixelgpt_fairseq
from pixelgpt_fairseq.checkpoints.released import save_released
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.generation.patches import prompt_patches
from pixelgpt_fairseq.generation.reading import read_continuation
from pixelgpt_fairseq.rendering import RendererConfig, TextRenderer

PROMPT = "The value of"


@pytest.fixture(scope="module")
def loaded(checkpoint):
    return pixelgpt_fairseq.load(checkpoint)


@pytest.fixture
def drawing(loaded, monkeypatch):
    """Makes the model draw a text: whatever it reads, the patches of that text follow one after the other."""

    def draw(text, prompt=PROMPT):
        whole = loaded.renderer(f"{prompt} {text}")
        before = len(prompt_patches(loaded.renderer, prompt))
        patches = (torch.from_numpy(whole.patches())[before:].float() / 255).repeat_interleave(3, dim=1)
        drawn = iter(patches)

        def forward(hidden):
            return (next(drawn) - 0.5).expand(*hidden.shape[:-1], -1)

        monkeypatch.setattr(loaded.model.lm_pixel_head, "forward", forward)
        monkeypatch.setattr(loaded.model, "patch_loss", "bce")
        return before, whole

    return draw


def test_what_a_model_draws_is_read(loaded, drawing):
    start, whole = drawing("a small word is 25.")
    found = loaded.generate_patches(PROMPT, max_patches=30)
    assert found.ended
    assert found.prompt_patches == start
    assert np.array_equal(found.strip[:, 16 * start :] > 127, whole.pixels[:, 16 * start : -16] > 127)
    assert found.text.strip().endswith("small word is 25.")
    assert len(found.scores) == len(found.text)
    assert sum(score == 1 for score in found.scores) > 0.8 * len(found.scores)


def test_a_continuation_begins_after_its_prompt():
    renderer = TextRenderer()
    strip = renderer("One two three").pixels
    start = 2 + int(renderer.pen_positions("One two three")[4])
    assert read_continuation(strip, start, renderer.config).text == "two three"
    assert read_continuation(strip, 0, renderer.config).text == "One two three"
    assert read_continuation(strip, 0, RendererConfig(backend="pillow")) is None


def test_prompts_of_a_list_are_a_batch(loaded):
    texts = [PROMPT, "If"]
    together = loaded.generate_patches(texts, max_patches=3, alphabet="abc")
    for text, found in zip(texts, together, strict=True):
        alone = loaded.generate_patches(text, max_patches=3, alphabet="abc")
        assert np.array_equal(found.strip, alone.strip)
        assert set(found.text) <= set("abc ")
    assert loaded.generate_patches([]) == []


def test_the_script_draws_and_prints_what_was_generated(checkpoint, tmp_path, capsys):
    generate = script("generate")
    arguments = ["--checkpoint", checkpoint, "--text", PROMPT, "--output", tmp_path / "out.png"]
    generate([str(each) for each in [*arguments, "--patches", 5, "--shift", "--alphabet", "abc"]])
    prompt, _, told = capsys.readouterr().out.splitlines()
    assert prompt == PROMPT
    assert "5 patches, up to the limit" in told
    picture = Image.open(tmp_path / "out.png")
    assert picture.size == (24 * 16 * 3, (2 * 16 + 3) * 3)
    assert (255, 236, 200) in {color for _, color in picture.getcolors(1 << 16)}
    assert "already there" in refusal(generate, *arguments)
    for options in (["--tokens", 4], ["--tokens", 4, "--modality", "pixel"], ["--tokens", 4, "--temperature", 1]):
        generate([str(each) for each in [*arguments, *options, "--overwrite"]])
        assert " tokens" in capsys.readouterr().out.splitlines()[-1]


def test_without_the_fonts_of_its_strips_a_model_neither_draws_nor_reads(checkpoint, tmp_path):
    state = torch.load(checkpoint, weights_only=True)
    fonts = state["task_state"]["data_settings"]["renderer"]["fonts"]
    fonts[0] |= {"name": "NoSuchFont.ttf", "sha256": "0" * 64, "path": str(tmp_path / "NoSuchFont.ttf")}
    torch.save(state, tmp_path / "model.pt")
    (tmp_path / "lines").write_text("some words\n")
    model, lines = ["--checkpoint", tmp_path / "model.pt"], ["--input", tmp_path / "lines"]
    commands = {
        "generate": [*model, "--text", "a", "--output", tmp_path / "out.png"],
        "evaluate_cloze": [*model, *lines],
        "evaluate_reading": [*model, *lines],
    }
    for name, arguments in commands.items():
        assert "font NoSuchFont.ttf (sha256 00000000…) is missing" in refusal(script(name), *arguments)


def test_bad_input_is_one_line(checkpoint, tmp_path, loaded):
    generate = script("generate")
    save_released(small_model(vocab_size=None), tmp_path / "pixels")
    save_released(small_model(uses_patches=False), tmp_path / "text")
    output = ["--output", tmp_path / "out.png"]
    refusals = [
        ([checkpoint, "--text", " "], "empty"),
        ([checkpoint, "--text", "a", "--patches", 0], "--patches 0"),
        ([checkpoint, "--text", "a", "--patches", 5000], "positions"),
        ([checkpoint, "--text", "a " * 2000], "longer than a strip"),
        ([checkpoint, "--text", "a", "--tokens", 3, "--shift"], "--shift"),
        ([checkpoint, "--text", "a", "--temperature", 1], "only bce"),
        ([tmp_path / "pixels", "--text", "a", "--tokens", 3], "reads no tokens"),
        ([tmp_path / "text", "--text", "a"], "reads no patches"),
        ([tmp_path / "nowhere", "--text", "a"], "no such file"),
    ]
    for arguments, message in refusals:
        assert message in refusal(generate, "--checkpoint", *arguments, *output), arguments
    assert not (tmp_path / "out.png").exists()
    with pytest.raises(UserError, match="prompt is empty"):
        loaded.generate_patches("")
