"""Evaluating checkpoints under attacks: what is measured, kept, tabulated and drawn."""

import io
import json
import logging

import pytest
from PIL import Image
from refusals import refusal
from skips import needs_attack_packages

from pixelgpt_fairseq.cli import evaluate_robustness
from pixelgpt_fairseq.cli.render_glue import main as render_glue
from pixelgpt_fairseq.evaluation import robustness
from pixelgpt_fairseq.evaluation.prediction import predict
from pixelgpt_fairseq.evaluation.robustness import Condition, Model, conditions
from pixelgpt_fairseq.evaluation.robustness_table import gather, plot, to_markdown, to_tsv
from pixelgpt_fairseq.sources.glue import GLUE_TASKS

main = evaluate_robustness.main


def arguments(toy_glue, output, *checkpoints, task="rte", attacks="truncate", options=()):
    fixed = ["--task", task, "--attacks", attacks, "--severities", "0.5", "--seeds", 2, "--cpu", "--no-plot"]
    given = ["--checkpoint", *checkpoints, "--glue-dir", toy_glue / "GLUE", "--output", output, *fixed, *options]
    return [str(argument) for argument in given]


def records(output):
    return [json.loads(line) for line in (output / "results.jsonl").read_text().splitlines()]


@pytest.fixture
def no_evaluation(monkeypatch):
    def evaluate(*_):
        raise AssertionError("evaluated once more")

    monkeypatch.setattr(robustness._Reader, "evaluate", evaluate)


def test_an_attacked_set_is_scored_as_one_that_was_rendered_so(toy_glue, finetuned, tmp_path):
    one = finetuned["stsb"]
    main(arguments(toy_glue, tmp_path / "out", one.checkpoint, task="stsb"))
    render_glue(
        f"--glue-dir {toy_glue / 'GLUE'} --task stsb --splits valid --attack truncate --severity 0.5 --seed 2 "
        f"--like {one.checkpoint} --destdir {tmp_path / 'data'}".split()
    )
    expected = predict(one.checkpoint, tmp_path / "data", ["valid"], cpu=True, progress=False)["valid"].metrics()
    (found,) = (record for record in records(tmp_path / "out") if record["seed"] == 2)
    assert found["metrics"] == pytest.approx(expected)
    assert found["changed_sentences"] == 26
    clean = predict(one.checkpoint, one.data, ["valid"], cpu=True, progress=False)["valid"].metrics()
    assert records(tmp_path / "out")[0]["metrics"] == pytest.approx(clean)
    assert records(tmp_path / "out")[0]["attack"] is None
    assert clean != pytest.approx(expected)


def test_every_checkpoint_reads_the_text_in_its_modality_and_workers_change_nothing(toy_glue, finetuned, tmp_path):
    one = finetuned["stsb"]
    for workers in (1, 2):
        main(arguments(toy_glue, tmp_path / str(workers), one.checkpoint, task="stsb", options=["--workers", workers]))
    first, second = (records(tmp_path / workers) for workers in "12")
    assert first == second
    assert {record["modality"] for record in first} == {"pixel"}
    assert {tuple(record["metrics"]) for record in first} == {("pearsonr", "spearmanr")}


def test_what_is_known_is_not_evaluated_again(toy_glue, finetuned, tmp_path, no_evaluation, monkeypatch, capsys):
    checkpoint, output = finetuned["mnli"].checkpoint, tmp_path / "out"
    monkeypatch.undo()
    main(arguments(toy_glue, output, checkpoint, task="mnli"))
    lines = (output / "results.jsonl").read_bytes().splitlines(keepends=True)
    table = (output / "robustness.md").read_text()
    # Killed while it wrote the last line.
    (output / "results.jsonl").write_bytes(b"".join(lines[:-1]) + lines[-1][:20])
    (output / "robustness.md").unlink()
    made = []
    evaluate = robustness._Reader.evaluate
    monkeypatch.setattr(robustness._Reader, "evaluate", lambda *given: made.append(given) or evaluate(*given))
    main(arguments(toy_glue, output, checkpoint, task="mnli"))
    assert len(made) == 1
    assert "3 evaluations of 6 examples, 2 of them known from before" in capsys.readouterr().out
    assert (output / "results.jsonl").read_bytes().splitlines(keepends=True) == lines
    assert (output / "robustness.md").read_text() == table


