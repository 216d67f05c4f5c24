"""The README's commands do what it says, pasted one after the other from its first section to its last."""

import re
import shlex
from pathlib import Path

import pytest
import torch
from hydra_runs import SMALL_PRETRAINING, hydra_train
from refusals import script
from toy_corpus import ROOT, documents
from toy_glue import write_glue

SECTIONS = ("Your own corpus", "Fine-tuning", "In Python")
# What makes the commands tiny: values that stand for others, and options that are added.
SMALLER = {"8000": "400", "8": "1"}
TRAINING = [*SMALL_PRETRAINING, "optimization.max_update=2", "dataset.validate_interval_updates=1"]
FINETUNING = "--gpus 0 -- --max-update 2 --validate-interval-updates 2 --max-tokens 2048".split()


def blocks():
    """The code blocks of the README's sections, in order: pairs of language and code."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for section in SECTIONS:
        content = re.search(rf"^## {section}\n(.*?)(?=^## )", text, re.MULTILINE | re.DOTALL)[1]
        yield from re.findall(r"```(\w+)\n(.*?)```", content, re.DOTALL)


def run(parts):
    """Run a command of the README in this process, smaller; GLUE is written instead of downloaded."""
    program, *arguments = [SMALLER.get(part, part) for part in parts]
    if program == ".":
        assert arguments == [".venv/bin/activate"]  # where `make` puts it
    elif program == "fairseq-hydra-train":
        *_, data = arguments
        folder, name = (arguments[arguments.index(option) + 1] for option in ("--config-dir", "--config-name"))
        hydra_train(folder, name, data, *TRAINING)
    elif arguments[0] == "scripts/download_glue.py":
        write_glue(Path(arguments[arguments.index("--destdir") + 1]))
    else:
        assert program == "python"
        name = re.fullmatch(r"scripts/(\w+)\.py", arguments[0])[1]
        script(name)([*arguments[1:], *(FINETUNING if name == "finetune" else [])])


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    """A folder to paste the commands in: a checkout without an environment, with a corpus in two files."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("scripts", "examples", "pixelgpt_fairseq"):
        (folder / name).symlink_to(ROOT / name)
    texts = documents()
    (folder / "train.txt").write_text("\n\n".join(texts[10:]), encoding="utf-8")
    (folder / "valid.txt").write_text("\n\n".join(texts[:10]), encoding="utf-8")
    return folder


def test_the_blocks_of_the_readme_run_one_after_the_other(shell, monkeypatch):
    monkeypatch.chdir(shell)
    ran, names = [], {}
    for language, code in blocks():
        if language == "python":
            exec(code, names)
            continue
        for line in code.replace("\\\n", " ").splitlines():
            parts = shlex.split(line, comments=True)
            run(parts)
            ran.append(parts[1] if parts[0] == "python" else parts[0])
    assert (
        ran.index("fairseq-hydra-train") < ran.index("scripts/show_predictions.py") < ran.index("scripts/finetune.py")
    )
    for path in ("out.png", "seen.png", "runs/dualgpt_tiny-rte-pair/checkpoint_best.pt"):
        assert (shell / path).is_file()
    assert sorted(path.name for path in (shell / "runs").iterdir()) == ["dualgpt_tiny-data", "dualgpt_tiny-rte-pair"]
    assert isinstance(names["predictions"], torch.Tensor)
