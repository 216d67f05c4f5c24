"""The commands: each by two doors, and --help at once."""

import os
import subprocess
import sys

import pytest
from toy_corpus import ROOT

from pixelgpt_fairseq.cli import main as pixelgpt

LISTED = """
import importlib, sys
for name in {names!r}:
    importlib.import_module("pixelgpt_fairseq.cli." + name)
    print(name, *(module for module in ("torch", "fairseq") if module in sys.modules))
"""


def modules():
    return [name.replace("-", "_") for name in pixelgpt.COMMANDS]


def test_every_script_that_is_a_door_is_a_command_too():
    doors = [path.stem for path in (ROOT / "scripts").glob("*.py") if "import main\n" in path.read_text()]
    assert doors
    assert set(doors) <= set(modules())


def test_every_command_is_there_and_loads_neither_torch_nor_fairseq_before_it_works():
    code = LISTED.format(names=modules())
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert printed.splitlines() == modules()


def test_rendering_loads_neither_torch_nor_fairseq():
    code = (
        "import sys, pixelgpt_fairseq.rendering; print([name for name in ('torch', 'fairseq') if name in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert printed == "[]\n"


def test_a_command_explains_itself_by_its_own_name(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["pixelgpt", "render-corpus", "--help"])
    with pytest.raises(SystemExit) as ending:
        pixelgpt.main()
    assert ending.value.code == 0
    assert capsys.readouterr().out.startswith("usage: pixelgpt render-corpus ")


def test_an_unknown_command_names_those_that_are_there(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["pixelgpt", "render"])
    with pytest.raises(SystemExit, match="error: pixelgpt render: no such command: there are demo, render-corpus, "):
        pixelgpt.main()
    monkeypatch.setattr(sys, "argv", ["pixelgpt"])
    pixelgpt.main()
    assert capsys.readouterr().out.startswith("usage: pixelgpt COMMAND ...")


def test_recipes_are_listed_by_folder(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["pixelgpt", "recipes"])
    pixelgpt.main()
    folders = dict(line.split(": ") for line in capsys.readouterr().out.splitlines())
    assert [os.path.basename(folder) for folder in folders] == ["glue", "pretraining", "translation", "xnli"]
    assert "dualgpt_tiny" in folders[str(ROOT / "pixelgpt_fairseq" / "config" / "pretraining")].split(", ")
