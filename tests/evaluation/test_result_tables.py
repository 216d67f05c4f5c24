from pathlib import Path

import pytest

from pixelgpt_fairseq.evaluation.result_tables import tabulate, to_markdown, to_tsv
from pixelgpt_fairseq.evaluation.runs import Run
from pixelgpt_fairseq.sources.glue import GLUE_TASKS


def run(task, score, seed=1, model="dualgpt", modality="pair", start="pretrained.pt", lr=1e-5, setting="", **read):
    """A run with *score* in every metric, or with those of a dictionary subset -> metric -> value."""
    if isinstance(score, dict):
        scores, metric = score, next(iter(next(iter(score.values()))))
    else:
        metrics = GLUE_TASKS[task][0].metrics
        scores, metric = {"valid": dict.fromkeys(metrics, score)}, GLUE_TASKS[task][0].best_metric
        if task == "mnli":
            scores["valid_mismatched"] = {"accuracy": score - 0.1}
    settings = {"lr": lr, "batch": 64}
    return Run(Path("x"), model, task, modality, setting, start, seed, settings, metric, scores=scores, **read)


def table(*runs):
    (found,) = tabulate(runs)
    markdown = to_markdown([found]).splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in markdown if line.startswith("| ")], [
        line for line in markdown if line.startswith("* ")
    ]


def test_every_task_shows_glues_metrics():
    runs = [
        run("cola", {"valid": {"matthews_correlation": 0.5, "accuracy": 0.8}}),
        run("mnli", 0.8),
        run("mrpc", {"valid": {"f1": 0.9, "accuracy": 0.85}}),
        run("stsb", {"valid": {"spearmanr": 0.7, "pearsonr": 0.75}}),
        run("sst2", 0.9),
    ]
    (header, _, row), _ = table(*runs)
    assert dict(zip(header, row, strict=True)) == {
        "model": "dualgpt",
        "modality": "pair",
        "cola (Matthews)": "50.0",
        "sst2": "90.0",
        "mrpc (F1 / acc)": "90.0 / 85.0",
        "stsb (Pearson / Spearman)": "75.0 / 70.0",
        "mnli (m / mm)": "80.0 / 70.0",
        "average": "-",
    }


def test_the_average_is_that_of_all_nine_tasks_each_by_the_mean_of_its_metrics():
    scores = {task: 0.5 + number / 100 for number, task in enumerate(GLUE_TASKS)}
    (_, _, row), notes = table(*(run(task, score) for task, score in scores.items()))
    expected = 100 * (sum(scores.values()) - 0.05) / 9  # MNLI's mismatched accuracy is 0.1 lower
    assert row[-1] == f"{expected:.1f}"
    assert not any("no average" in note for note in notes)


@pytest.mark.parametrize("absent", ["wnli", "mrpc"])
def test_there_is_no_average_of_some_tasks_and_a_note_says_so(absent):
    runs = [run(task, 0.5) for task in GLUE_TASKS if task != absent]
    if absent == "mrpc":  # its F1 is known, its accuracy is not
        runs.append(run("mrpc", {"valid": {"f1": 0.5}}))
    (_, _, row), notes = table(*runs)
    assert row[-1] == "-"
    assert f"* dualgpt, pair: no average: {absent} not known, or not in full" in notes


def test_seeds_give_mean_and_standard_deviation():
    (_, _, row), notes = table(run("rte", 0.5, 1), run("rte", 0.6, 2), run("rte", 0.7, 3))
    assert row[2] == "60.0 ± 10.0"
    assert "* mean ± standard deviation over seeds" in notes


def test_of_a_sweep_the_settings_that_are_best_on_the_mean_of_their_seeds_count_and_are_marked():
    runs = [run("rte", score, seed, lr=lr) for lr, scores in {1e-5: (0.6, 0.62), 3e-5: (0.5, 0.7)}.items()
            for seed, score in enumerate(scores)]  # fmt: skip
    (_, _, row), notes = table(*runs)
    assert row[2] == "61.0 ± 1.4\\*"
    assert "* dualgpt, pair, rte: the best of 2 settings, lr 1e-05" in notes
    assert "* \\*: the best of several settings, chosen by their mean on the validation set itself" in notes