def test_results_of_other_commands_are_known(toy_glue, finetuned, tmp_path, request, capsys):
    checkpoint = finetuned["mnli"].checkpoint
    main(arguments(toy_glue, tmp_path / "one", checkpoint, task="mnli"))
    request.getfixturevalue("no_evaluation")
    shared = ["--results-of", tmp_path / "one"]
    main(arguments(toy_glue, tmp_path / "all", checkpoint, task="mnli", options=shared))
    assert "3 evaluations of 6 examples, 3 of them known from before" in capsys.readouterr().out
    assert (tmp_path / "all" / "robustness.md").read_text() == (tmp_path / "one" / "robustness.md").read_text()
    (tmp_path / "none").mkdir()
    given = arguments(
        toy_glue, tmp_path / "third", checkpoint, task="mnli", options=["--results-of", tmp_path / "none"]
    )
    assert f"--results-of {tmp_path / 'none'}: no results.jsonl in it" in refusal(main, *given)


def test_a_checkpoint_of_other_content_is_evaluated_again(toy_glue, finetuned, tmp_path):
    model = tmp_path / "model.pt"
    model.write_bytes(b"one")
    data = robustness.ValidationSet(GLUE_TASKS["rte"][0], [])

    def key():
        return robustness.evaluations([Model("a", model)], data, [Condition()])[0][2]

    before = key()
    assert key() == before
    model.write_bytes(b"two")
    assert key() != before
    assert {json.dumps(of) for _, _, of in robustness.evaluations([Model("a", model)], data, [Condition()] * 2)} == {
        json.dumps(key())
    }


def test_conditions_are_clean_text_and_every_attack_severity_and_seed():
    found = conditions(["truncate", "intrude"], [0.2, 0.5], 2)
    assert found[0] == Condition()
    assert len(set(found)) == len(found) == 1 + 2 * 2 * 2


RESULTS = [
    (Model("pixel", "a"), Condition(), {"metrics": {"accuracy": 0.8}}),
    (Model("pixel", "b"), Condition(), {"metrics": {"accuracy": 0.9}}),
    (Model("text", "c"), Condition(), {"metrics": {"accuracy": 0.7}}),
    *(
        (Model(name, path), Condition("truncate", 0.5, seed), {"metrics": {"accuracy": value}})
        for name, path, seed, value in (
            *(("pixel", "a", 1, 0.6), ("pixel", "a", 2, 0.7), ("pixel", "b", 1, 0.8), ("pixel", "b", 2, 0.7)),
            *(("text", "c", 1, 0.75), ("text", "c", 2, 0.75)),
        )
    ),
]


def test_scores_are_gathered_over_the_checkpoints_of_a_name_and_over_seeds():
    scores = gather(RESULTS, "accuracy")
    score = scores["truncate", 0.5, "pixel"]
    assert (score.mean, score.clean, score.drop, score.evaluations) == pytest.approx((70.0, 85.0, 15.0, 4))
    assert score.deviation == pytest.approx((200 / 3) ** 0.5)
    assert scores[None, 0.0, "text"].deviation is None


def test_the_tables_tell_mean_deviation_and_drop():
    scores = gather(RESULTS, "accuracy")
    lines = to_markdown(scores, "accuracy", "sst2, valid", ["a note"]).splitlines()
    assert "| attack | severity | pixel | text |" in lines
    assert "| none |  | 85.0 ± 7.1 | 70.0 |" in lines
    assert "| truncate | 0.5 | 70.0 ± 8.2 (-15.0) | 75.0 ± 0.0 (+5.0) |" in lines
    assert lines[-1] == "* a note"
    header, *rows = (line.split("\t") for line in to_tsv({"accuracy": scores}).splitlines())
    assert dict(zip(header, rows[2], strict=True)) == {
        "attack": "truncate",
        "severity": "0.5",
        "model": "pixel",
        "metric": "accuracy",
        "mean": "70.000",
        "std": "8.165",
        "clean": "85.000",
        "drop": "15.000",
        "evaluations": "4",
    }


