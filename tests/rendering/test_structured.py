"""The structure "words": every word begins at a patch, and looks the same wherever it stands."""

import dataclasses
import json

import numpy as np
import pytest
from skips import needs_raqm
from toy_glue import write_glue

from pixelgpt_fairseq.cli.render_corpus import main as render_corpus
from pixelgpt_fairseq.cli.render_glue import main as render_glue
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.generation.patches import prompt_patches
from pixelgpt_fairseq.generation.reading import read_continuation, read_strip
from pixelgpt_fairseq.rendering import RendererConfig, TextRenderer
from pixelgpt_fairseq.rendering.renderer import MARGIN

SENTENCE = "a gripping , funny and heartfelt movie ; it ages"
HEBREW = "שלום עולם וגם אנחנו"


def structured(**settings):
    return TextRenderer(RendererConfig(structure="words", **settings))


@pytest.fixture(scope="module")
def renderer():
    return structured()


@pytest.fixture(scope="module")
def shaped_words():
    return structured(backend="pillow")


def test_a_word_fills_the_same_patches_wherever_it_stands(renderer):
    rendered, patch = renderer(SENTENCE).patches(), 0
    for word in SENTENCE.split():
        alone = renderer(word).patches()[:-1]
        np.testing.assert_array_equal(rendered[patch : patch + len(alone)], alone)
        patch += len(alone)
    assert patch == len(rendered) - 1


def test_in_continuous_text_it_does_not():
    rendered, alone = (TextRenderer()(text).patches() for text in (SENTENCE, "funny"))
    assert not any(np.array_equal(rendered[i : i + len(alone) - 1], alone[:-1]) for i in range(len(rendered)))


def test_neither_neighbors_nor_their_height_move_a_word(renderer):
    low, high = renderer("nun nun"), renderer("nun Äfg nun")
    np.testing.assert_array_equal(low.pixels[:, :32], high.pixels[:, :32])
    np.testing.assert_array_equal(low.pixels[:, -48:], high.pixels[:, -48:])


def test_the_strip_of_a_beginning_is_the_beginning_of_the_strip(renderer):
    words, whole = SENTENCE.split(), renderer(SENTENCE).pixels
    for count in range(1, len(words)):
        part = renderer(" ".join(words[:count])).pixels[:, :-16]
        np.testing.assert_array_equal(part, whole[:, : part.shape[1]])


def test_both_texts_of_a_pair_are_structured(renderer):
    first, second, pair = renderer("one two"), renderer("and another"), renderer(("one two", "and another"))
    np.testing.assert_array_equal(pair.pixels, np.hstack([first.pixels, second.pixels]))


@pytest.mark.parametrize("text", ["  one two", "one two ", "one   two", "one\t\n two", "one two\u3000"])
def test_blanks_are_as_wide_as_it_takes_however_many_there_are(renderer, text):
    np.testing.assert_array_equal(renderer(text).pixels, renderer("one two").pixels)


def test_what_must_not_be_broken_is_one_word(renderer):
    continuous = TextRenderer()("a\u00a0b\u00a0c").num_text_patches
    assert renderer("a\u00a0b\u00a0c").num_text_patches == continuous < renderer("a b c").num_text_patches


@pytest.mark.parametrize("text", ["", "   ", "\n"])
def test_a_blank_text_is_one_white_patch(renderer, text):
    rendered = renderer(text)
    assert rendered.num_text_patches == 1
    assert (rendered.pixels[:, :16] == 255).all()


@pytest.mark.parametrize("backend", ["pygame", pytest.param("pillow", marks=needs_raqm)])
def test_pens_are_those_of_the_strip(backend):
    renderer = structured(backend=backend)
    pens, columns = renderer.pen_positions(SENTENCE), renderer.columns(SENTENCE)
    inked = np.flatnonzero((renderer(SENTENCE).pixels[:, :-16] < 255).any(axis=0)) - MARGIN
    start = 0
    for word in SENTENCE.split():
        end = start + len(word)
        assert abs(pens[start] - 16 * round(pens[start] / 16)) <= 1  # ink can begin a little before or after the pen
        ink = inked[(pens[start] - 2 <= inked) & (inked <= pens[end] + 2)]
        assert columns[start:end].min() - 1 <= ink.min()
        assert ink.max() <= columns[start:end].max() + 1
        start = end + 1
    assert (np.diff(pens) >= 0).all()


def test_pieces_of_a_document_show_all_of_it_and_fit():
    renderer, text = structured(max_patches=12), " ".join([SENTENCE] * 5)
    pieces = [text[start:end] for start, end in renderer.cut(text)]
    assert " ".join(pieces) == text
    assert len(pieces) > 5
    wide = structured(max_patches=400)
    for piece in pieces:
        np.testing.assert_array_equal(renderer(piece).pixels, wide(piece).pixels)