def test_modalities_and_starting_points_have_rows_of_their_own():
    starts = [run("rte", 0.5), run("rte", 0.6, start=""), run("rte", 0.7, modality="text"), run("rte", 0.8, model="m")]
    rows, _ = table(*starts)
    assert [row[:3] for row in rows[2:]] == [
        ["dualgpt, from scratch", "pair", "60.0"],
        ["dualgpt", "pair", "50.0"],
        ["dualgpt", "text", "70.0"],
        ["m", "pair", "80.0"],
    ]
    rows, _ = table(*starts, run("rte", 0.9, start="later.pt"))
    assert ["dualgpt, from later.pt", "pair", "90.0", "-"] in rows
    assert ["dualgpt, from pretrained.pt", "pair", "50.0", "-"] in rows


def test_tasks_of_ones_own_stand_behind_glues_and_are_no_part_of_the_average():
    (header, _, row), _ = table(run("rte", 0.5), run("moods", {"valid": {"accuracy": 0.7}}))
    assert (header[2:4], row[2:4]) == (["rte", "moods"], ["50.0", "70.0"])


def test_xnli_is_a_table_by_itself_with_a_column_for_every_language():
    scores = {"average_accuracy": 0.55, "accuracy_sw": 0.5, "accuracy_en": 0.6}
    runs = [run("xnli", {"valid": scores}, setting="translate-train-all"), run("rte", 0.5)]
    glue, xnli = tabulate(runs)
    assert glue.title == "GLUE"
    assert [column.header for column in xnli.columns] == ["en", "sw", "average"]
    assert "| dualgpt | translate-train-all | pair | 60.0 | 50.0 | 55.0 |" in to_markdown([xnli])


def test_tsv_has_a_number_a_line():
    runs = [run("mnli", 0.5, 1), run("mnli", 0.6, 2), run("mnli", 0.3, lr=1.0)]
    header, *lines = [line.split("\t") for line in to_tsv(tabulate(runs)).splitlines()]
    assert [dict(zip(header, line, strict=True)) for line in lines] == [
        {
            **{"table": "GLUE", "model": "dualgpt", "setting": "", "modality": "pair", "task": "mnli"},
            **{"metric": metric, "mean": mean, "std": "7.071", "runs": "2", "settings_tried": "2"},
            **{"best_settings": "lr 1e-05", "font": "", "render_mode": "", "structure": "", "attack": ""},
        }
        for metric, mean in (("accuracy", "55.000"), ("accuracy (valid_mismatched)", "45.000"))
    ]


def test_fonts_modes_and_attacks_that_differ_are_rows_of_their_own():
    runs = [
        run("sst2", 0.9, modality="pixel", font="Serif", render_mode="gray"),
        run("sst2", 0.8, modality="pixel", font="Serif", render_mode="binary"),
        run("sst2", 0.7, modality="pixel", font="Serif", render_mode="gray", attack="truncate, severity 0.5, seed 1"),
        run("sst2", 0.6, modality="text"),
    ]
    (header, _, *rows), notes = table(*runs)
    assert header == ["model", "modality", "render_mode", "attack", "sst2", "average"]
    assert {tuple(row[1:5]) for row in rows} == {
        ("pixel", "gray", "-", "90.0"),
        ("pixel", "binary", "-", "80.0"),
        ("pixel", "gray", "truncate, severity 0.5, seed 1", "70.0"),
        ("text", "-", "-", "60.0"),
    }
    assert not any("best of" in note for note in notes)
    columns, *lines = (line.split("\t") for line in to_tsv(tabulate(runs)).splitlines())
    found = [dict(zip(columns, line, strict=True)) for line in lines]
    assert {(line["render_mode"], line["attack"], line["mean"]) for line in found} >= {("binary", "", "80.000")}
    assert table(runs[0])[0][0] == ["model", "modality", "sst2", "average"]


def test_strips_of_another_structure_are_no_further_seed():
    (header, _, *rows), _ = table(
        run("sst2", 0.9, modality="pixel", structure="words"),
        run("sst2", 0.7, modality="pixel", structure="continuous"),
    )
    assert header == ["model", "modality", "structure", "sst2", "average"]
    assert {tuple(row[1:4]) for row in rows} == {("pixel", "words", "90.0"), ("pixel", "continuous", "70.0")}
