"""A model's name on the hub takes the place of its folder."""

import pytest
import torch
from skips import needs_hub
from toy_hub import hub

import pixelgpt_fairseq
from pixelgpt_fairseq.cli import convert_checkpoint, show_predictions
from pixelgpt_fairseq.cli.finetune import main as finetune
from pixelgpt_fairseq.conversion.released_folders import export_released
from pixelgpt_fairseq.errors import UserError

__all__ = ["hub"]
pytestmark = needs_hub


@pytest.fixture
def folder(checkpoint, tmp_path):
    """A released folder, beside which other things lie."""
    folder = tmp_path / "folder"
    export_released(checkpoint, folder, progress=False)
    (folder / "pytorch_model.bin").write_bytes(b"the same again")
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.safetensors").write_bytes(b"other things")
    return folder


@pytest.fixture
def published(hub, folder, tmp_path, monkeypatch):
    hub.add("owner/name", folder)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return hub


def test_load_takes_it_and_fetches_no_more_than_it_needs(published, checkpoint):
    loaded = pixelgpt_fairseq.load("owner/name")
    mine = pixelgpt_fairseq.load(checkpoint)
    assert loaded.tokenizer.sha256 == mine.tokenizer.sha256
    assert loaded.renderer.config == mine.renderer.config
    for name, weight in mine.model.state_dict().items():
        torch.testing.assert_close(loaded.model.state_dict()[name], weight, rtol=0, atol=0)
    fetched = {path for method, path, _ in published.asked if method == "GET"}
    assert fetched == {"config.json", "model.safetensors", "text_renderer_config.json", "tokenizer.model"}


def test_without_safetensors_the_other_kind_of_weights_is_fetched(hub, folder, tmp_path, monkeypatch):
    weights = pixelgpt_fairseq.load(folder).model
    (folder / "model.safetensors").unlink()
    torch.save(weights.state_dict(), folder / "pytorch_model.bin")
    hub.add("owner/older", folder)
    monkeypatch.chdir(tmp_path)
    loaded = pixelgpt_fairseq.load("owner/older").model
    torch.testing.assert_close(dict(loaded.state_dict()), dict(weights.state_dict()), rtol=0, atol=0)


def test_a_local_folder_of_that_name_wins(published, folder, tmp_path):
    (tmp_path / "here" / "owner").mkdir()
    with pytest.raises(UserError, match=r"^owner/name: no such file"):  # a mistake in a local name
        pixelgpt_fairseq.load("owner/name")
    (tmp_path / "here" / "owner" / "name").symlink_to(folder)
    assert pixelgpt_fairseq.load("owner/name").path == "owner/name"
    assert published.asked == []


def test_commands_take_it(published, toy_glue, tmp_path, capsys):
    convert_checkpoint.main(["import", "owner/name", "imported.pt"])
    show_predictions.main(["--checkpoint", "owner/name", "--text", "An expression.", "--output", "out.png"])
    assert (tmp_path / "here" / "imported.pt").exists()
    assert (tmp_path / "here" / "out.png").exists()
    asked = len(published.asked)
    options = [
        "--model",
        "dualgpt",
        "--task",
        "rte",
        "--modality",
        "text",
        "--data",
        str(toy_glue / "rte"),
        "--dry-run",
    ]
    finetune([*options, "--save-dir", "runs", "--checkpoint", "owner/name"])
    assert "owner/name: would first be fetched and converted to" in capsys.readouterr().out
    assert len(published.asked) == asked


def test_a_name_that_nobody_has_is_told_in_one_line(published, capsys):
    with pytest.raises(SystemExit) as ended:
        show_predictions.main(["--checkpoint", "owner/none", "--text", "An expression.", "--output", "out.png"])
    assert str(ended.value).startswith("error: owner/none: no such file or folder, and the hub has no model of this ")
