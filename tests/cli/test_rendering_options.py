"""How examples are to look: explicit options before --like, that before the data folder; one line on what differs."""

import argparse
from types import SimpleNamespace

import pytest
from skips import needs_raqm

from pixelgpt_fairseq.checkpoints.loading import Checkpoint
from pixelgpt_fairseq.cli import example_splits
from pixelgpt_fairseq.cli.example_options import add_rendering_options
from pixelgpt_fairseq.cli.example_splits import choose_rendering
from pixelgpt_fairseq.data.data_folder import RENDERER_FILE, DataFolder
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.rendering import RendererConfig, TextRenderer, default_fonts, pygame_raster

TRAINED = RendererConfig(font_size=7, max_patches=300)


@pytest.fixture(params=["checkpoint", "data folder"])
def like(request, tmp_path, monkeypatch):
    """Path of something that was made with the settings TRAINED."""
    path = tmp_path / "like"
    if request.param == "data folder":
        path.mkdir()
        TRAINED.to_json(path / RENDERER_FILE)
    else:
        path.touch()
        model = SimpleNamespace(data_settings={"renderer": TRAINED.to_dict()})
        monkeypatch.setattr(example_splits, "load_checkpoint", lambda path: Checkpoint(path, model, None, False))
    return path


@pytest.fixture
def look(like, tmp_path):
    """Gives the settings that come of command-line options."""

    def chosen(*options):
        parser = argparse.ArgumentParser()
        add_rendering_options(parser)
        args = parser.parse_args(["--like", str(like), *options])
        return choose_rendering(args, DataFolder(tmp_path / "data"))[0]

    return chosen


def test_without_options_the_look_is_that_of_like(look, caplog):
    assert look() == RendererConfig(font_size=7, max_patches=768)
    assert not caplog.messages


def test_options_come_before_like_and_one_line_says_what_differs(look, like, caplog):
    options = ("--renderer-backend", "pillow", "--font-size", "8", "--font", "KurintoSansSC-Rg.ttf")
    for _ in range(3):  # as for several splits
        config = look(*options)
    assert (config.backend, config.font_size, config.max_patches) == ("pillow", 8, 768)
    assert [font.name for font in config.fonts] == ["KurintoSansSC-Rg.ttf"]
    (message,) = set(caplog.messages)
    assert len(caplog.messages) == 1
    assert message.startswith(f"the look is not that of {like}: font 1: KurintoSansSC-Rg.ttf")
    assert message.endswith("font_size: 8 against 7; backend: pillow against pygame")
    assert "\n" not in message


@needs_raqm
def test_the_backend_that_is_given_is_the_one_that_opens_the_fonts(look, monkeypatch):
    def refuse(*args):
        raise UserError("colors need --renderer-backend pillow")

    monkeypatch.setattr(pygame_raster.GlyphAtlas, "__init__", refuse)
    TextRenderer(look("--renderer-backend", "pillow"))
    with pytest.raises(UserError, match="colors need"):
        TextRenderer(look("--render-mode", "rgb"))


def test_another_checkpoint_at_the_same_path_is_read_again(look, like, monkeypatch):
    assert look().font_size == 7
    if like.is_dir():
        RendererConfig(font_size=9).to_json(like / RENDERER_FILE)
    else:
        model = SimpleNamespace(data_settings={"renderer": RendererConfig(font_size=9).to_dict()})
        monkeypatch.setattr(example_splits, "load_checkpoint", lambda path: Checkpoint(path, model, None, False))
        like.unlink()
        like.touch()
    assert look().font_size == 9


def test_fonts_beside_the_settings_of_a_data_folder_are_found(tmp_path):
    font = tmp_path / "elsewhere.ttf"
    font.write_bytes(default_fonts()[1].path.read_bytes())
    (tmp_path / "data").mkdir()
    RendererConfig(fonts=[font]).to_json(tmp_path / "data" / RENDERER_FILE)
    font = font.rename(tmp_path / "data" / font.name)
    config = example_splits.rendering_of_folder(tmp_path / "data", {"font_size": 9})
    assert config.fonts[0].path == font
