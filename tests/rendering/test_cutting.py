"""Documents are cut into pieces that fit a strip."""

import time
from pydoc_data.topics import topics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelgpt_fairseq.rendering import RendererConfig, TextRenderer

ENGLISH = " ".join(" ".join(topics.values()).split())


@pytest.fixture(scope="module")
def small():
    return TextRenderer(RendererConfig(max_patches=8))


@pytest.fixture(scope="module")
def patches_unclipped():
    """Counts the patches that a text takes on a strip of any length, separator included."""
    wide = TextRenderer(RendererConfig(max_patches=1 << 16))
    return lambda text: wide(text).num_text_patches + 1


@pytest.fixture(scope="module")
def assert_cut(patches_unclipped):
    """Checks that nothing but white space is lost, and that no piece would be clipped."""

    def check(renderer, text):
        position = 0
        for start, end in renderer.cut(text):
            assert text[position:start].strip() == ""
            assert position <= start <= end
            assert patches_unclipped(text[start:end]) <= renderer.config.max_patches
            position = end
        assert text[position:].strip() == ""

    return check


@pytest.mark.parametrize("text", ["", "x", "  kept  ", "two words", "\n", "语言"])
def test_a_text_that_fits_is_one_piece(small, text):
    assert list(small.cut(text)) == [(0, len(text))]


@pytest.mark.parametrize("length", range(10, 40))
def test_a_text_is_whole_as_long_as_it_fits(small, patches_unclipped, length):
    text = ENGLISH[100 : 100 + length]
    fits = patches_unclipped(text) <= 8
    assert (list(small.cut(text)) == [(0, len(text))]) == fits


def test_cuts_are_at_white_space_which_is_dropped(small):
    text = "several words in  a row\tthat do not fit one strip"
    pieces = [text[start:end] for start, end in small.cut(text)]
    assert len(pieces) > 1
    assert " ".join(pieces).split() == text.split()
    assert all(piece == piece.strip() for piece in pieces)


def test_words_stay_together_with_no_break_spaces(small):
    text = "one two three\u00a0four five six seven"
    pieces = [text[start:end] for start, end in small.cut(text)]
    assert any("three\u00a0four" in piece for piece in pieces)


def test_a_word_too_long_is_cut_between_characters(small):
    text = "x" * 200
    pieces = [text[start:end] for start, end in small.cut(text)]
    assert "".join(pieces) == text
    assert len(pieces) == -(-len(text) // len(pieces[0]))


@pytest.mark.parametrize("cluster", ["e\u0301", "o\u0302\u0323", "👩\u200d🔬", "क\u094d\u200d", "👍\U0001f3fd"])
def test_clusters_are_not_cut(small, cluster):
    text = cluster * 100
    spans = list(small.cut(text))
    assert len(spans) > 1
    assert all(start % len(cluster) == 0 for start, _ in spans)


def test_a_cluster_wider_than_the_strip_is_a_piece_of_its_own():
    narrow = TextRenderer(RendererConfig(max_patches=2, font_size=20))
    assert list(narrow.cut("WWW")) == [(0, 1), (1, 2), (2, 3)]


def test_only_white_space_beyond_the_strip_is_dropped(small):
    text = "a" + " " * 500
    assert [text[start:end] for start, end in small.cut(text)] == ["a"]
    assert [(" " * 500 + "a")[start:end] for start, end in small.cut(" " * 500 + "a")] == ["a"]


@pytest.mark.parametrize("text", [ENGLISH[:20_000], "语言可以被看作图像。" * 200, "हिन्दी भाषा की " * 200])
@pytest.mark.parametrize("max_patches", [3, 8, 100])
def test_documents_are_cut_without_loss(assert_cut, text, max_patches):
    assert_cut(TextRenderer(RendererConfig(max_patches=max_patches)), text)


@settings(max_examples=150, deadline=None)
@given(text=st.text(st.sampled_from("ab Wj語\u0301 \n\t\u200b\u00a0\u200d_.é"), max_size=300))
def test_any_text_is_cut_without_loss(small, assert_cut, text):
    assert_cut(small, text)


def test_pieces_fill_their_strips(renderer):
    spans = list(renderer.cut(ENGLISH))
    filled = [renderer(ENGLISH[start:end]).num_text_patches for start, end in spans[:-1]]
    assert sum(filled) / len(filled) > 0.99 * 1023


def test_time_is_linear_and_memory_bounded(renderer, measured):
    text = (ENGLISH * 30)[:10_000_000]
    with measured() as cost:
        pieces = sum(1 for _ in renderer.cut(text))
    assert pieces > 3_000
    assert cost.seconds < 20
    assert cost.megabytes < 20


def test_the_first_piece_does_not_wait_for_the_last(renderer):
    text = (ENGLISH * 60)[:20_000_000]
    began = time.perf_counter()
    next(renderer.cut(text))
    assert time.perf_counter() - began < 0.5
