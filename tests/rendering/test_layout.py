"""Where things stand on a strip: texts, pairs, words, separators, clipping, tokens' columns."""

import json

import numpy as np
import pytest
from pygame_reference import font_path
from shared_fixtures import shared

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.rendering import RendererConfig, TextRenderer

FOX = "The quick brown fox jumps over the lazy dog. "


def small(max_patches):
    return TextRenderer(RendererConfig(max_patches=max_patches))


def test_every_published_render_is_matched_to_the_pixel():
    folder = shared("reference/renderer")
    entries = json.loads((folder / "renders.json").read_text(encoding="utf-8"))
    pixels = np.load(folder / "renders.npz")["pixels"]
    for entry in entries:
        text = tuple(entry["text"]) if entry["kind"] == "pair" else entry["text"]
        config = RendererConfig(fonts=[font_path(entry["font"])], max_patches=entry["max_patches"])
        rendered = TextRenderer(config)(text)
        assert rendered.num_text_patches == entry["num_text_patches"]
        assert rendered.separators == entry["sep_patches"]
        assert rendered.word_starts == entry["word_starts"]
        expected = pixels[:, entry["column"] : entry["column"] + entry["width"]]
        np.testing.assert_array_equal(rendered.pixels, expected)


def test_a_text_is_followed_by_one_black_patch(renderer):
    rendered = renderer("pixels")
    assert rendered.pixels.dtype == np.uint8
    assert rendered.pixels.shape == (16, (rendered.num_text_patches + 1) * 16)
    assert rendered.separators == [rendered.num_text_patches]
    assert (rendered.pixels[:, -16:] == 0).all()
    assert (rendered.pixels[:, :2] == 255).all()
    assert rendered.word_starts == []


def test_an_empty_text_has_one_white_patch(renderer):
    rendered = renderer("")
    assert rendered.num_text_patches == 1
    assert (rendered.pixels[:, :16] == 255).all()


def test_patches_are_cut_row_by_row(renderer):
    rendered = renderer("patches")
    patches = rendered.patches()
    assert patches.shape == (rendered.num_text_patches + 1, 256)
    np.testing.assert_array_equal(patches[1].reshape(16, 16), rendered.pixels[:, 16:32])


def test_a_pair_is_two_texts_each_with_its_separator(renderer):
    first, second, pair = renderer("one"), renderer("another"), renderer(("one", "another"))
    np.testing.assert_array_equal(pair.pixels, np.hstack([first.pixels, second.pixels]))
    assert pair.separators == [first.num_text_patches, first.num_text_patches + 1 + second.num_text_patches]


def test_words_start_at_patches(renderer):
    words = ["These", "are", "words"]
    rendered = renderer(words)
    assert len(rendered.word_starts) == 4
    assert rendered.word_starts[0] == 0
    assert rendered.word_starts[-1] == rendered.num_text_patches == rendered.separators[0]
    for start in rendered.word_starts[1:-1]:
        patch = rendered.pixels[:, 16 * start : 16 * start + 16]
        assert (patch < 255).any()


@pytest.mark.parametrize("text", [FOX * 9, (FOX * 9, FOX), (FOX, FOX * 9), (FOX * 9).split()])
@pytest.mark.parametrize("max_patches", [2, 3, 16, 32])
def test_what_is_too_wide_is_clipped_by_the_last_patch(text, max_patches):
    rendered = small(max_patches)(text)
    assert rendered.pixels.shape == (16, 16 * max_patches)
    assert rendered.separators[-1] == max_patches - 1
    assert (rendered.pixels[:, -16:] == 0).all()


@pytest.mark.parametrize("max_patches", [2, 16, 64])
def test_strips_with_limits_match_pygame(both, latin, max_patches):
    renderer, reference = both(latin, max_patches=max_patches)
    for length in range(0, 400, 7):
        text = (FOX * 9)[:length]
        for given in (text, (text, FOX), (FOX[:9], text), text.split() or [""]):
            pixels, patches, separators, starts = reference(given)
            rendered = renderer(given)
            assert tuple(rendered[1:]) == (patches, separators, starts)
            np.testing.assert_array_equal(rendered.pixels, pixels)


@pytest.mark.parametrize("given", [[], ("one",), ("one", "two", "three"), 5, None, ["word", 5], ("one", None)])
def test_what_cannot_be_rendered_is_refused(renderer, given):
    with pytest.raises(UserError, match="can render"):
        renderer(given)


def test_pen_positions_are_columns_of_the_strip(renderer):
    # Single bars have ink where their pen is; blanks keep them apart.
    text = "| | |  |"
    pens = renderer.pen_positions(text) + 2
    inked = np.flatnonzero((renderer(text).pixels[:, :-16] < 255).any(axis=0))
    bars = [pens[i] for i, character in enumerate(text) if character == "|"]
    first_of_each = inked[np.diff(inked, prepend=-9) > 1]
    assert np.diff(bars).tolist() == np.diff(first_of_each).tolist()
    assert len(pens) == len(text) + 1
    assert (np.diff(pens) >= 0).all()


def test_pen_positions_tell_where_an_appended_text_begins(renderer):
    for text in (FOX, "naïve café", "语言 language", "x"):
        start = renderer.pen_positions(text)[-1] + 2
        pixels = renderer(text + "H").pixels
        np.testing.assert_array_equal(pixels[:, :start], renderer(text + " H").pixels[:, :start])


def test_the_empty_text_has_one_pen_position(renderer):
    assert renderer.pen_positions("").tolist() == [0]
