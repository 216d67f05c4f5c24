"""What commands answer to checkpoints that do not fit their data, or are none."""

import pickle
from pathlib import Path

import fairseq_cli.train
import fairseq_cli.validate
import pytest
import torch
from fairseq_runs import validate
from processes import Command
from refusals import VALIDATION, refusal, script
from toy_corpus import TOY_TRAINING, documents

from pixelgpt_fairseq.data.data_folder import DataFolder
from pixelgpt_fairseq.data.tokens import train_tokenizer
from pixelgpt_fairseq.preprocessing.binarize import binarize
from pixelgpt_fairseq.rendering import RendererConfig, default_fonts

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # Hydra's, of fairseq's ways


def rebinarized(toy_data, folder, tokenizer=None, **look):
    """The toy corpus with another tokenizer or look."""
    data = DataFolder(toy_data)
    for split in ("train", "valid"):
        text = toy_data.parent / f"{split}.txt"
        config = RendererConfig(max_patches=128, **look)
        binarize([text], folder, split, config, tokenizer or data.tokenizer(), progress=False)
    return folder


def test_data_of_another_tokenizer_than_the_checkpoints(fairseq, toy_data, checkpoint, tmp_path):
    tokenizer = train_tokenizer(iter(documents()), 410)
    data = rebinarized(toy_data, tmp_path / "data", tokenizer)
    expected = (
        f"the tokenizer of the data (sha256 {tokenizer.sha256[:12]}…) is not the one this checkpoint was trained with "
    )
    resumed = fairseq(data, "--restore-file", checkpoint, "--modalities", "text,pixel,pair")
    fine_tuned = fairseq(data, "--finetune-from-model", checkpoint, "--modalities", "text,pixel,pair")
    validated = fairseq(data, "--path", checkpoint, main=fairseq_cli.validate.cli_main)
    for line in (resumed, fine_tuned, validated):
        assert line.startswith(expected)
    # In a process of its own it is the same: fairseq's trainer hides exceptions.
    options = ["--restore-file", checkpoint, "--modalities", "text,pixel,pair", "--save-dir", tmp_path / "checkpoints"]
    status, printed = Command(fairseq_cli.train.cli_main, data, *TOY_TRAINING, *options).end()
    assert status == 1, printed
    assert "Traceback" not in printed
    assert printed.splitlines()[-1].startswith(f"error: {expected}")
    assert printed.count("error: ") == 1


def test_data_of_another_look_than_the_checkpoints_is_named_and_used(toy_data, checkpoint, tmp_path):
    data = rebinarized(toy_data, tmp_path / "data", fonts=default_fonts()[0].path)
    log = validate(data, *VALIDATION, "--path", checkpoint).log
    (warning,) = [line for line in log.splitlines() if "rendered otherwise" in line]
    assert "font 2: KurintoSansSC-Rg.ttf" in warning
    assert warning.endswith("against none")


def test_validation_uses_the_data_folder_of_its_command_line(toy_data, checkpoint, tmp_path):
    state = torch.load(checkpoint, weights_only=True)
    state["cfg"]["task"]["data"] = "/gone/data"
    torch.save(state, tmp_path / "moved.pt")
    assert "valid on 'valid' subset | " in validate(toy_data, *VALIDATION, "--path", tmp_path / "moved.pt").log


class _Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def _write_bad_checkpoint(kind, path, checkpoint):
    content = checkpoint.read_bytes()
    if kind == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif kind == "text":
        path.write_text("no checkpoint")
    elif kind == "empty":
        path.touch()
    elif kind == "pickle":
        path.write_bytes(pickle.dumps(_Malicious(path.with_name("executed"))))
    elif kind == "zip":
        torch.save({"model": _Malicious(path.with_name("executed"))}, path)
    elif kind == "list":
        torch.save([1, 2], path)
    elif kind == "another model":
        model = {"_name": "transformer_lm"}
        torch.save({"model": {"a": torch.ones(2)}, "cfg": {"model": model, "criterion": None}}, path)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("none", "no such file"),
        ("truncated", "not a checkpoint, or damaged"),
        ("text", "not a checkpoint, or damaged"),
        ("empty", "not a checkpoint, or damaged"),
        ("pickle", "not a checkpoint, or damaged"),
        ("zip", "not a checkpoint, or damaged"),
        ("list", "not a checkpoint of fairseq-train with a pixelgpt model"),
        ("another model", "not a checkpoint of fairseq-train with a pixelgpt model"),
    ],
)
def test_what_is_no_checkpoint_is_not_executed(checkpoint, tmp_path, kind, message):
    path = tmp_path / "bad.pt"
    _write_bad_checkpoint(kind, path, checkpoint)
    show = script("show_predictions")
    line = refusal(show, "--checkpoint", path, "--text", "text", "--output", tmp_path / "out.png")
    assert line == f"{path}: {message}"
    assert not (tmp_path / "executed").exists()
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--output", "none/out.png"], "none/out.png: cannot write: No such file or directory"),
        (["--output", "."], ".: a folder, where a file is to be written: choose another --output"),
        (["--font", "none/none.ttf"], "none/none.ttf: no such font file"),
        (["--scale", "0"], "--scale 0: from 1 to 16"),
        (["--patches-per-row", "0"], "--patches-per-row 0: from 1 to 1024"),
    ],
)
def test_bad_options_of_pictures(checkpoint, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    arguments = ["--checkpoint", checkpoint, "--text", "text", "--output", "out.png", *options]
    assert refusal(script("show_predictions"), *arguments).endswith(message)
    assert list(tmp_path.iterdir()) == []
