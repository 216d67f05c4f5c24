"""The picture of what attacks make of a text."""

import numpy as np
import pytest
from PIL import Image
from refusals import refusal
from skips import needs_attack_packages

from pixelgpt_fairseq.cli.show_attack import main
from pixelgpt_fairseq.perturbations import ATTACKS, Perturbation
from pixelgpt_fairseq.rendering import RendererConfig, TextRenderer
from pixelgpt_fairseq.rendering.preview import preview

TEXT = "Nobody knows why these movies were made."


def show(tmp_path, *options, text=TEXT):
    output = tmp_path / "picture.png"
    main([str(option) for option in (text, "--output", output, *options)])
    return Image.open(output)


@needs_attack_packages
def test_every_attack_is_shown_at_every_severity(tmp_path, capsys):
    typos = tmp_path / "typos.txt"
    typos.write_text("knows nows\n")
    show(tmp_path, "--typos", typos, "--seed", 4)
    lines = [line for line in capsys.readouterr().out.splitlines() if not line.startswith((" ", "picture:"))]
    assert lines == [
        f"{name}, {severity}: {Perturbation(name, severity, 4, {'knows': ('nows',)})(TEXT)}"
        for name in ATTACKS
        for severity in (0.2, 0.5, 0.8)
    ]


def test_the_strips_in_the_picture_are_those_that_a_model_reads(tmp_path):
    picture = np.array(show(tmp_path, "--attacks", "truncate", "--severities", "0.8", "--scale", 3))
    renderer = TextRenderer(RendererConfig())
    for text in (TEXT, Perturbation("truncate", 0.8)(TEXT)):
        strip = np.array(preview(renderer(text), 3))
        height, width = strip.shape[:2]
        parts = (
            picture[top : top + height, left : left + width]
            for top in range(picture.shape[0] - height + 1)
            for left in range(picture.shape[1] - width + 1)
        )
        assert any(np.array_equal(part, strip) for part in parts)


def test_the_picture_grows_with_the_attacks(tmp_path):
    one = show(tmp_path, "--attacks", "truncate", "--severities", "0.5")
    three = show(tmp_path, "--attacks", "truncate,intrude,inner-swap", "--severities", "0.5", "--overwrite")
    assert three.height > 1.7 * one.height


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--attacks", "swap"], "attack 'swap': there is none of that name"),
        (["--attacks", "natural-typo"], "--typos"),
        (["--severities", "2"], "--severities 2: numbers above 0"),
        (["--scale", "0"], "--scale: must be at least 1"),
        (["--font", "nothing.ttf"], "nothing.ttf: no such font file"),
    ],
)
def test_bad_input_is_one_line(tmp_path, options, problem):
    assert problem in refusal(main, TEXT, "--output", tmp_path / "a.png", *options)
    assert not (tmp_path / "a.png").exists()


def test_an_empty_text_and_a_picture_that_is_there_are_refused(tmp_path):
    assert "not empty" in refusal(main, " ", "--output", tmp_path / "a.png")
    (tmp_path / "a.png").write_text("mine")
    assert "already there" in refusal(main, TEXT, "--attacks", "truncate", "--output", tmp_path / "a.png")
