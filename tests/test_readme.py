"""The commands in the READMEs are commands: scripts and recipes that exist, options that they know."""

import importlib
import importlib.util
import re
import shlex
import sys

import pytest
from fairseq import options
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from toy_corpus import ROOT

READMES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")), *sorted(ROOT.glob("examples/**/README.md"))]


def commands(program):
    """Every command in a code block that starts with *program*, split into its parts."""
    found = []
    for path in READMES:
        for block in re.findall(r"```bash\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                parts = shlex.split(line, comments=True)
                # Those with a --user-dir of one's own are run by test_extending.py.
                if parts and parts[0] == program and "mylab" not in parts:
                    found.append(pytest.param(parts[1:], id=f"{path.parent.name}: {line[:60]}"))
    return found


@pytest.mark.parametrize("parts", commands("python"))
def test_scripts_know_their_options(parts):
    script = ROOT / parts[0]
    spec = importlib.util.spec_from_file_location(script.stem, script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    # The scripts that are doors have their parsers behind them.
    module = sys.modules.get(module.main.__module__, module) if hasattr(module, "main") else module
    if hasattr(module, "get_parser"):
        module.get_parser().parse_args(parts[1:])  # exits if it cannot
    else:
        assert script.name.startswith("bench_")


@pytest.mark.parametrize("parts", commands("pixelgpt"))
def test_installed_commands_know_their_options(parts):
    if len(parts) > 0:
        module = importlib.import_module(f"pixelgpt_fairseq.cli.{parts[0].replace('-', '_')}")
        module.get_parser().parse_args(parts[1:])


@pytest.mark.parametrize("parts", commands("fairseq-train"))
def test_fairseq_train_knows_its_options(parts, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("sys.argv", ["fairseq-train", *parts])
    cfg = convert_namespace_to_omegaconf(options.parse_args_and_arch(options.get_training_parser(), parts))
    assert cfg.task._name.startswith("rendered_")


def test_every_training_command_has_a_folder_of_its_own():
    found = [command.values[0] for command in commands("fairseq-train")]
    assert len({parts[parts.index("--save-dir") + 1] for parts in found}) == len(found) > 0


@pytest.mark.parametrize("parts", commands("fairseq-validate"))
def test_fairseq_validate_knows_its_options(parts, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("sys.argv", ["fairseq-validate", *parts])
    options.parse_args_and_arch(options.get_validation_parser(), parts)


@pytest.mark.parametrize("program", ["generate", "interactive"])
def test_the_generating_commands_know_their_options(program, monkeypatch):
    monkeypatch.chdir(ROOT)
    (command,) = commands(f"fairseq-{program}")
    monkeypatch.setattr("sys.argv", [f"fairseq-{program}", *command.values[0]])
    parsers = {
        "generate": options.get_generation_parser,
        "interactive": options.get_interactive_generation_parser,
    }
    known = options.parse_args_and_arch(parsers[program](), command.values[0])
    assert known.task == "rendered_translation"


@pytest.mark.parametrize("parts", commands("fairseq-hydra-train"))
def test_recipes_exist(parts):
    folder, name = (parts[parts.index(option) + 1] for option in ("--config-dir", "--config-name"))
    assert (ROOT / folder / f"{name}.yaml").exists()


@pytest.mark.parametrize("path", READMES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target


@pytest.mark.parametrize("parts", commands("make"))
def test_make_targets_exist(parts):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{parts[0]}:", makefile, re.MULTILINE)


@pytest.mark.parametrize("path", sorted({*READMES, *ROOT.glob("*.md")}), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_page_has_marks_of_a_merge(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert not [line for line in lines if line.startswith(("<<<<<<< ", ">>>>>>> "))]
