"""The pillow backend: fallback fonts, colors; fonts and libraries that will not do."""

import numpy as np
import pytest
from PIL import Image
from pillow_strips import assert_same, ink, ink_parts, pillow
from pygame_reference import font_path
from skips import needs_raqm

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.rendering import RendererConfig, default_fonts, pillow_fonts
from pixelgpt_fairseq.rendering.font_tables import font_tables
from pixelgpt_fairseq.rendering.units import split_units

pytestmark = needs_raqm


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


def test_an_emoji_has_its_colors_in_rgb(latin, color_font):
    chain = pillow(fonts=[latin, color_font], render_mode="rgb")
    pixels = chain("a😀b").pixels
    assert pixels.shape[2] == 3
    colored = pixels[..., 0] != pixels[..., 2]
    reds, blues = (pixels[colored] == color for color in ([255, 0, 0], [0, 0, 255]))
    assert reds.all(axis=1).sum() > 20, "the red half"
    assert blues.all(axis=1).sum() > 20, "the blue half"
    assert not (chain("ab").pixels[..., 0] != chain("ab").pixels[..., 2]).any()


def test_an_emoji_is_its_luminance_in_gray(latin, color_font):
    rgb = pillow(fonts=[latin, color_font], render_mode="rgb")("a😀b").pixels
    gray = pillow(fonts=[latin, color_font])("a😀b").pixels
    np.testing.assert_array_equal(gray, np.asarray(Image.fromarray(rgb).convert("L")))
    binary = pillow(fonts=[latin, color_font], render_mode="binary")("a😀b").pixels
    np.testing.assert_array_equal(binary, np.where(gray > 127, 255, 0))


def test_a_style_that_is_asked_for_chooses_the_font(color_font, latin):
    chain = pillow(fonts=[latin, color_font], render_mode="rgb")

    def has_color(text):
        pixels = chain(text).pixels.astype(int)
        return bool((pixels[..., 0] != pixels[..., 2]).any())

    assert not has_color("❤")
    assert has_color("❤\ufe0f")
    assert not has_color("❤\ufe0e")


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


def test_a_font_with_glyphs_of_absurd_size_is_refused(tmp_path, latin, measured):
    data = bytearray(latin.read_bytes())
    units_per_em = font_tables(latin)["head"][0] + 18
    data[units_per_em : units_per_em + 2] = (16).to_bytes(2, "big")
    path = tmp_path / "Huge.ttf"
    path.write_bytes(data)
    with measured() as cost, pytest.raises(UserError, match=r"Huge\.ttf: cannot draw .* pixels"):
        pillow(fonts=[path])("W" * 100)
    assert cost.megabytes < 200


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
