"""Settings, the file that records them, fonts and what they lack."""

import collections
import json
import shutil

import pytest
from pygame_reference import font_path

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.rendering import (
    FontFile,
    RendererConfig,
    TextRenderer,
    installed_fonts,
    missing_characters,
    missing_summary,
)
from pixelgpt_fairseq.rendering.coverage import script_name

RELEASED = {
    "background_color": "white",
    "dpi": 120,
    "font_color": "black",
    "font_file": "GoNotoCurrent.ttf",
    "font_size": 8,
    "max_seq_length": 529,
    "pad_size": 3,
    "pixels_per_patch": 16,
    "text_renderer_type": "TextRenderer",
}


@pytest.fixture
def font_copy(tmp_path, latin):
    """A font that lies nowhere else."""
    folder = tmp_path / "fonts"
    folder.mkdir()
    return shutil.copy(latin, folder / "Copy.ttf")


def write(path, values):
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


def test_the_default_chain_is_used_where_no_font_is_named():
    config = RendererConfig()
    assert [font.name for font in config.fonts] == ["KurintoSans-Rg.ttf", "KurintoSansSC-Rg.ttf"]
    assert all(len(font.sha256) == 64 for font in config.fonts)


def test_settings_survive_the_file_and_plain_dictionaries(tmp_path, latin, chinese):
    config = RendererConfig(fonts=[chinese, latin], font_size=9.5, dpi=96, max_patches=77, background_color="#ffffee")
    config.to_json(tmp_path / "text_renderer_config.json")
    read = RendererConfig.from_json(tmp_path / "text_renderer_config.json")
    assert read == config
    assert [font.path for font in read.fonts] == [chinese, latin]
    assert RendererConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert [path.name for path in tmp_path.iterdir()] == ["text_renderer_config.json"]


def test_the_file_has_the_released_names(tmp_path):
    RendererConfig().to_json(tmp_path / "config.json")
    written = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    expected = RELEASED | {"font_file": "KurintoSans-Rg.ttf", "max_seq_length": 1024}
    assert {name: written[name] for name in RELEASED} == expected
    assert set(written) - set(RELEASED) == {"backend", "fonts", "render_mode", "structure"}
    assert set(written["fonts"][0]) == {"name", "sha256", "path"}


def test_a_released_file_finds_its_font_beside_it(tmp_path, latin):
    shutil.copy(latin, tmp_path / "GoNotoCurrent.ttf")
    config = RendererConfig.from_json(write(tmp_path / "config.json", RELEASED))
    assert config.fonts[0].path == tmp_path / "GoNotoCurrent.ttf"
    assert config.max_patches == 529
    TextRenderer(config)("drawn")


def test_a_released_file_finds_its_font_in_weblate_fonts(tmp_path):
    config = RendererConfig.from_json(write(tmp_path / "config.json", RELEASED | {"font_file": "SourceSans3-It.ttf"}))
    assert config.fonts[0] == FontFile.from_path(font_path("SourceSans3-It.ttf"))


def test_a_missing_font_is_named_and_can_be_replaced(tmp_path, latin):
    path = write(tmp_path / "config.json", RELEASED)
    with pytest.raises(UserError, match=r"config\.json: font GoNotoCurrent\.ttf is missing.*--font"):
        RendererConfig.from_json(path)
    assert RendererConfig.from_json(path, fonts=[latin]).fonts[0].path == latin
    assert RendererConfig.from_json(path, locate_fonts=False).fonts[0].name == "GoNotoCurrent.ttf"


def test_a_recorded_font_is_found_when_it_has_moved(tmp_path, font_copy):
    config = RendererConfig(fonts=[font_copy])
    config.to_json(tmp_path / "config.json")
    shutil.move(font_copy, tmp_path / "Copy.ttf")
    assert RendererConfig.from_json(tmp_path / "config.json") == config
    TextRenderer(config.located(near=tmp_path))


def test_a_recorded_font_with_other_contents_is_refused(tmp_path, font_copy, chinese):
    config = RendererConfig(fonts=[font_copy])
    config.to_json(tmp_path / "config.json")
    shutil.copy(chinese, font_copy)
    with pytest.raises(UserError, match=r"Copy\.ttf: not the font that was used.*sha256"):
        RendererConfig.from_json(tmp_path / "config.json")
    with pytest.raises(UserError, match="not the font that was used"):
        TextRenderer(config)


def test_differences_are_told_line_by_line(latin, chinese, font_copy):
    ours = RendererConfig(fonts=[latin, chinese])
    theirs = RendererConfig(fonts=[chinese], font_size=10, max_patches=5)
    lines = ours.differences(theirs)
    assert lines[0].startswith("font 1: KurintoSans-Rg.ttf (sha256 ")
    assert "against KurintoSansSC-Rg.ttf (sha256 " in lines[0]
    assert lines[1].endswith("against none")
    assert lines[2:] == ["font_size: 8 against 10"]
    assert ours.differences(ours) == []


def test_where_a_font_lies_makes_no_difference(tmp_path, latin):
    copy = shutil.copy(latin, tmp_path / latin.name)
    assert RendererConfig(fonts=[latin]).differences(RendererConfig(fonts=[copy])) == []


