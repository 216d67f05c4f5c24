"""The example of transliteration runs from XNLI's files to its scores, and goes on where it was."""

import importlib.util

import fairseq_cli.generate
import pytest
from fairseq_runs import run, train
from refusals import refusal, script
from toy_corpus import ROOT, SMALLER
from toy_xnli import write_xnli


@pytest.fixture
def example(monkeypatch):
    spec = importlib.util.spec_from_file_location("translation_example", ROOT / "examples" / "translation" / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.ran = []

    def run_here(command, log, heard=None):
        command = [str(part) for part in command]
        name, *options = command if command[0] != module.PIXELGPT[0] else command[len(module.PIXELGPT) :]
        module.ran.append(name.rpartition("/")[2])
        if name.endswith("fairseq-train"):
            train(*options, *SMALLER)
        elif name.endswith("fairseq-generate"):
            run(fairseq_cli.generate.cli_main, *options)
        else:
            script(name.replace("-", "_"))(options)

    monkeypatch.setattr(module, "run", run_here)
    return module


def test_letters_and_digraphs_are_written_in_cyrillic(example):
    assert example.transliterate("Ng'ombe, She said: chui 7!") == "Нъомбэ, Шэ саид: чуи 7!"


def test_from_xnli_to_scores_and_on_where_it_was(example, tmp_path, monkeypatch, capsys):
    (tmp_path / "xnli").mkdir()
    write_xnli(tmp_path / "xnli", ("en", "sw"))
    monkeypatch.setattr(example, "UPDATES", {"reader": 2, "pixel": 2, "text": 1})
    monkeypatch.setattr(example, "HELD_OUT", {"valid": 3, "test": 5})
    monkeypatch.setattr(example, "VOCABULARY", 340)
    arguments = [str(tmp_path / "xnli"), str(tmp_path / "work")]
    example.main(arguments)
    scores = [line for line in capsys.readouterr().out.splitlines() if line.startswith("source as ")]
    assert [line.partition(" = ")[0].partition("CER")[0] for line in scores] == [
        "source as pixel: chrF2++",
        "source as pixel: ",
        "source as text: chrF2++",
        "source as text: ",
    ]
    assert example.ran[:5] == ["render-corpus"] * 2 + ["render-translation"] * 3
    fine_tuning = ["fairseq-train", "fairseq-generate", "fairseq-generate"]
    assert example.ran[5:] == ["fairseq-train", "evaluate-reading", *fine_tuning * 2]
    train_texts, test_texts = (
        set((tmp_path / "work" / f"{split}.txt").read_text().splitlines()) for split in ("train", "test")
    )
    assert len(test_texts) == 5
    assert not train_texts & test_texts
    ran = []
    monkeypatch.setattr(example, "run", lambda command, *given: ran.append(str(command[-1])))
    example.main(arguments)
    assert len(ran) == 5  # reading, and two scores of two models: nothing is rendered or trained
    assert ran[0] == "--overwrite"


def test_bad_input_is_one_line(example, tmp_path):
    (tmp_path / "precious").touch()
    assert "holds other things" in refusal(example.main, tmp_path, tmp_path)
    (tmp_path / "xnli").mkdir()
    assert "no XNLI with its test set" in refusal(example.main, tmp_path / "xnli", tmp_path / "work")
