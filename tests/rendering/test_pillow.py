"""The pillow backend: shaping, order, fallback fonts, colours; the layout's rules hold as with pygame."""

import itertools
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont, features
from pygame_reference import font_path

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.rendering import RendererConfig, TextRenderer, bidi, default_fonts, pillow_fonts
from pixelgpt_fairseq.rendering.units import split_units

pytestmark = pytest.mark.skipif(not features.check("raqm"), reason="Pillow has no Raqm here: no FriBiDi library")

SIZE = 8 * 120 / 72
LANGUAGES = {
    "Arabic": "يمكن قراءة اللغة كصورة، أليس كذلك؟",
    "Bulgarian": "Езикът може да се чете като картина.",
    "Chinese": "语言可以被当作图像来阅读，对吗？",
    "English": "“Language” can’t be read as an image: it’s office work.",
    "French": "Le cœur déçu mais l’âme plutôt naïve.",
    "German": "Zwölf Boxkämpfer jagen Eva über den Sylter Deich.",
    "Greek": "Η γλώσσα μπορεί να διαβαστεί ως εικόνα.",
    "Hindi": "हिन्दी भाषा को चित्र की तरह पढ़ा जा सकता है। क्षत्रिय",
    "Russian": "Съешь ещё этих мягких французских булок.",
    "Spanish": "¿Dónde está el niño? ¡Mañana saldrá!",
    "Swahili": "Lugha inaweza kusomwa kama picha.",
    "Thai": "ภาษาสามารถอ่านเป็นรูปภาพได้ ที่นี่ น้ำ",
    "Turkish": "Pijamalı hasta yağız şoföre çabucak güvendi.",
    "Urdu": "زبان کو تصویر کی طرح پڑھا جا سکتا ہے، ۱۲۳۔",
    "Vietnamese": "Ngôn ngữ có thể được đọc như một hình ảnh.",
}


def pillow(max_patches=1024, **settings):
    return TextRenderer(RendererConfig(backend="pillow", max_patches=max_patches, **settings))


@pytest.fixture(scope="module")
def shaped():
    return pillow()


@pytest.fixture(scope="module")
def small():
    return pillow(max_patches=12)


@pytest.fixture(scope="module")
def raw(latin):
    """Pillow's own drawing of a text, its ink alone: coverage."""
    font = ImageFont.truetype(str(latin), SIZE, layout_engine=ImageFont.Layout.RAQM)

    def draw(text, **options):
        picture = Image.new("L", (40 * (len(text) + 4), 80))
        ImageDraw.Draw(picture).text((40, 40), text, 255, font, "ls", **options)
        return np.asarray(picture.crop(picture.getbbox()))

    return draw