def test_the_plot_has_a_panel_for_every_attack(caplog):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    caplog.set_level(logging.DEBUG)  # as fairseq leaves it
    sizes = {}
    for number in (1, 6):
        attacks = [
            (Model("pixel", "a"), Condition(f"attack-{i}", 0.5, 1), {"metrics": {"accuracy": 0.5}})
            for i in range(number)
        ]
        picture = Image.open(io.BytesIO(plot(gather(RESULTS[:1] + attacks, "accuracy"), "accuracy", "sst2")))
        sizes[number] = picture.size
    assert sizes[6][0] > 3 * sizes[1][0]
    assert sizes[6][1] > 1.5 * sizes[1][1]
    assert not [record for record in caplog.records if record.name.startswith("matplotlib")]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--attacks", "swap"], "attack 'swap': there is none of that name: choose from full-swap"),
        (["--attacks", ","], "--attacks ',': names none"),
        (["--attacks", "natural-typo"], "--typos"),
        (["--severities", "0.5,2"], "--severities 0.5,2: numbers above 0 and up to 1"),
        (["--severities", "half"], "--severities half: numbers above 0 and up to 1"),
        (["--seeds", "0"], "--seeds 0: at least 1"),
        (["--workers", "0"], "--workers 0: at least 1"),
        (["--typos", "nothing.txt"], "--typos nothing.txt: No such file"),
        (["--split", "test"], "--split test: rte has labels for train, valid"),
        (["--glue-dir", "nowhere"], "--glue-dir nowhere: no such folder"),
        (["--checkpoint", "x=nothing.pt"], "--checkpoint x=nothing.pt: no such file"),
        (["--batch-size", "0"], "--batch-size 0: at least 1"),
    ],
)
def test_bad_input_is_one_line(toy_glue, finetuned, tmp_path, options, problem):
    given = arguments(toy_glue, tmp_path / "out", finetuned["rte"].checkpoint, options=options)
    assert problem in refusal(main, *given)


def test_strips_without_text_cannot_be_attacked(toy_glue, finetuned, tmp_path):
    options = ["--glue-dir", finetuned["rte"].data]
    given = arguments(toy_glue, tmp_path / "out", finetuned["rte"].checkpoint, options=options)
    assert "rendered strips, whose text cannot be attacked" in refusal(main, *given)


def test_a_checkpoint_of_another_task_and_one_without_a_task_are_refused(toy_glue, finetuned, checkpoint, tmp_path):
    given = arguments(toy_glue, tmp_path / "out", finetuned["stsb"].checkpoint)
    assert "trained on task stsb" in refusal(main, *given)
    assert "not a classifier" in refusal(main, *arguments(toy_glue, tmp_path / "other", checkpoint))


def test_files_of_someone_else_are_not_replaced(toy_glue, finetuned, tmp_path):
    (tmp_path / "robustness.md").write_text("mine")
    assert "already there" in refusal(main, *arguments(toy_glue, tmp_path, finetuned["rte"].checkpoint))
    (tmp_path / "results.jsonl").write_text("mine\n")
    assert "results.jsonl, line 1: not a result" in refusal(
        main, *arguments(toy_glue, tmp_path, finetuned["rte"].checkpoint)
    )
    assert (tmp_path / "robustness.md").read_text() == "mine"


def test_checkpoints_in_folders_of_one_name_ask_for_names(toy_glue, finetuned, tmp_path):
    other = tmp_path / finetuned["rte"].folder.name
    other.mkdir()
    (other / "checkpoint_best.pt").write_bytes(finetuned["rte"].checkpoint.read_bytes())
    given = [finetuned["rte"].checkpoint, other / "checkpoint_best.pt"]
    assert "give both a name" in refusal(main, *arguments(toy_glue, tmp_path / "out", *given))
    main(arguments(toy_glue, tmp_path / "out", *(f"one={path}" for path in given)))
    assert "| none |  |" in (tmp_path / "out" / "robustness.md").read_text()


def test_a_plot_without_matplotlib_is_refused_before_anything_is_evaluated(
    toy_glue, finetuned, tmp_path, no_evaluation, monkeypatch
):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    given = arguments(toy_glue, tmp_path / "out", finetuned["rte"].checkpoint)
    given.remove("--no-plot")
    assert "pixelgpt-fairseq[plots]" in refusal(main, *given)


@needs_attack_packages
def test_all_attacks_leave_natural_typos_out_without_a_list(toy_glue, finetuned, tmp_path, capsys):
    main(
        arguments(
            toy_glue, tmp_path / "out", finetuned["mnli"].checkpoint, task="mnli", attacks="all", options=["--seeds", 1]
        )
    )
    assert "natural-typo: left out" in capsys.readouterr().out
    found = {record["attack"] for record in records(tmp_path / "out")}
    assert len(found) == 1 + 9
    assert "natural-typo" not in found


def test_boxes_are_told_of_where_a_model_reads_strips():
    def record(modality, changed):
        return {"modality": modality, "missing_characters": ["Coptic: 1 character"], "changed_sentences": changed}

    condition = Condition("confusable", 0.5, 1)
    assert evaluate_robustness.notes([(Model("a", "a"), condition, record("text", 5))]) == []
    (boxes,) = evaluate_robustness.notes([(Model("a", "a"), condition, record("pair", 5))])
    assert boxes.startswith("confusable: some of its characters are in none of the fonts")
    (unchanged,) = evaluate_robustness.notes([(Model("a", "a"), condition, record("text", 0))])
    assert unchanged == "confusable, severity 0.5: changed none of the texts"
