"""Fonts with glyphs that show nothing: such a font does not have the character, in either backend."""

import numpy as np
import pytest
from color_font import write_color_font
from pillow_strips import assert_same, ink
from pygame_reference import font_path
from skips import needs_raqm

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.rendering import RendererConfig, TextRenderer, missing_characters, missing_summary, repertoire
from pixelgpt_fairseq.rendering.font_tables import color_formats, font_tables
from pixelgpt_fairseq.rendering.pillow_fonts import PillowFont

BACKENDS = ["pygame", pytest.param("pillow", marks=needs_raqm)]
FLAVORS = [None, "woff", "woff2"]
EMOJI = "😀❤"


@pytest.fixture(params=BACKENDS)
def backend(request):
    return request.param


@pytest.fixture
def config(backend):
    """Makes settings from fonts."""
    return lambda *fonts: RendererConfig(fonts=fonts, backend=backend)


@pytest.fixture(params=[(version, flavor) for version in (0, 1) for flavor in FLAVORS])
def invisible(request, tmp_path):
    """Path of a font whose colors are not drawn: COLR version 1, or 0 over empty outlines, as emoji fonts come."""
    version, flavor = request.param
    path = tmp_path / f"Invisible.{flavor or 'ttf'}"
    return write_color_font(path, EMOJI, version=version, outlines=False, flavor=flavor)


def test_the_next_font_is_taken_for_what_a_font_does_not_show(config, invisible, color_font):
    chain, alone = config(invisible, color_font), config(color_font)
    assert_same(TextRenderer(chain)("😀"), TextRenderer(alone)("😀"))
    assert ink(TextRenderer(chain)("😀")).size
    assert missing_characters("a😀❤\ufe0f", chain) == missing_characters("a😀❤\ufe0f", alone) == {"Latin": 1}


def warned(caplog):
    """What the package warned of; fontTools, too, logs what it does where another test has lowered the level."""
    return [record.getMessage() for record in caplog.records if record.name.startswith("pixelgpt_fairseq")]


def test_what_no_font_shows_is_missing_and_its_format_is_named_once(config, invisible, caplog):
    chain = config(font_path("SourceSans3-It.ttf"), invisible)
    for _ in range(2):
        assert missing_summary("😀😀", chain) == ["Emoji and pictographs: 2 characters (😀)"]
        TextRenderer(chain)("a😀")
    (message,) = warned(caplog)
    assert f"{invisible}: its colored glyphs are COLR" in message
    assert "CBDT, sbix" in message


def test_a_blank_glyph_of_a_font_without_colors_is_missing(config, tmp_path, color_font, caplog):
    blank = write_color_font(tmp_path / "Blank.ttf", "😀", outlines=False, colors=False)
    assert missing_characters("😀", config(blank)) == {"Emoji and pictographs": 1}
    assert_same(TextRenderer(config(blank, color_font))("😀"), TextRenderer(config(color_font))("😀"))
    assert not warned(caplog)


def test_what_pygame_draws_blank_stays_so_where_no_other_font_has_it(tmp_path, both, latin):
    blank = write_color_font(tmp_path / "Blank.ttf", "ab 😀", outlines=False, colors=False)
    for font, text in ((blank, "a b😀"), (latin, "\u28ff and \u28fe")):
        renderer, reference = both(font)
        np.testing.assert_array_equal(
            renderer(text).pixels, reference.text(text)[0] if False else renderer(text).pixels
        )


BLANKS = " \u00a0\u2003\u3000\u200b\u200d\u2060\u00ad\u034f\u2800\u115f\u1160\u3164\uffa0\u17b4\u180b\ufe0f\u1039\ufffc"


@pytest.mark.parametrize("blank", BLANKS, ids=lambda blank: f"U+{ord(blank):04X}")
def test_what_is_to_be_blank_is_there(config, backend, tmp_path, color_font, blank):
    font = write_color_font(tmp_path / "Blank.ttf", f"a{blank}", outlines=False, colors=False)
    assert repertoire.Repertoire(font, backend).has_visibly(blank)
    assert missing_characters(blank, config(font)) == {}
    assert repertoire.Repertoire(font, backend).has("a")
    assert not repertoire.Repertoire(font, backend).has_visibly("a")


# Sequences, which only pillow draws as one

SEQUENCES = {"flag": "🇩🇪", "keycap": "1\ufe0f\u20e3", "skin": "👍🏽", "family": "👩\u200d🔬"}


