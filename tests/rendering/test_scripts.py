"""The commands: what they print and write, and how they fail."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features
from skips import needs_raqm

from pixelgpt_fairseq.rendering import RendererConfig, TextRenderer, default_fonts, pygame_strips

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def run(capsys):
    """Runs a script's main; returns its exit status, standard output and standard error."""

    def main(script, *args):
        try:
            runpy.run_path(str(SCRIPTS / script))["main"]([*map(str, args)])
        except SystemExit as stop:
            # What the interpreter would print of it.
            return 1, capsys.readouterr().out, f"{stop.code}\n"
        return 0, *capsys.readouterr()

    return main


def test_show_render_writes_the_strip(run, tmp_path):
    status, out, err = run(
        "show_render.py", "Hello", "--pair", "world", "--output", tmp_path / "strip.png", "--scale", 1
    )
    assert status == 0, err
    rendered = TextRenderer()(("Hello", "world"))
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "strip.png"))[:, :, 1], rendered.pixels)
    assert f"separators at patches: {', '.join(map(str, rendered.separators))}" in out
    assert [path.name for path in tmp_path.iterdir()] == ["strip.png"]


def test_show_render_enlarges_and_draws_a_grid(run, tmp_path):
    status, out, err = run(
        "show_render.py", "two words", "--words", "--grid", "--scale", 3, "--output", tmp_path / "strip.png"
    )
    assert status == 0, err
    picture = np.asarray(Image.open(tmp_path / "strip.png")).astype(int)
    assert picture.shape[0] == 48
    colored = (picture[0, :, 0] != picture[0, :, 2]).nonzero()[0]
    assert colored.tolist() == list(range(48, picture.shape[1], 48))
    assert "words start at patches: 0, 2" in out


def test_show_render_draws_the_texts_of_a_table_below_each_other(run, tmp_path):
    table = tmp_path / "texts.tsv"
    table.write_text("en\tA longer text\nzh\t两本书 \U0001f600\n", encoding="utf-8")
    status, out, err = run("show_render.py", "--input", table, "--output", tmp_path / "rows.png", "--scale", 1)
    assert status == 0, err
    picture = np.asarray(Image.open(tmp_path / "rows.png"))[:, :, 1]
    assert picture.shape[0] == 2 * 16 + 1
    for top, text in ((0, "A longer text"), (17, "两本书 \U0001f600")):
        pixels = TextRenderer()(text).pixels
        strip = picture[top : top + 16, 32:]  # on the right of captions of two patches
        np.testing.assert_array_equal(strip[:, : pixels.shape[1]], pixels)
        assert (strip[:, pixels.shape[1] :] == 255).all()
    assert f"en: {TextRenderer()('A longer text').num_text_patches} text patches\n" in out
    assert "text patches; no font has Emoji" in out


def test_show_render_takes_one_text_or_one_table(run, tmp_path):
    table = tmp_path / "texts.tsv"
    table.write_text("one column\n")
    for args, message in (
        ([], "name a text, or a table"),
        (["text", "--input", table], "name a text, or a table"),
        (["--input", table], "texts.tsv, line 1: 1 columns, column 2 is needed"),
        (["--input", table, "--pair", "b"], "--pair goes with a text"),
    ):
        status, _, err = run("show_render.py", *args, "--output", tmp_path / "a.png")
        assert status == 1
        assert message in err
    table.write_text("a\tb\n" * 101)
    assert (
        "a picture takes 1 to 100 texts" in run("show_render.py", "--input", table, "--output", tmp_path / "a.png")[2]
    )
    assert not (tmp_path / "a.png").exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--font", "/nowhere.ttf"], "/nowhere.ttf: no such font file"),
        (["--scale", "0"], "--scale"),
        (["--max-patches", "1"], "max_patches"),
        (["--output", "there.png"], "there.png: already there"),
        (["--output", "absent/strip.png"], "strip.png: cannot write"),
    ],
)
def test_show_render_fails_with_one_line(run, tmp_path, monkeypatch, args, message):
    monkeypatch.chdir(tmp_path)
    Path("there.png").write_text("precious", encoding="utf-8")
    status, _, err = run("show_render.py", "text", *([] if "--output" in args else ["--output", "new.png"]), *args)
    assert status == 1
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1
    assert Path("there.png").read_text(encoding="utf-8") == "precious"
    assert not Path("new.png").exists()


def test_bench_rendering_compares_with_pygame(run):
    status, out, err = run("bench_rendering.py", "--lines", 3)
    assert status == 0, err
    assert "running English" in out
    assert "English, words" in out
    assert "differ" not in out
    assert ("English, shaped" in out) == features.check("raqm")