def test_a_released_font_without_checksum_is_compared_by_name(latin):
    released = RendererConfig.from_dict(RELEASED | {"font_file": latin.name})
    assert released.differences(RendererConfig(fonts=[latin])) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"font_size": 0}, "font_size"),
        ({"font_size": "8"}, "font_size"),
        ({"font_size": float("nan")}, "font_size"),
        ({"dpi": 72.5}, "dpi"),
        ({"max_patches": 1}, "max_patches"),
        ({"max_patches": True}, "max_patches"),
        ({"font_color": "blakc"}, "font_color"),
        ({"background_color": 3}, "background_color"),
        ({"render_mode": "sepia"}, "render_mode"),
        ({"backend": "cairo"}, "backend"),
        ({"fonts": []}, "fonts"),
        ({"fonts": ["/nowhere/Font.ttf"]}, r"/nowhere/Font\.ttf: no such font file"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        RendererConfig(**settings)


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{", '{"fonts": 5}', '{"fonts": [{}]}', "{}", '{"font_file": 7}', "\udcff"],
)
def test_damaged_files_are_refused_by_name(tmp_path, content):
    path = tmp_path / "config.json"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match=r"config\.json: "):
        RendererConfig.from_json(path)


def test_renderers_of_another_kind_are_refused():
    with pytest.raises(UserError, match="PangoCairoTextRenderer"):
        RendererConfig.from_dict(RELEASED | {"text_renderer_type": "PangoCairoTextRenderer"})


def test_absent_and_unwritable_files_are_named(tmp_path):
    with pytest.raises(UserError, match=r"absent\.json: no such file"):
        RendererConfig.from_json(tmp_path / "absent.json")
    with pytest.raises(UserError, match=r"absent/config\.json: cannot write"):
        RendererConfig().to_json(tmp_path / "absent" / "config.json")


def test_a_file_that_is_no_font_is_refused(tmp_path):
    path = tmp_path / "Letter.ttf"
    path.write_text("Dear reader", encoding="utf-8")
    with pytest.raises(UserError, match=r"Letter\.ttf: cannot draw with this font"):
        TextRenderer(RendererConfig(fonts=[path]))


def test_a_font_that_is_cut_short_is_refused(tmp_path, latin):
    path = tmp_path / "Half.ttf"
    path.write_bytes(latin.read_bytes()[: latin.stat().st_size // 2])
    with pytest.raises(UserError, match=r"Half\.ttf: this font file is cut short"):
        TextRenderer(RendererConfig(fonts=[path]))


def test_a_font_with_broken_glyphs_is_refused(tmp_path, latin):
    data = bytearray(latin.read_bytes())
    data[300_000:4_000_000] = b"\x7f" * 3_700_000  # within its outlines
    path = tmp_path / "Broken.ttf"
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"Broken\.ttf: cannot draw"):
        TextRenderer(RendererConfig(fonts=[path]))("any text: 1234")


def test_without_weblate_fonts_a_font_must_be_named(monkeypatch, latin):
    monkeypatch.setattr(
        installed_fonts.importlib.resources, "files", lambda name: (_ for _ in ()).throw(ModuleNotFoundError())
    )
    with pytest.raises(UserError, match="pip install weblate-fonts"):
        RendererConfig()
    TextRenderer(RendererConfig(fonts=[latin]))


def test_missing_characters_are_counted_by_script(latin):
    config = RendererConfig(fonts=[latin])
    text = "English 语言语言 한국 \t\n\u200b\ufe0f😀 \U00010348"
    assert missing_characters(text, config) == {"CJK": 4, "Hangul": 2, "Emoji and pictographs": 1, "Gothic": 1}
    assert missing_characters(collections.Counter(text), config) == missing_characters(text, config)
    assert missing_summary(text, config)[0] == "CJK: 4 characters (语 言)"
    assert missing_summary("语言可以被看作图像", config) == ["CJK: 9 characters (语 言 可 以 被 …)"]


def test_the_chain_lacks_only_what_all_of_its_fonts_lack(latin, chinese):
    text = "English हिन्दी 语言"
    assert missing_characters(text, RendererConfig(fonts=[chinese]))["Devanagari"] == 6
    assert missing_characters(text, RendererConfig(fonts=[latin, chinese])) == {}


@pytest.mark.parametrize(
    ("character", "script"),
    [
        ("क", "Devanagari"),
        ("語", "CJK"),
        ("한", "Hangul"),
        ("ﾊ", "Katakana"),
        ("Ａ", "Latin"),
        ("\u0301", "Combining marks"),
        ("→", "Symbols and punctuation"),
        ("\U000103a0", "Old persian"),
        ("\ue000", "Private use"),
        ("\u0378", "Unassigned"),
        ("\ud800", "Surrogates"),
    ],
)
def test_scripts_have_names(character, script):
    assert script_name(character) == script


@pytest.mark.parametrize(("patch_size", "font_size"), [(8, 4), (16, 8), (32, 16), (12, 6)])
def test_the_font_size_is_in_proportion_to_the_patch_size(patch_size, font_size):
    config = RendererConfig(patch_size=patch_size)
    assert (config.font_size, type(config.font_size)) == (font_size, int)
    assert RendererConfig(patch_size=patch_size, font_size=9).font_size == 9
    larger = RendererConfig(font_size=10)
    assert larger.replaced({"patch_size": patch_size}).font_size == 10 * patch_size / 16
    assert larger.replaced({"patch_size": patch_size, "font_size": 7}).font_size == 7