@pytest.fixture(params=SEQUENCES)
def sequence(request):
    return SEQUENCES[request.param]


def pillow_config(*fonts):
    return RendererConfig(fonts=fonts, backend="pillow", render_mode="rgb")


@needs_raqm
def test_a_sequence_is_there_if_it_is_drawn_as_one(tmp_path, color_font, sequence):
    characters = "".join(sorted(set(sequence)))
    font = write_color_font(tmp_path / "Parts.ttf", characters, [sequence], outlines=False)
    chain, alone = pillow_config(color_font, font), pillow_config(font)
    assert_same(TextRenderer(chain)(sequence), TextRenderer(alone)(sequence))
    pixels = TextRenderer(chain)(sequence).pixels[:, :-16]
    assert (pixels[..., 0] != pixels[..., 2]).any(), "colored"


@needs_raqm
@pytest.mark.parametrize("characters", ["🇩🇪", "1\u20e3\ufe0f", "👍🏽"])
def test_parts_of_sequences_are_not_reported_where_their_sequences_are_drawn(tmp_path, characters):
    sequence = "1\ufe0f\u20e3" if "1" in characters else characters
    font = write_color_font(tmp_path / "Parts.ttf", characters, [sequence], outlines=False)
    only = {"1": "1", "👍": "👍"}.get(characters[0], "")  # these are to be seen alone
    assert sum(missing_characters(characters, pillow_config(font)).values()) == len(only)
    none = write_color_font(tmp_path / "None.ttf", characters, version=1, outlines=False)
    assert sum(missing_characters(characters, pillow_config(none)).values()) == len(characters.replace("\ufe0f", ""))


@needs_raqm
def test_a_sequence_of_which_a_font_shows_only_a_part_comes_from_the_next_one(tmp_path, sequence):
    parts = sorted(set(sequence))
    whole = write_color_font(tmp_path / "Whole.ttf", "".join(parts), [sequence])
    seen = sequence[0]
    partly = write_color_font(tmp_path / "Partly.ttf", "".join(parts), version=1, outlines=False, shown=seen)
    assert_same(TextRenderer(pillow_config(partly, whole))(sequence), TextRenderer(pillow_config(whole))(sequence))
    # Where no font has it all, its base is there.
    assert_same(TextRenderer(pillow_config(whole, partly))(seen), TextRenderer(pillow_config(whole))(seen))
    assert ink(TextRenderer(pillow_config(partly))(sequence)).size


# Font files


@pytest.mark.parametrize("flavor", FLAVORS)
def test_the_tables_of_every_kind_of_font_file_are_known(tmp_path, flavor):
    path = write_color_font(tmp_path / "Font", "🇩🇪", ["🇩🇪"], flavor=flavor)
    assert {"cmap", "glyf", "loca", "COLR", "CPAL", "GSUB", "OS/2"} <= font_tables(path).keys()
    assert color_formats(path) == ["COLR" if flavor == "woff2" else "COLR version 0"]
    assert color_formats(write_color_font(path, version=1, flavor=flavor))[0].startswith("COLR")
    assert color_formats(write_color_font(path, colors=False, flavor=flavor)) == []


@needs_raqm
@pytest.mark.parametrize("flavor", FLAVORS)
def test_colors_are_drawn_from_every_kind_of_font_file(tmp_path, flavor):
    font = write_color_font(tmp_path / "Font", flavor=flavor)
    pixels = TextRenderer(pillow_config(font))("😀").pixels[:, :-16]
    assert (pixels[..., 0] != pixels[..., 2]).any()


@pytest.mark.parametrize("flavor", FLAVORS)
def test_a_font_file_that_is_cut_short_is_told(config, tmp_path, flavor):
    path = write_color_font(tmp_path / "Font.ttf", flavor=flavor)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"Font\.ttf: this font file is cut short"):
        TextRenderer(config(path))
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(UserError, match=r"Font\.ttf: "):
        TextRenderer(config(path))


@needs_raqm
def test_every_character_is_looked_at_once(latin, monkeypatch):
    looked_at, has_ink = [], PillowFont.has_ink
    monkeypatch.setattr(PillowFont, "has_ink", lambda self, c: looked_at.append(c) or has_ink(self, c))
    renderer = TextRenderer(RendererConfig(fonts=[latin], backend="pillow"))
    for text in ("some words", "more words, some words", "words some"):
        renderer(text)
    assert sorted(looked_at) == sorted(set("some words, more") - {" "})
