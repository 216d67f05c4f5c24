"""The commands: what they print and write, and how they fail."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelgpt_fairseq.rendering import TextRenderer

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
    coloured = (picture[0, :, 0] != picture[0, :, 2]).nonzero()[0]
    assert coloured.tolist() == list(range(48, picture.shape[1], 48))
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
    assert "differ" not in out
