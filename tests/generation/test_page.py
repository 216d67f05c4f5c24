"""What docs/generation.md shows does what it says."""

import shutil

import fairseq_cli.generate
from fairseq_runs import run
from test_readme_runs import blocks, paste
from toy_translation import render_translation


def test_the_python_of_the_page_runs_as_pasted(checkpoint, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "runs" / "dualgpt_tiny-data" / "checkpoints"
    folder.mkdir(parents=True)
    shutil.copy(checkpoint, folder / "checkpoint_best.pt")
    monkeypatch.chdir(tmp_path)
    names = paste([block for block in blocks("docs/generation.md") if block[0] == "python"])
    assert len(capsys.readouterr().out.splitlines()) >= 3
    assert names["cache"].columns == len(names["prompts"][0]) + 5


def test_a_pretrained_model_transcribes_strips(toy_translations, checkpoint, tmp_path):
    table = toy_translations.parent / "tables" / "valid.tsv"
    options = ["--columns", "small", "small", "--like", checkpoint, "--destdir", tmp_path / "data"]
    render_translation("--input", f"valid={table}", *options)
    given = "--user-dir pixelgpt_fairseq --task rendered_translation --source-modality pixel --cpu --beam 1".split()
    given += ["--max-len-b", 5, "--gen-subset", "valid", "--path", checkpoint, "--results-path", tmp_path / "out"]
    run(fairseq_cli.generate.cli_main, tmp_path / "data", *given)
    lines = (tmp_path / "out" / "generate-valid.txt").read_text().splitlines()
    assert sum(line.startswith("D-") for line in lines) == 11
