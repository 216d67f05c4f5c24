"""Lines equal those that pygame draws, pixel for pixel."""

import dataclasses
import pickle
import random
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pydoc_data.topics import topics

import numpy as np
import pygame.surfarray
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pygame_reference import Reference, font_path

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.rendering import RendererConfig, TextRenderer, default_fonts

ENGLISH = " ".join(" ".join(topics.values()).split())

# Of the scripts of the fifteen XNLI languages, and some that combine.
SCRIPTS = {
    "latin": "AVAWA To fi ffl The naïve café – “quoted”… 1,234.56 (78%) ÅẞŃ gypqj_|",
    "marks": "e\u0301 o\u0308\u0323 a\u0301\u0302\u0303 \u0301start n\u0303\u0303\u0303\u0303 x\u20dd",
    "vietnamese": "Tiếng Việt có nhiều dấu thanh điệu, ấy ữ ặ ỗ",
    "greek and cyrillic": "Η γλώσσα είναι εικόνα. Съешь ещё этих мягких булок",
    "arabic": "اللغة العربية جميلة جدا، یہ اردو زبان کا جملہ ہے بِسْمِ ٱللَّهِ",
    "thai": "ภาษาไทยมีวรรณยุกต์ ที่นี่ น้ำ ก็",
    "hindi": "हिन्दी भाषा की लिपि देवनागरी है। क्षत्रिय",
    "chinese": "语言可以被看作图像。“你好”，世界！",
    "no width": "zero\u200bwidth \u200e\u202eleft\u202c \ufeff soft\u00adhyphen \u2060",
    "blanks": "  a\u00a0b\u2003c \t tab\tbed\nline\r\n\x00\x01\x7f\x85 ",
    "not in the font": "😀 \U00010348 \ue000 \u0378 한국어 \U0010ffff",
}


def assert_same(renderer, reference, text):
    pixels, patches, separators, starts = reference(text)
    rendered = renderer(text)
    assert tuple(rendered[1:]) == (patches, separators, starts), repr(text)
    np.testing.assert_array_equal(rendered.pixels, pixels, err_msg=repr(text))


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("name", ["KurintoSans-Rg.ttf", "KurintoSansSC-Rg.ttf", "SourceSans3-It.ttf"])
def test_every_script_is_drawn_as_pygame_does(both, script, name):
    renderer, reference = both(font_path(name))
    text = SCRIPTS[script]
    assert_same(renderer, reference, text)
    for end in range(len(text)):
        assert_same(renderer, reference, text[:end])
        assert_same(renderer, reference, text[end:])
    assert_same(renderer, reference, (text, SCRIPTS["latin"]))
    assert_same(renderer, reference, text.split(" "))


@pytest.mark.parametrize(("size", "dpi"), [(8, 72), (7.5, 110), (10, 120), (13, 96), (24, 150), (60, 100)])
@pytest.mark.parametrize("name", ["KurintoSans-Bd.ttf", "SourceCodePro-LightIt.ttf"])
def test_every_size_is_drawn_as_pygame_does(both, name, size, dpi):
    renderer, reference = both(font_path(name), font_size=size, dpi=dpi)
    for text in SCRIPTS.values():
        assert_same(renderer, reference, text)
        assert_same(renderer, reference, text.split())


@pytest.mark.parametrize(("background", "color"), [("black", "white"), ("#f0e0d0", "#102030"), ("#808080", "red")])
def test_colors_blend_as_pygame_blends_them(both, latin, background, color):
    renderer, reference = both(latin, background_color=background, font_color=color)
    for text in SCRIPTS.values():
        pixels, ours = reference(text)[0].astype(int), renderer(text).pixels.astype(int)
        assert abs(pixels - ours).max() <= 1  # luminance is rounded