def test_what_is_too_wide_is_clipped_and_ends_at_the_last_patch(renderer):
    whole = renderer(SENTENCE).pixels
    for patches in range(3, whole.shape[1] // 16):
        clipped = structured(max_patches=patches)(SENTENCE)
        assert clipped.separators == [patches - 1]
        np.testing.assert_array_equal(clipped.pixels[:, :-16], whole[:, : 16 * patches - 16])


@needs_raqm
def test_a_line_that_begins_at_the_right_keeps_its_order_and_its_beginning(shaped_words):
    rendered, words = shaped_words(HEBREW).patches(), HEBREW.split()
    places = []
    for word in words:
        alone = shaped_words(word).patches()[:-1]
        found = [i for i in range(len(rendered)) if np.array_equal(rendered[i : i + len(alone)], alone)]
        assert len(found) == 1
        columns = shaped_words.columns(HEBREW)[HEBREW.index(word) :][: len(word)]
        assert columns.min() // 16 == found[0]
        places += found
    assert places == sorted(places, reverse=True)
    clipped = structured(backend="pillow", max_patches=len(rendered) - 2)(HEBREW).patches()
    first = shaped_words(words[0]).patches()
    np.testing.assert_array_equal(clipped[-len(first) :], first)


@needs_raqm
def test_colors_are_kept(color_font, latin):
    settings = {"backend": "pillow", "render_mode": "rgb", "fonts": [latin, color_font], "font_color": "#0000ff"}
    shapes = "one \U0001f600"
    drawn, continuous = (
        TextRenderer(RendererConfig(structure=structure, **settings))(shapes).pixels
        for structure in ("words", "continuous")
    )
    colors, expected = ({tuple(color) for color in pixels.reshape(-1, 3).tolist()} for pixels in (drawn, continuous))
    assert colors == expected
    assert len(colors) > 3


@pytest.mark.parametrize("side", [8, 32])
def test_other_patch_sizes(side):
    renderer = structured(patch_size=side)
    whole, alone = renderer("gripping story").pixels, renderer("story").pixels
    np.testing.assert_array_equal(whole[:, -alone.shape[1] :], alone)
    assert (whole[:, : -len(whole)] < 128).any(axis=1).sum() > side // 2


@needs_raqm
@pytest.mark.parametrize("backend", ["pygame", "pillow"])
@pytest.mark.parametrize("text", ["word " * 2_000_000, "x" * 10_000_000, "\u0643\u062a\u0627\u0628 " * 2_000_000])
def test_a_line_of_ten_megabytes_costs_little(measured, backend, text):
    renderer = structured(backend=backend)
    with measured() as cost:
        assert renderer(text).separators == [1023]
    assert cost.seconds < 20
    assert cost.megabytes < 150


def test_it_is_read_back(renderer):
    assert read_strip(renderer(SENTENCE).pixels, renderer.config).text == SENTENCE
    whole, begin = renderer(SENTENCE).pixels, renderer("a gripping ,").num_text_patches * 16
    assert read_continuation(whole, begin, renderer.config).text.strip().startswith("funny and")


@pytest.mark.parametrize("shift", [False, True])
def test_a_prompt_is_the_beginning_of_what_follows(renderer, shift):
    whole, prompt = renderer(SENTENCE).patches(), prompt_patches(renderer, "a gripping", shift=shift).numpy()
    np.testing.assert_array_equal(prompt, whole[: len(prompt)])
    assert len(prompt) == renderer("a gripping").num_text_patches - (not shift)


def test_it_is_a_difference_of_looks():
    plain = RendererConfig()
    words = dataclasses.replace(plain, structure="words")
    assert words.differences(plain) == ["structure: words against continuous"]
    with pytest.raises(UserError, match="structure: 'word' is not available, choose continuous or words"):
        RendererConfig(structure="word")


def test_data_folders_record_it_and_hand_it_on(tmp_path):
    (tmp_path / "text.txt").write_text(f"{SENTENCE}\n" * 3, encoding="utf-8")
    corpus, glue = tmp_path / "corpus", tmp_path / "glue"
    settings = ["--structure", "words"]
    render_corpus(["--input", str(tmp_path / "text.txt"), "--destdir", str(corpus), "--split", "train", *settings])
    write_glue(tmp_path, train=4, dev=2)
    render_glue(["--glue-dir", str(tmp_path), "--task", "sst2", "--destdir", str(glue), "--like", str(corpus)])
    for folder in (corpus, glue):
        recorded = json.loads((folder / "text_renderer_config.json").read_text(encoding="utf-8"))
        assert recorded["structure"] == "words"
