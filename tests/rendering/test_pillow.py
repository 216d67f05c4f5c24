"""The pillow backend: letters are shaped, and words stand in their order."""

import unicodedata

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from pillow_strips import LANGUAGES, assert_same, ink, ink_parts, pillow
from skips import needs_raqm

from pixelgpt_fairseq.rendering import bidi

pytestmark = needs_raqm


SIZE = 8 * 120 / 72


@pytest.fixture(scope="module")
def raw(latin):
    """Pillow's own drawing of a text, its ink alone: coverage."""
    font = ImageFont.truetype(str(latin), SIZE, layout_engine=ImageFont.Layout.RAQM)

    def draw(text, **options):
        picture = Image.new("L", (40 * (len(text) + 4), 80))
        ImageDraw.Draw(picture).text((40, 40), text, 255, font, "ls", **options)
        return np.asarray(picture.crop(picture.getbbox()))

    return draw


# Shaping and order


@pytest.mark.parametrize("word", ["office", "Tiếng", "क्षत्रिय", "हिन्दी", "ที่นี่", "الكتاب", "پڑھا", "بِسْمِ", "γλώσσα", "ещё"])
def test_a_word_is_shaped_as_pillow_shapes_it(shaped, raw, word):
    np.testing.assert_array_equal(ink(shaped(word)), raw(word))


def test_arabic_is_joined_and_pygame_does_not_join_it(shaped, renderer):
    # The joined form of a word is not its letters side by side; the published look is.
    word = "كتاب"
    letters = sum(ink(shaped(letter)).shape[1] for letter in word)
    assert ink(shaped(word)).shape[1] < 0.9 * letters
    assert shaped.columns(word)[-1, 1] < renderer.columns(word)[-1, 1]


def test_the_first_word_of_arabic_is_at_the_right(shaped):
    parts = ink_parts(shaped("كتاب شمس"))
    assert len(parts) == 2
    first, second = ink(shaped("كتاب")), ink(shaped("شمس"))
    for part, word in zip(parts, (second, first), strict=True):
        np.testing.assert_array_equal(part[part.any(axis=1)], word[word.any(axis=1)])


def test_brackets_are_mirrored_and_numbers_are_not(shaped):
    columns = shaped.columns("قلم (12)")
    assert columns[0, 0] > columns[5, 0]  # the bracket that opens is left of the word, and right of the number
    assert columns[4, 0] > columns[5, 0] < columns[6, 0] > columns[7, 0]
    opening, closing = (ink(shaped(bracket)) for bracket in "()")
    first = ink_parts(shaped("قلم (1)"))[0]
    assert first[first.any(axis=1)].shape[0] >= opening.shape[0]
    assert not np.array_equal(opening, closing)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("abc שלום def", "abc םולש def"),
        ("שלום abc עולם", "םלוע abc םולש"),
        ("שלום 123 עולם", "םלוע 123 םולש"),
        ("\u202eabc def\u202c", "fed cba"),
        ("abc \u2067שלום def\u2069 ghi", "abc def םולש ghi"),
        ("(שלום) abc", "abc (םולש)"),
    ],
)
def test_words_stand_in_the_order_of_unicodes_algorithm(text, shown):
    order = bidi.visual_order(text)
    visible = [i for i in np.argsort(order.positions) if unicodedata.category(text[i]) != "Cf"]
    expected = shown.replace("(", "<").replace(")", ">")
    mirrored = {"(": ")", ")": "("}
    found = "".join(mirrored.get(text[i], text[i]) if order.levels[i] & 1 else text[i] for i in visible)
    assert found.replace("(", "<").replace(")", ">") == expected


def test_an_override_turns_letters_around(shaped):
    assert_same(shaped("\u202eabc\u202c"), shaped("cba"))


def test_text_without_right_to_left_needs_no_fribidi(monkeypatch, shaped):
    monkeypatch.setattr(bidi, "_fribidi", lambda: pytest.fail("looked for FriBiDi"))
    for language in ("English", "Chinese", "Hindi", "Thai"):
        pillow()(LANGUAGES[language])


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_fits_the_strip_and_has_its_ink(shaped, language):
    rendered = shaped(LANGUAGES[language])
    line = shaped._raster.line(LANGUAGES[language], 10_000)
    assert len(line.coverage) <= 17  # a row of the tallest Arabic is beyond the strip
    assert ink(rendered).any(axis=0).sum() == line.coverage.any(axis=0).sum()
    assert rendered.num_text_patches == -(-(line.width + 4) // 16)