@pytest.mark.parametrize(
    ("background", "color"), [("white", "black"), ("black", "white"), ("#f0e0d0", "#102030"), ("#808080", "red")]
)
def test_colors_are_those_of_pygame_in_rgb(both, latin, background, color):
    renderer, reference = both(latin, background_color=background, font_color=color)
    rgb = TextRenderer(dataclasses.replace(renderer.config, render_mode="rgb"))
    for text in SCRIPTS.values():
        for layout in (text, (text, "pair"), text.split()):
            reference(layout)
            np.testing.assert_array_equal(rgb(layout).pixels, reference.rgb)
            assert rgb(layout)[1:] == renderer(layout)[1:]


def test_gray_and_binary_are_made_of_the_colors(latin):
    look = {"fonts": [latin], "font_color": "#c02040", "background_color": "#d0e0ff"}
    rgb, gray, binary = (
        TextRenderer(RendererConfig(render_mode=mode, **look))("Colors, gray, or binary").pixels
        for mode in ("rgb", "gray", "binary")
    )
    np.testing.assert_array_equal(gray, np.asarray(Image.fromarray(rgb).convert("L")))
    np.testing.assert_array_equal(binary, np.where(gray > 127, 255, 0))
    assert len(np.unique(gray)) > 10


def test_patches_of_colors_have_their_channels_last(latin):
    rendered = TextRenderer(RendererConfig(fonts=[latin], render_mode="rgb", font_color="red"))("patches")
    patches = rendered.patches()
    assert patches.shape == (rendered.num_text_patches + 1, 768)
    np.testing.assert_array_equal(patches[1].reshape(16, 16, 3), rendered.pixels[:, 16:32])


def test_running_text_is_drawn_as_pygame_does(both, latin):
    renderer, reference = both(latin)
    for start in range(0, 200_000, 1_000):
        assert_same(renderer, reference, ENGLISH[start : start + 250])


def test_lines_of_several_thousand_characters_are_drawn_as_pygame_does(latin):
    for max_patches, start in ((1024, 0), (64, 40_000), (1024, 80_000)):
        renderer = TextRenderer(RendererConfig(fonts=[latin], max_patches=max_patches))
        for tall in ("", "Ấ", "j\u0323", "  "):
            # A new Font each time: pygame's slow down after a long line.
            assert_same(renderer, Reference(latin, max_patches=max_patches), ENGLISH[start : start + 6_000] + tall)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.text(
    st.sampled_from("ab jJfWV_'\"|,\u0301\u0323\u200b\t क्ि้ำ語ﷺ\u20dd"), max_size=40
)


@pytest.fixture(scope="module")
def many():
    paths = [default_fonts()[0].path, font_path("KurintoSansKR-Rg.ttf"), font_path("SourceSans3-BoldIt.ttf")]
    return [(TextRenderer(RendererConfig(fonts=[path])), Reference(path)) for path in paths]


@settings(max_examples=150, deadline=None)
@given(text=TEXTS | st.tuples(TEXTS, TEXTS) | st.lists(TEXTS, min_size=1, max_size=6))
def test_any_string_is_drawn_as_pygame_does(many, text):
    for renderer, reference in many:
        assert_same(renderer, reference, text)


def test_a_character_comes_from_the_first_font_that_has_it(latin, chinese):
    chain = TextRenderer(RendererConfig(fonts=[latin, chinese]))
    assert_same(chain, Reference(latin), "plain and हिन्दी")
    assert_same(chain, Reference(chinese), "语言可以被看作图像")
    # None has it: the first font's sign for that.
    assert_same(chain, Reference(latin), "\U00010348 \u0378")


