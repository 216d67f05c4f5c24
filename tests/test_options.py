"""docs/options.md lists the options that there are."""

import importlib.util
import re

import pytest
from fairseq import options
from fairseq.models import ARCH_MODEL_REGISTRY, MODEL_DATACLASS_REGISTRY
from fairseq.registry import REGISTRIES
from fairseq.tasks import TASK_DATACLASS_REGISTRY
from toy_corpus import ROOT

SPEC = importlib.util.spec_from_file_location("list_options", ROOT / "scripts" / "list_options.py")
list_options = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(list_options)


def test_the_page_is_what_the_script_writes(tmp_path):
    list_options.main(["--output", str(tmp_path / "options.md")])
    written, held = ((folder / "options.md").read_text() for folder in (tmp_path, ROOT / "docs"))
    assert held == written, "give the command: python scripts/list_options.py"


def test_the_page_has_every_component_of_this_package():
    registered = [TASK_DATACLASS_REGISTRY, MODEL_DATACLASS_REGISTRY]
    registered += [registry["dataclass_registry"] for registry in REGISTRIES.values()]
    found = {each for registry in registered for each in registry.values()}
    ours = {each for each in found if each.__module__.startswith("pixelgpt_fairseq.")}
    assert {dataclass for _, _, dataclass in list_options.COMPONENTS} == ours
    assert set(ARCH_MODEL_REGISTRY) >= set(list_options.ARCHITECTURES)


@pytest.mark.parametrize("title", [title for title, group, _ in list_options.COMPONENTS if group == "task"])
def test_the_page_has_the_defaults_and_names_of_fairseq_train(title, monkeypatch):
    page = (ROOT / "docs" / "options.md").read_text()
    (section,) = re.findall(rf"^## `{re.escape(title)}`\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    rows = re.findall(r"^\| `(--[\w-]+)`[^|]*\| ([^|]*) \|", section, re.MULTILINE)
    assert rows
    monkeypatch.setattr("sys.argv", ["fairseq-train", "data", *title.split()])
    parser = options.get_training_parser()
    # fairseq adds a component's options as it parses.
    known = options.parse_args_and_arch(
        parser, ["data", *title.split(), "--arch", "pixelgpt", "--optimizer", "fused_adamw"]
    )
    for option, default in rows:
        value = getattr(known, option[2:].replace("-", "_"))
        assert str(value) == default or (value is None and default == ""), option