@pytest.fixture
def lines(tmp_path):
    """A text file of five lines, one of them empty, one in the second font."""
    path = tmp_path / "lines.txt"
    path.write_text(
        "An English line.\n\nहिन्दी की पंक्ति\n语言可以被看作图像\nmixed 语言 and 😀\tlatin\n", encoding="utf-8"
    )
    return path


def test_compare_rendering_counts_identical_lines(run, lines):
    status, out, err = run("compare_rendering.py", lines, lines, "--lines", 3)
    assert status == 0, err
    assert out.count("lines.txt: 3 of 3 lines identical") == 2
    assert "in all: 6 of 6 lines identical" in out
    assert "in all: 4 of 4 lines identical" in run("compare_rendering.py", lines)[1]


def test_compare_rendering_tells_lines_that_differ(run, lines, monkeypatch):
    drawn = pygame_strips.PygameStrips.__call__
    monkeypatch.setattr(
        pygame_strips.PygameStrips, "__call__", lambda self, text: drawn(self, text) ^ ("English" in text)
    )
    status, out, _ = run("compare_rendering.py", lines)
    assert status == 1
    assert "differs: 'An English line.'" in out
    assert "in all: 3 of 4 lines identical" in out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["absent.txt"], "absent.txt: No such file"),
        (["bad.txt"], "bad.txt: not UTF-8"),
        (["bad.txt", "--render-mode", "rgb"], "leave those options out"),
        (["bad.txt", "--renderer-backend", "pillow"], "leave those options out"),
        (["bad.txt", "--lines", "0"], "--lines 0: at least 1"),
    ],
)
def test_compare_rendering_fails_with_one_line(run, tmp_path, monkeypatch, args, message):
    monkeypatch.chdir(tmp_path)
    Path("bad.txt").write_bytes(b"caf\xe9\n")
    status, _, err = run("compare_rendering.py", *args)
    assert status == 1
    assert err.splitlines()[-1].startswith("error: ")
    assert message in err


def test_show_render_takes_every_setting(run, tmp_path):
    look = ["--render-mode", "rgb", "--font-color", "#c00000", "--background-color", "#ffffe0", "--font-size", 7.5]
    output = tmp_path / "strip.png"
    status, _, err = run("show_render.py", "colour", "--output", output, "--scale", 1, "--dpi", 110, *look)
    assert status == 0, err
    config = RendererConfig(render_mode="rgb", font_color="#c00000", background_color="#ffffe0", font_size=7.5, dpi=110)
    np.testing.assert_array_equal(np.asarray(Image.open(output)), TextRenderer(config)("colour").pixels)


@needs_raqm
@pytest.mark.parametrize("layout", [[], ["--words"], ["--pair", "ثان"]])
def test_show_render_draws_with_either_backend(run, tmp_path, layout):
    pictures = []
    for backend in ("pygame", "pillow"):
        output = tmp_path / f"{backend}.png"
        status, out, err = run(
            "show_render.py", "كتاب جديد", *layout, "--output", output, "--renderer-backend", backend, "--scale", 1
        )
        assert status == 0, err
        assert "separators at patches" in out
        pictures.append(np.asarray(Image.open(output)))
    assert pictures[0].shape != pictures[1].shape or (pictures[0] != pictures[1]).any()


@needs_raqm
def test_show_render_draws_both_backends_below_each_other(run, tmp_path, color_font):
    table = tmp_path / "texts.tsv"
    table.write_text("ar\tكتاب جديد\nemoji\tab 😀\n", encoding="utf-8")
    fonts = [default_fonts()[0].path, color_font]
    status, out, err = run(
        "show_render.py", "--input", table, "--both-backends", "--scale", 1, "--output", tmp_path / "both.png",
        "--font", *fonts, "--render-mode", "rgb",
    )  # fmt: skip
    assert status == 0, err
    picture = np.asarray(Image.open(tmp_path / "both.png"))
    assert picture.shape[0] == 4 * 16 + 3
    config = RendererConfig(fonts=fonts, render_mode="rgb", backend="pillow")
    emoji = TextRenderer(config)("ab 😀").pixels
    captions = [TextRenderer(config)(text).num_text_patches for text in ("ar", "emoji")]
    left = 16 * max(captions)
    np.testing.assert_array_equal(picture[3 * 17 :, left : left + emoji.shape[1]], emoji)
    assert "ar: " in out
    assert "left out" not in out  # its glyphs are outlines, which pygame draws in black


def test_both_backends_go_with_a_table(run, tmp_path):
    status, _, err = run("show_render.py", "text", "--both-backends", "--output", tmp_path / "out.png")
    assert (status, err) == (1, "error: --both-backends goes with --input\n")