def test_fonts_of_a_chain_share_pen_and_baseline(latin, chinese):
    parts = [("The word ", latin), ("语言", chinese), (" means `language’, ", latin), ("看", chinese), ("?", latin)]
    chain = TextRenderer(RendererConfig(fonts=[latin, chinese]))
    text = "".join(part for part, _ in parts)
    pens, position, drawn = chain.pen_positions(text), 0, []
    for part, font in parts:
        surface, box = Reference(font).font.render(part, "black")
        drawn.append((surface, box, pens[position] + box.x))
        position += len(part)
    top, bottom = max(box.y for _, box, _ in drawn), min(box.y - box.height for _, box, _ in drawn)
    expected = np.full((16, chain(text).pixels.shape[1]), 255, dtype=np.uint8)
    for surface, box, column in drawn:
        row = 8 - (top - bottom) // 2 + top - box.y
        there = expected[row : row + box.height, 2 + column : 2 + column + box.width]
        there[:] = np.minimum(there, 255 - pygame.surfarray.array_alpha(surface).T)
    expected[:, -16:] = 0
    np.testing.assert_array_equal(chain(text).pixels, expected)


def test_a_line_beyond_pygames_limit_is_right(renderer):
    # pygame takes the width of 20,000 x's modulo 131,072 pixels.
    rendered = renderer("x" * 20_000)
    assert rendered.num_text_patches == 1023
    np.testing.assert_array_equal(rendered.pixels, renderer("x" * 5_000).pixels)


def test_a_character_far_beyond_the_strip_still_moves_the_row(renderer):
    low, high = renderer("x" * 100_000), renderer("x" * 100_000 + "Ấ")
    assert (low.pixels != high.pixels).any()
    np.testing.assert_array_equal(high.pixels, renderer("x" * 5_000 + "Ấ").pixels)


def test_a_line_of_ten_megabytes_costs_little(renderer, measured):
    text = (ENGLISH * 30)[:10_000_000]
    expected = renderer(text[:6_000] + "".join(sorted(set(text)))).pixels
    with measured() as cost:
        rendered = renderer(text)
    np.testing.assert_array_equal(rendered.pixels, expected)
    assert cost.seconds < 5
    assert cost.megabytes < 100


def test_glyphs_are_forgotten_when_there_are_too_many(monkeypatch, both, latin):
    monkeypatch.setattr("pixelgpt_fairseq.rendering.glyphs._MAX_GLYPHS", 50)
    renderer, reference = both(latin)
    rng = random.Random(0)
    for _ in range(100):
        assert_same(renderer, reference, "".join(chr(rng.randrange(0x20, 0x500)) for _ in range(30)))


def test_surrogate_pairs_are_joined_as_pygame_joins_them(both, latin):
    assert_same(*both(latin), "a\ud83d\ude00b")


@pytest.mark.parametrize("text", ["\ud800", "a\udc00b", "\ude00\ud83d"])
def test_lone_surrogates_are_refused(renderer, text):
    with pytest.raises(UserError, match="surrogate"):
        renderer(text)
    with pytest.raises(UserError, match="surrogate"):
        renderer.pen_positions(text)


def render(renderer, text):
    return renderer(text).pixels


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_renderers_work_in_other_processes(renderer, method):
    expected = renderer("before").pixels
    with ProcessPoolExecutor(2, mp_context=get_context(method)) as pool:
        texts = ["before"] * 4 + [text[i:] for i in range(3) for text in SCRIPTS.values()]
        for text, pixels in zip(texts, pool.map(render, [renderer] * len(texts), texts), strict=True):
            np.testing.assert_array_equal(pixels, renderer(text).pixels)
    np.testing.assert_array_equal(renderer("before").pixels, expected)


def test_a_pickled_renderer_is_small_and_draws_the_same(renderer):
    renderer(ENGLISH[:1_000])
    pickled = pickle.dumps(renderer)
    assert len(pickled) < 2_000
    np.testing.assert_array_equal(pickle.loads(pickled)("same").pixels, renderer("same").pixels)


def test_pygame_is_quiet_and_without_a_window():
    code = (
        "from pixelgpt_fairseq.rendering import TextRenderer; import sys; "
        "assert 'pygame' not in sys.modules; TextRenderer()('x'); "
        "import pygame; assert not pygame.display.get_init()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pygame" not in done.stdout + done.stderr
