"""The pillow backend keeps the layout's rules, for any string."""

import functools
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pillow_strips import LANGUAGES, assert_same, ink, pillow
from skips import needs_raqm

from pixelgpt_fairseq.errors import UserError

pytestmark = needs_raqm


@pytest.mark.parametrize("text", ["", "x", "two words", LANGUAGES["Arabic"], LANGUAGES["Chinese"], "   ", "\u0301"])
def test_separators_stand_where_the_rules_say(shaped, text):
    rendered = shaped(text)
    width = int(shaped._raster.boxes(text)[0].sum())
    end = -(-(2 + width + 2) // 16)
    assert rendered.separators == [end] == [rendered.num_text_patches]
    assert rendered.pixels.shape == (16, 16 * end + 16)
    assert (rendered.pixels[:, -16:] == 0).all()
    pair = shaped((text, text))
    np.testing.assert_array_equal(pair.pixels, np.hstack([rendered.pixels, rendered.pixels]))
    assert pair.separators == [end, 2 * end + 1]


@pytest.mark.parametrize("language", ["English", "Arabic", "Hindi", "Chinese"])
def test_words_start_at_patches(shaped, language):
    words = LANGUAGES[language].replace("，", "， ").split()
    rendered = shaped(words)
    column, starts = 2, [0]
    for i, word in enumerate(words):
        last = i == len(words) - 1
        column += int(shaped._raster.boxes(word if last else word + " ")[0].sum()) + (2 if last else 0)
        column = -(-column // 16) * 16
        starts.append(column // 16)
    assert rendered.word_starts == starts
    assert rendered.separators == starts[-1:]
    for start, end in itertools.pairwise(starts):
        assert (rendered.pixels[:, 16 * start : 16 * end] < 255).any()


@pytest.mark.parametrize("language", ["English", "Arabic"])
def test_what_is_too_wide_loses_its_end(small, shaped, language):
    text = " ".join([LANGUAGES[language]] * 3)
    rendered = small(text)
    assert rendered.separators == [11]
    room = rendered.pixels[:, 2 : 11 * 16]
    whole = shaped(text).pixels
    width = int(shaped._raster.boxes(text)[0].sum())
    # What a line that begins at the right shows of itself is its beginning, too.
    first = 2 if language == "English" else 2 + width - room.shape[1]
    expected = whole[:, first : first + room.shape[1]]
    np.testing.assert_array_equal((room[:, 20:-20] < 255).any(axis=0), (expected[:, 20:-20] < 255).any(axis=0))


def test_a_line_of_ten_megabytes_costs_little(measured):
    renderer = pillow()
    with measured() as cost:
        for text in ("word " * 2_000_000, "x" * 10_000_000, "كتاب " * 2_000_000, "语" * 10_000_000):
            assert renderer(text).separators == [1023]
    assert cost.seconds < 20
    assert cost.megabytes < 100


@pytest.mark.parametrize("character", ["\u200b", "\u0301", "\u200d", "\u202e", "\ufe0f", "\n"])
def test_a_long_line_of_what_has_no_width_ends(measured, character):
    renderer = pillow(max_patches=8)
    with measured() as cost:
        rendered = renderer(character * 1_000_000)
    assert rendered.num_text_patches <= 7
    assert cost.seconds < 10
    assert cost.megabytes < 100


def test_pieces_of_a_document_show_all_of_it(small, shaped):
    for text in (" ".join(LANGUAGES.values()), LANGUAGES["Arabic"] * 5, "x" * 300, LANGUAGES["Thai"] * 4):
        position = 0
        for start, end in small.cut(text):
            assert text[position:start].strip() == ""
            assert shaped(text[start:end]).num_text_patches <= 11
            position = end
        assert text[position:].strip() == ""


# Columns of characters


@pytest.mark.parametrize("language", LANGUAGES)
def test_columns_tell_where_each_word_is(shaped, language):
    text = LANGUAGES[language]
    rendered, columns = shaped(text), shaped.columns(text) + 2
    dark = (rendered.pixels[:, :-16] < 255).any(axis=0)
    ends = np.cumsum([len(word) + 1 for word in text.split(" ")])
    for word, end in zip(text.split(" "), ends, strict=True):
        there = columns[end - 1 - len(word) : end - 1]
        left, right = there[:, 0].min(), there[:, 1].max()
        # Nothing of a word is outside of its columns, nothing of its neighbors within.
        assert dark[left:right].sum() == (ink(shaped(word)).any(axis=0)).sum()
        assert not dark[left - 1] or left == columns.min()
    assert shaped.reads_left_to_right(text) == (language not in ("Arabic", "Urdu"))


def test_pen_positions_are_the_columns_of_left_to_right_text(shaped):
    text = "| | |  |"
    pens, columns = shaped.pen_positions(text), shaped.columns(text)
    np.testing.assert_array_equal(pens[:-1], columns[:, 0])
    np.testing.assert_array_equal(pens[1:], columns[:, 1])


# Any string


ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.text(
    st.sampled_from(
        "ab fi.,(1%)-\u0301\u200b\u200d\u200e\u202e\u202c\u2067\u2069\t\n क्ि้ำ語ﷺאבגمرحب😀\ufe0f🇩\U000e0067\x07"
    ),
    max_size=30,
)


@functools.cache
def another():
    return pillow()


@settings(max_examples=80, deadline=None)
@given(text=ANY_TEXT)
def test_any_string_is_drawn_by_the_rules(shaped, text):
    rendered = shaped(text)
    width = int(shaped._raster.boxes(text)[0].sum())
    assert rendered.separators == [rendered.num_text_patches] == [-(-(4 + width) // 16)]
    assert rendered.pixels.shape == (16, 16 * (rendered.num_text_patches + 1))
    assert (rendered.pixels[:, -16:] == 0).all()
    assert (rendered.pixels[:, :1] == 255).all()
    columns = shaped.columns(text)
    assert columns.shape == (len(text), 2)
    assert (columns[:, 0] <= columns[:, 1]).all()
    assert_same(rendered, another()(text))  # which has seen other texts


@settings(max_examples=40, deadline=None)
@given(text=ANY_TEXT, max_patches=st.integers(2, 6))
def test_any_string_is_cut_and_clipped(text, max_patches):
    renderer = pillow(max_patches=max_patches, font_size=9)
    assert renderer(text).num_text_patches < max_patches
    pieces = list(renderer.cut(text))
    assert "".join("".join(text[start:end].split()) for start, end in pieces) == "".join(text.split())


@pytest.mark.parametrize("text", ["\ud800", "a\udc00b", "\ude00\ud83d"])
def test_lone_surrogates_are_refused(shaped, text):
    for render in (shaped, shaped.pen_positions, shaped.columns, lambda text: list(shaped.cut(text))):
        with pytest.raises(UserError, match="surrogate"):
            render(text)


def test_surrogate_pairs_are_joined(shaped):
    assert_same(shaped("a\ud83d\ude00b"), shaped("a😀b"))
