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
