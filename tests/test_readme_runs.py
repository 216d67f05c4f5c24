"""The commands of the READMEs do what these say, pasted one after the other from the first section to the last."""

import glob
import re
import shlex
import sys
from pathlib import Path

import fairseq_cli.train
import fairseq_cli.validate
import pytest
import torch
from fairseq_runs import nothing_left_behind
from hydra_runs import SMALL_PRETRAINING, hydra_train
from processes import start_fairseq_by_fork
from refusals import script
from toy_corpus import ROOT, documents
from toy_glue import write_glue

from pixelgpt_fairseq.data.tokens import train_tokenizer

# What makes the commands tiny: values that stand for others, options that are left out, and options that are added.
INSTEAD = {"8000": "400", "8": "1", "16": "1", "pixelgpt_fairseq": str(ROOT / "pixelgpt_fairseq")}
ON_A_GPU = {"--bf16", "--compile", "--tf32"}
HYDRA = [
    *SMALL_PRETRAINING,
    *("optimization.max_update=2", "optimization.update_freq=[1]", "lr_scheduler.warmup_updates=1"),
    *("dataset.validate_interval_updates=1", "dataset.num_workers=0", "distributed_training.distributed_world_size=1"),
    *("common.cpu=true", "common.bf16=false", "++model.compile=false", "++model.tf32=false"),
]
TRAINING = (
    "--hidden-size 32 --num-hidden-layers 1 --intermediate-size 32 --tokens-per-sample 64 --batch-size 2 "
    "--update-freq 1 --warmup-updates 1 --max-update 2 --validate-interval-updates 1 --num-workers 0 --cpu "
    "--distributed-world-size 1"
).split()
VALIDATION = "--batch-size 2 --num-workers 0 --cpu".split()
FINETUNING = "--gpus 0 -- --max-update 2 --validate-interval-updates 2 --max-tokens 2048".split()


def blocks(readme, *sections):
    """The code blocks of a README, or of some of its sections, in order: pairs of language and code."""
    text = (ROOT / readme).read_text(encoding="utf-8")
    if sections:
        found = (re.search(rf"^## {section}\n(.*?)(?=^## )", text, re.MULTILINE | re.DOTALL) for section in sections)
        text = "".join(section[1] for section in found)
    return re.findall(r"```(\w+)\n(.*?)```", text, re.DOTALL)


def paste(found):
    """Run the blocks in this process, in the folder that it is in; returns the names that Python's have defined."""
    names = {}
    for language, code in found:
        if language == "python":
            exec(code, names)
            continue
        for line in code.replace("\\\n", " ").splitlines():
            run(*shlex.split(line, comments=True))
    return names


def run(program, *arguments):
    """Run a command of a README, smaller; GLUE is written instead of downloaded."""
    arguments = [INSTEAD.get(part, part) for part in arguments if part not in ON_A_GPU]
    if program == ".":
        assert arguments == [".venv/bin/activate"]  # where `make` puts it
    elif program == "export":
        assert arguments == ["OMP_NUM_THREADS=1"]  # torch reads it when it is imported
    elif program == "fairseq-hydra-train":
        *_, data = arguments
        folder, name = (arguments[arguments.index(option) + 1] for option in ("--config-dir", "--config-name"))
        hydra_train(folder, name, data, *HYDRA)
    elif program in ("fairseq-train", "fairseq-validate"):
        command, more = (
            (fairseq_cli.train.cli_main, TRAINING)
            if program == "fairseq-train"
            else (fairseq_cli.validate.cli_main, VALIDATION)
        )
        with pytest.MonkeyPatch.context() as patch, nothing_left_behind():
            patch.setattr(sys, "argv", [program, *arguments, *more])
            command()
    elif arguments[0] == "scripts/download_glue.py":
        write_glue(Path(arguments[arguments.index("--destdir") + 1]))
    else:
        assert program == "python"
        name = re.fullmatch(r"scripts/(\w+)\.py", arguments[0])[1]
        given = [path for part in arguments[1:] for path in (sorted(glob.glob(part)) if "*" in part else [part])]
        if name == "finetune":
            with pytest.MonkeyPatch.context() as patch:
                start_fairseq_by_fork(patch)
                script(name)([*given, *FINETUNING])
        else:
            script(name)(given)


@pytest.fixture
def shell(tmp_path, monkeypatch):
    """A folder to paste commands in, which this process is in: a checkout with a corpus and a tokenizer beside it."""
    for name in ("scripts", "examples", "pixelgpt_fairseq"):
        (tmp_path / name).symlink_to(ROOT / name)
    texts = documents()
    (tmp_path / "corpus").mkdir()
    for path, chosen in (
        ("train.txt", texts[10:]),
        ("valid.txt", texts[:10]),
        ("corpus/a.txt", texts[10:30]),
        ("corpus/b.txt", texts[30:]),
    ):
        (tmp_path / path).write_text("\n\n".join(chosen), encoding="utf-8")
    (tmp_path / "tokenizer.model").write_bytes(train_tokenizer(iter(texts), 400).serialized)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def runs(shell):
    """The folders of the runs that were made."""
    return sorted(path.name for path in (shell / "runs").iterdir())


def test_the_readme(shell):
    names = paste(blocks("README.md", "Your own corpus", "Fine-tuning", "In Python"))
    for path in ("out.png", "seen.png", "runs/dualgpt_tiny-rte-pair/checkpoint_best.pt"):
        assert (shell / path).is_file()
    assert runs(shell) == ["dualgpt_tiny-data", "dualgpt_tiny-rte-pair"]
    assert isinstance(names["predictions"], torch.Tensor)


def test_the_readme_of_pretraining(shell):
    paste(blocks("examples/pretraining/README.md"))
    assert (shell / "out.png").is_file()
    assert runs(shell) == ["dualgpt-data", "dualgpt-data-plain"]
    for run in runs(shell):
        assert list((shell / "runs" / run).rglob("checkpoint_best.pt"))
        assert list((shell / "runs" / run / "tensorboard").rglob("events.out.tfevents.*"))
