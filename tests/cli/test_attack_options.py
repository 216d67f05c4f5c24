"""--attack of the commands that render examples: which text it changes, and what is recorded of it."""

import json

import pytest
from refusals import refusal
from toy_glue import write_glue
from toy_xnli import write_xnli

from pixelgpt_fairseq.cli.render_glue import main as render_glue
from pixelgpt_fairseq.cli.render_xnli import main as render_xnli
from pixelgpt_fairseq.data.data_folder import DataFolder
from pixelgpt_fairseq.perturbations import Perturbation
from pixelgpt_fairseq.sources.examples import read_examples
from pixelgpt_fairseq.sources.glue import GLUE_TASKS


@pytest.fixture(scope="module")
def glue(tmp_path_factory):
    return write_glue(tmp_path_factory.mktemp("attacked") / "GLUE")


def render(main, source, destdir, *options):
    main([str(argument) for argument in (*source, "--destdir", destdir, *options)])
    return destdir


def streams(folder, split):
    return {path.name: path.read_bytes() for path in DataFolder(folder).split_files(split) if path.suffix != ".json"}


def attack_of(folder, split):
    return DataFolder(folder).read_manifest(split)["attack"]


def test_strips_and_tokens_are_those_of_the_attacked_text(glue, toy_glue, tmp_path):
    tokenizer = ["--tokenizer", toy_glue / "tokenizer.model"]
    source = ["--glue-dir", glue, "--task", "rte"]
    attack = "--attack intrude --severity 0.8 --seed 5".split()
    attacked = render(render_glue, source, tmp_path / "attacked", *tokenizer, *attack)
    clean = render(render_glue, source, tmp_path / "clean", *tokenizer)
    # The same text, from a table that holds it.
    task, sources = GLUE_TASKS["rte"]
    perturbation = Perturbation("intrude", 0.8, 5)
    examples = list(read_examples(glue / "RTE/dev.tsv", task, sources[1].columns, sources[1].label))
    rows = [{"a": perturbation(one), "b": perturbation(other), "label": label} for (one, other), label in examples]
    table = tmp_path / "table.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    own = ["--input", f"valid={table}", "--columns", "a", "b", "--label-column", "label", "--labels", *task.labels]
    expected = render(render_glue, own, tmp_path / "expected", *tokenizer)
    assert streams(attacked, "valid") == streams(expected, "valid")
    assert streams(attacked, "valid") != streams(clean, "valid")
    assert attack_of(attacked, "train") == {**perturbation.to_dict(), "changed_sentences": 80}
    assert attack_of(clean, "train") is None


def test_the_number_of_workers_changes_nothing(glue, tmp_path):
    source = ["--glue-dir", glue, "--task", "sst2", "--splits", "train", "--attack", "full-swap"]
    one, two = (render(render_glue, source, tmp_path / workers, "--workers", workers) for workers in "12")
    assert streams(one, "train") == streams(two, "train")
    assert attack_of(one, "train") == attack_of(two, "train")


@pytest.mark.parametrize(
    ("chosen", "attacked"),
    [
        ("valid,test", {"valid", "valid_mismatched", "test", "test_mismatched"}),
        ("valid_mismatched", {"valid_mismatched"}),
        ("train", {"train"}),
        ("all", {"train", "valid", "valid_mismatched", "test", "test_mismatched", "ax"}),
    ],
)
def test_attack_splits_name_what_is_attacked(glue, tmp_path, chosen, attacked):
    source = ["--glue-dir", glue, "--task", "mnli", "--attack", "truncate", "--attack-splits", chosen]
    folder = render(render_glue, source, tmp_path / "data")
    assert {split for split in DataFolder(folder).splits() if attack_of(folder, split)} == attacked


def test_xnli_is_attacked_in_every_language(tmp_path, capsys):
    write_xnli(tmp_path / "XNLI")
    source = ["--xnli-dir", tmp_path / "XNLI", "--languages", "en,zh", "--splits", "train", "valid", "--max-missing", 1]
    attack = "--attack inner-swap --severity 1 --attack-splits valid".split()
    folder = render(render_xnli, source, tmp_path / "data", *attack)
    assert attack_of(folder, "train.en") is None
    assert attack_of(folder, "valid.en")["changed_sentences"] > 0
    assert attack_of(folder, "valid.zh")["changed_sentences"] == 0
    assert "zh: inner-swap changed none of the texts" in capsys.readouterr().err


def test_characters_that_an_attack_put_there_are_no_reason_to_refuse_the_font(glue, tmp_path):
    pytest.importorskip("confusable_homoglyphs", reason="confusable-homoglyphs is not installed")
    source = ["--glue-dir", glue, "--task", "rte", "--attack", "confusable", "--severity", 1, "--splits", "valid"]
    folder = render(render_glue, source, tmp_path / "data")
    assert sum(DataFolder(folder).read_manifest("valid")["missing_characters"].values()) > 0


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ("--attack swap", "attack 'swap': there is none of that name: choose from full-swap"),
        ("--attack truncate --severity 1.5", "severity 1.5: must be a number from 0"),
        ("--attack truncate --severity nan", "severity nan: must be a number from 0"),
        ("--attack natural-typo", "--typos"),
        ("--attack natural-typo --typos nothing", "--typos nothing: No such file"),
        ("--severity 0.5", "--severity: of which attack?"),
        ("--attack-splits valid", "--attack-splits: of which attack?"),
        ("--attack truncate --attack-splits dev", "--attack-splits dev: dev is not rendered here, but train, valid"),
        ("--attack truncate --attack-splits ,", "--attack-splits ,: none is not rendered here"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(glue, tmp_path, options, problem):
    given = ["--glue-dir", glue, "--task", "rte", "--destdir", tmp_path / "data", *options.split()]
    assert problem in refusal(render_glue, *given)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("main", [render_glue, render_xnli])
def test_strips_that_the_authors_drew_cannot_be_attacked(tmp_path, main):
    task = ["--task", "rte"] if main is render_glue else []
    given = ["--released", tmp_path, *task, "--destdir", tmp_path / "data", "--attack", "truncate"]
    assert "--attack: --released has strips that are drawn already" in refusal(main, *given)
