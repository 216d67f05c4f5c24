"""loaded.generate_text: strips, typed texts and translations."""

import numpy as np
import pytest
import torch

import pixelgpt_fairseq
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.generation import generate_tokens

TEXTS = ["An expression.", "The while statement repeats."]


@pytest.fixture(scope="module")
def model(checkpoint):
    return pixelgpt_fairseq.load(checkpoint)


def test_a_strip_is_read_in_every_form(model):
    drawn = model.renderer(TEXTS[0])
    pixels = drawn.pixels
    width = model.model.data_settings["pair_patches"]
    patches = torch.from_numpy(drawn.patches())[None]
    (expected,) = generate_tokens(
        model.model, [[model.tokenizer.bos]], 8, patches, strip_patches=width, eos=model.tokenizer.eos
    )
    colored = np.repeat(pixels[:, :, None], 3, axis=2)
    for strip in (
        TEXTS[0],
        drawn,
        pixels,
        torch.from_numpy(pixels),
        colored,
        drawn.patches(),
        pixels / np.float32(255),
    ):
        found = model.generate_text(strip, max_tokens=8)
        assert found.ids == expected
        assert found.text == model.tokenizer.decode(expected)
        assert len(found.scores) == len(found.ids)
        assert max(found.scores) <= 0


@pytest.mark.parametrize("modality", ["pixel", "text"])
def test_texts_of_a_list_are_written_as_each_alone(model, modality):
    together = model.generate_text(TEXTS, max_tokens=6, modality=modality, beam=2)
    alone = [model.generate_text(text, max_tokens=6, modality=modality, beam=2) for text in TEXTS]
    assert [found.ids for found in together] == [found.ids for found in alone]
    assert [found.text for found in together] == [found.text for found in alone]


def test_a_text_goes_on(model):
    prompt = [model.tokenizer.bos, *model.tokenizer(TEXTS[0])]
    (expected,) = generate_tokens(model.model, [prompt], 6, eos=model.tokenizer.eos)
    found = model.generate_text(TEXTS[0], max_tokens=6, modality="text")
    assert found.ids == expected
    assert TEXTS[0] + found.text == model.tokenizer.decode([*prompt, *expected])


@pytest.mark.parametrize("modality", ["pixel", "text"])
def test_a_translator_writes_targets(translator, modality):
    loaded = pixelgpt_fairseq.load(translator[modality])
    bos, tokenizer = loaded.tokenizer.bos, loaded.tokenizer
    prompt, given = [bos], {}
    if modality == "text":
        prompt = [bos, *tokenizer("a word"), bos]
    else:
        given = {"patches": torch.from_numpy(loaded.renderer("a word").patches())[None], "strip_patches": 24}
    (expected,) = generate_tokens(loaded.model, [prompt], 6, eos=tokenizer.eos, **given)
    found = loaded.generate_text("a word", max_tokens=6)
    assert found.ids == expected
    assert found.text == tokenizer.decode(expected)


def test_as_many_tokens_as_fit_are_written_unless_told_otherwise(model):
    found = model.generate_text(TEXTS[0], sampling=True, temperature=5.0)
    assert 0 < len(found.ids) <= 200
    assert model.generate_text([]) == []


def test_what_cannot_be_read_is_named(model, finetuned):
    refused = [
        ({"source": " "}, "an empty text"),
        ({"source": TEXTS[0], "modality": "pair"}, "modality 'pair': pixel or text"),
        ({"source": model.renderer(TEXTS[0]), "modality": "text"}, "goes on with strings"),
        ({"source": np.zeros((15, 32), dtype=np.uint8)}, r"a strip of shape \[15, 32\]: give pixels \[16, 16 \* n\]"),
        ({"source": np.zeros((16, 256), dtype=np.uint8)}, r"may be pixels or patches: give pixels as \[16, 256, 1\]"),
        ({"source": "word " * 60}, "patches or more: the model was trained on 32 at most"),
        ({"source": TEXTS[0], "max_tokens": 5000}, "positions and 5000 new tokens need"),
    ]
    for arguments, message in refused:
        with pytest.raises(UserError, match=message):
            model.generate_text(**arguments)
    with pytest.raises(UserError, match="a classifier predicts no patch and no token"):
        pixelgpt_fairseq.load(finetuned["rte"].checkpoint).generate_text(TEXTS[0])
    pixels_only = pixelgpt_fairseq.load(finetuned["stsb"].checkpoint)
    with pytest.raises(UserError, match="reads no tokens"):
        pixels_only.generate_text(TEXTS[0])
