"""Fonts named by their file's name alone."""

import subprocess
from types import SimpleNamespace

import pytest

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.rendering import FontFile, RendererConfig, default_fonts, installed_fonts


@pytest.fixture
def system(tmp_path, monkeypatch):
    """A folder of fonts of the system, which fc-list knows or not: gives a function that puts it in place."""
    folder = tmp_path / "system" / "noto"
    folder.mkdir(parents=True)
    (folder / "NotoColorEmoji.ttf").write_bytes(b"a font")
    monkeypatch.setattr(installed_fonts, "_FOLDERS", [str(tmp_path / "none")])
    monkeypatch.chdir(tmp_path)

    def place(by_fc_list):
        installed_fonts._fc_list.cache_clear()
        if not by_fc_list:
            monkeypatch.setattr(installed_fonts, "_FOLDERS", [str(tmp_path / "none"), str(tmp_path / "system")])

        def run(command, **options):
            assert command[0] == "fc-list"
            if not by_fc_list:
                raise FileNotFoundError
            return SimpleNamespace(stdout=f"{folder}/Other.ttf\n{folder}/NotoColorEmoji.ttf\n".encode())

        monkeypatch.setattr(subprocess, "run", run)
        return folder

    yield place
    installed_fonts._fc_list.cache_clear()


@pytest.mark.parametrize("name", ["KurintoSans-Rg.ttf", "SourceSans3-It.ttf"])
def test_fonts_of_the_package_are_found_by_name(name):
    (font,) = RendererConfig(fonts=[name]).fonts
    assert font.name == name
    assert font.path.is_file()
    assert RendererConfig(fonts=name).fonts == (font,)


@pytest.mark.parametrize("by_fc_list", [True, False])
def test_fonts_of_the_system_are_found_by_name(system, by_fc_list):
    folder = system(by_fc_list)
    assert FontFile.from_path("NotoColorEmoji.ttf").path == folder / "NotoColorEmoji.ttf"


def test_a_file_in_this_folder_comes_first(system, tmp_path):
    system(True)
    (tmp_path / "NotoColorEmoji.ttf").write_bytes(b"my own")
    assert FontFile.from_path("NotoColorEmoji.ttf").path == tmp_path / "NotoColorEmoji.ttf"


@pytest.mark.parametrize("by_fc_list", [True, False])
def test_a_name_that_is_nowhere_lists_what_was_searched(system, tmp_path, by_fc_list):
    system(by_fc_list)
    with pytest.raises(UserError) as error:
        FontFile.from_path("Absent[1]*.ttf")
    place = "the fonts that fc-list knows" if by_fc_list else str(tmp_path / "system")
    assert str(error.value) == (
        f"Absent[1]*.ttf: no such font file: searched this folder ({tmp_path}), the package weblate-fonts, {place}: "
        "pass its path"
    )


def test_a_path_is_not_searched_for(system, tmp_path):
    system(True)
    for path in (tmp_path / "NotoColorEmoji.ttf", "./NotoColorEmoji.ttf", "fonts/KurintoSans-Rg.ttf"):
        with pytest.raises(UserError, match=r"\.ttf: no such font file$"):
            FontFile.from_path(path)


def test_a_recorded_font_is_found_among_those_of_the_system(system, tmp_path):
    folder = system(True)
    recorded = FontFile.from_path(folder / "NotoColorEmoji.ttf")
    elsewhere = FontFile(recorded.name, recorded.sha256, tmp_path / "gone" / recorded.name)
    assert elsewhere.located().path == folder / "NotoColorEmoji.ttf"
    assert default_fonts()[0].located() == default_fonts()[0]