def ink(rendered):
    """The drawn columns and rows of a strip, as coverage."""
    coverage = 255 - rendered.pixels[:, :-16]
    rows, columns = (np.flatnonzero(coverage.any(axis=axis)) for axis in (1, 0))
    return coverage[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def ink_parts(rendered):
    """Pieces of a line's ink with at least two empty columns between them, from left to right."""
    coverage = 255 - rendered.pixels[:, :-16]
    inked = np.flatnonzero(coverage.any(axis=0))
    parts = np.split(inked, np.flatnonzero(np.diff(inked) > 2) + 1)
    return [coverage[:, part[0] : part[-1] + 1] for part in parts]


def assert_same(one, other):
    assert tuple(one[1:]) == tuple(other[1:])
    np.testing.assert_array_equal(one.pixels, other.pixels)


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


# Fonts


def test_a_run_is_drawn_with_the_first_font_that_has_it(shaped, latin, chinese):
    first, second = pillow(fonts=[latin]), pillow(fonts=[chinese])
    parts = [ink(renderer(text)) for renderer, text in ((first, "plain"), (second, "语"), (first, "हिन्दी"))]
    both = ink_parts(shaped("plain    语    हिन्दी"))
    assert len(both) >= 3
    for part, found in ((parts[0], both[:-2]), (parts[1], both[-2:-1]), (parts[2], both[-1:])):
        assert sum(piece.sum() for piece in found) == part.sum()


def test_marks_and_joiners_stay_with_their_base():
    fonts = {"e": 0, "क": 1, "👩": 2}
    text = "e\u0301\u0323क\u094d\u200d👩\u200d🔬\ufe0fe"
    units = list(split_units(text, lambda cluster: fonts[cluster[0]]))
    assert [unit.text for unit in units] == ["e\u0301\u0323", "क\u094d\u200d", "👩\u200d🔬\ufe0f", "e"]
    assert "".join(unit.text for unit in units) == text


def test_what_no_font_has_is_the_first_fonts_sign(shaped, latin):
    first = pillow(fonts=[latin])
    for text in ("\U00010348", "\u0378", "\ue000", "\x07", "\x00"):
        assert_same(shaped(text), first(text))
        assert ink(shaped(text)).size


def test_an_emoji_has_its_colours_in_rgb(latin, colour_font):
    chain = pillow(fonts=[latin, colour_font], render_mode="rgb")
    pixels = chain("a😀b").pixels
    assert pixels.shape[2] == 3
    coloured = pixels[..., 0] != pixels[..., 2]
    reds, blues = (pixels[coloured] == colour for colour in ([255, 0, 0], [0, 0, 255]))
    assert reds.all(axis=1).sum() > 20, "the red half"
    assert blues.all(axis=1).sum() > 20, "the blue half"
    assert not (chain("ab").pixels[..., 0] != chain("ab").pixels[..., 2]).any()


def test_an_emoji_is_its_luminance_in_gray(latin, colour_font):
    rgb = pillow(fonts=[latin, colour_font], render_mode="rgb")("a😀b").pixels
    gray = pillow(fonts=[latin, colour_font])("a😀b").pixels
    np.testing.assert_array_equal(gray, np.asarray(Image.fromarray(rgb).convert("L")))
    binary = pillow(fonts=[latin, colour_font], render_mode="binary")("a😀b").pixels
    np.testing.assert_array_equal(binary, np.where(gray > 127, 255, 0))


def test_a_style_that_is_asked_for_chooses_the_font(colour_font, latin):
    chain = pillow(fonts=[latin, colour_font], render_mode="rgb")

    def has_colour(text):
        pixels = chain(text).pixels.astype(int)
        return bool((pixels[..., 0] != pixels[..., 2]).any())

    assert not has_colour("❤")
    assert has_colour("❤\ufe0f")
    assert not has_colour("❤\ufe0e")


# Layout


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
        # Nothing of a word is outside of its columns, nothing of its neighbours within.
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


@settings(max_examples=120, deadline=None)
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
    assert_same(rendered, pillow_again(text))


def pillow_again(text, renderers=[]):  # noqa: B006
    """Drawn by another renderer, which has seen other texts."""
    if not renderers:
        renderers.append(pillow())
    return renderers[0](text)


@settings(max_examples=60, deadline=None)
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


# Fonts and libraries that will not do


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"Dear reader", r"Font\.ttf: cannot draw with this font"),
        (b"", r"Font\.ttf: cannot draw with this font"),
        (slice(0, 1_000_000), r"Font\.ttf: this font file is cut short"),
    ],
)
def test_files_that_are_no_fonts_are_refused(tmp_path, latin, content, message):
    path = tmp_path / "Font.ttf"
    path.write_bytes(content if isinstance(content, bytes) else latin.read_bytes()[content])
    with pytest.raises(UserError, match=message):
        pillow(fonts=[path])


def test_a_font_with_broken_glyphs_is_refused(tmp_path, latin):
    data = bytearray(latin.read_bytes())
    data[300_000:4_000_000] = b"\x7f" * 3_700_000  # within its outlines
    path = tmp_path / "Broken.ttf"
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"Broken\.ttf: cannot draw"):
        pillow(fonts=[path])("any text: 1234")


def test_without_raqm_the_backend_says_what_to_install(monkeypatch):
    monkeypatch.setattr(pillow_fonts.features, "check", lambda name: False)
    with pytest.raises(UserError, match=r"libfribidi0.*--renderer-backend pygame"):
        pillow()


def test_the_backend_is_recorded_and_counts_as_a_difference(tmp_path):
    config = RendererConfig(backend="pillow", render_mode="rgb")
    config.to_json(tmp_path / "config.json")
    read = RendererConfig.from_json(tmp_path / "config.json")
    assert read == config
    assert read.differences(RendererConfig()) == ["render_mode: rgb against gray", "backend: pillow against pygame"]


def test_a_small_font_file_works_as_the_only_one():
    assert ink(pillow(fonts=[font_path("SourceSans3-It.ttf")])("fine")).size
    assert len(default_fonts()) == 2
