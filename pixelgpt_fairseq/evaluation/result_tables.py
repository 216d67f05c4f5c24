"""Result tables of many runs: a row for each model and modality, a column for each task."""

import statistics
from dataclasses import dataclass, field

from pixelgpt_fairseq.sources.glue import GLUE_TASKS
from pixelgpt_fairseq.sources.xnli import LANGUAGES, XNLI

_SHORT = {"matthews_correlation": "Matthews", "accuracy": "acc", "f1": "F1", "pearsonr": "Pearson"}
_SHORT |= {"spearmanr": "Spearman"}
_ABSENT = "-"
# Where these are not all the metrics of the task, or there is more than one subset: (metric, subset); None stands for
# the subset that chose the checkpoint.
_MEASURES = {
    "cola": (("matthews_correlation", None),),
    "mnli": (("accuracy", None), ("accuracy", "valid_mismatched")),
}
_HEADERS = {"mnli": "mnli (m / mm)"}
# What the text was that runs read, where they differ in it.
_READ = ("font", "render_mode", "structure", "attack")
_LABELS = ("model", "setting", "modality", *_READ)
_TSV_HEADER = ["table", *_LABELS, *"task metric mean std runs settings_tried best_settings".split()]


@dataclass(frozen=True)
class Column:
    """A task, or one number of it."""

    header: str
    task: str
    measures: tuple  # of (metric, subset)


@dataclass
class Cell:
    """What a model reached on a task, in percent, with the best of the settings that were tried."""

    means: list[float | None]  # of each measure, over the runs; None where one of them does not tell
    deviations: list[float | None]  # sample standard deviation; None of a single run
    runs: int
    tried: int  # number of settings
    chosen: str  # what of these settings differs from the others


@dataclass
class Row:
    """A model, read in one modality."""

    labels: tuple[str, ...]
    cells: list[Cell | None]
    average: float | None = None


@dataclass
class Table:
    """A table with the notes that belong below it."""

    title: str
    headers: tuple[str, ...]  # of the labels: attributes of runs
    columns: list[Column]
    averaged: bool  # whether each row has an average of all its tasks
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def tabulate(runs) -> list[Table]:
    """The tables of *runs*: GLUE with tasks of one's own, and XNLI; those of the two that there are."""
    tables = []
    glue = [run for run in runs if run.task != XNLI.name]
    if glue:
        names = [*GLUE_TASKS, *sorted({run.task for run in glue} - GLUE_TASKS.keys())]
        columns = [_column(name, glue) for name in names if any(run.task == name for run in glue)]
        headers = ("model", "modality", *_differing(glue))
        tables.append(_fill(Table("GLUE", headers, columns, averaged=True), glue))
        tables[-1].notes.insert(0, "average: of GLUE's nine tasks, each by the mean of its metrics")
    xnli = [run for run in runs if run.task == XNLI.name]
    if xnli:
        metrics = {language: f"accuracy_{language}" for language in LANGUAGES} | {"average": XNLI.best_metric}
        columns = [
            Column(header, XNLI.name, ((metric, None),))
            for header, metric in metrics.items()
            if any(run.score(metric) is not None for run in xnli)
        ]
        headers = ("model", "setting", "modality", *_differing(xnli))
        tables.append(_fill(Table("XNLI", headers, columns, averaged=False), xnli))
    return tables


def _differing(runs):
    """What was read that tells rows apart: that in which the runs differ, as far as is known."""
    values = {name: {getattr(run, name) for run in runs} for name in _READ}
    return [name for name, found in values.items() if len(found - {""}) > 1 or (name == "attack" and found != {""})]


def to_markdown(tables) -> str:
    """The tables in Markdown, in percent; scores of the best of several settings are marked with a star."""
    parts = []
    for table in tables:
        numbers = [column.header for column in table.columns] + ["average"] * table.averaged
        lines = [[*table.headers, *numbers], ["---"] * len(table.headers) + ["---:"] * len(numbers)]
        for row in table.rows:
            lines.append(
                [*(label or _ABSENT for label in row.labels), *map(_text, row.cells)]
                + [_number(row.average)] * table.averaged
            )
        notes = [f"* {note}" for note in table.notes]
        rows = [f"| {' | '.join(line)} |" for line in lines]
        parts.append("\n".join([f"### {table.title}, validation", "", *rows, "", *notes, ""]))
    return "\n".join(parts)


def to_tsv(tables) -> str:
    """The same numbers, one a line, for programs; empty where there is none."""
    lines = [_TSV_HEADER]
    for table in tables:
        for row in table.rows:
            names = dict(zip(table.headers, row.labels, strict=True))
            labels = [table.title, *(names.get(name, "") for name in _LABELS)]
            for column, cell in zip(table.columns, row.cells, strict=True):
                if cell is None:
                    continue
                for (metric, subset), mean, deviation in zip(column.measures, cell.means, cell.deviations, strict=True):
                    numbers = ["" if value is None else f"{value:.3f}" for value in (mean, deviation)]
                    measure = f"{metric} ({subset})" if subset else metric
                    lines.append([*labels, column.task, measure, *numbers, cell.runs, cell.tried, cell.chosen])
            if row.average is not None:
                lines.append([*labels, "all", "average", f"{row.average:.3f}", "", "", "", ""])
    return "".join("\t".join(map(str, line)) + "\n" for line in lines)


def _column(task, runs):
    if task in GLUE_TASKS:
        names = GLUE_TASKS[task][0].metrics
    else:
        names = next(run.metrics or (run.metric,) for run in runs if run.task == task)
    measures = _MEASURES.get(task, tuple((name, None) for name in names))
    default = (
        task if names == ("accuracy",) else f"{task} ({' / '.join(_SHORT.get(name, name) for name, _ in measures)})"
    )
    return Column(_HEADERS.get(task, default), task, measures)


def _fill(table, runs):
    """Add the rows, and the notes on them."""
    starts = {}  # labels -> starting point -> runs
    for run in runs:
        labels = tuple(getattr(run, name) for name in table.headers)
        starts.setdefault(labels, {}).setdefault(run.start, []).append(run)
    for (model, *rest), groups in sorted(starts.items()):
        for start, group in sorted(groups.items()):
            if not start and model != "from scratch":
                name = f"{model}, from scratch"
            else:  # what started from different checkpoints is no matter of seeds
                name = f"{model}, from {start}" if len(groups.keys() - {""}) > 1 else model
            row = Row((name, *rest), [_cell(group, column) for column in table.columns])
            table.rows.append(row)
            if table.averaged:
                row.average = _average(row, table)
            for column, cell in zip(table.columns, row.cells, strict=True):
                if cell is not None and cell.tried > 1:
                    which = ", ".join(filter(None, (*row.labels, column.task)))
                    table.notes.append(f"{which}: the best of {cell.tried} settings, {cell.chosen}")
    if any(cell and cell.tried > 1 for row in table.rows for cell in row.cells):
        table.notes.insert(0, "\\*: the best of several settings, chosen by their mean on the validation set itself")
    if any(cell and cell.runs > 1 for row in table.rows for cell in row.cells):
        table.notes.insert(0, "mean ± standard deviation over seeds")
    table.notes = list(dict.fromkeys(table.notes))
    return table


def _cell(runs, column):
    """The Cell of a row's *runs* on a task, or None if there is no run of it."""
    by_settings = {}
    for run in runs:
        if run.task == column.task:
            by_settings.setdefault(tuple(sorted(run.settings.items())), []).append(run)
    if not by_settings:
        return None
    sign = -1 if runs[0].metric == "loss" else 1
    settings, best = max(
        by_settings.items(), key=lambda item: sign * statistics.fmean(run.score(run.metric) for run in item[1])
    )
    means, deviations = [], []
    for metric, subset in column.measures:
        values = [run.score(metric, subset) for run in best]
        known = None not in values
        means.append(100 * statistics.fmean(values) if known else None)
        deviations.append(100 * statistics.stdev(values) if known and len(values) > 1 else None)
    same = set.intersection(*map(set, by_settings))
    chosen = ", ".join(f"{name} {value}" for name, value in settings if (name, value) not in same)
    return Cell(means, deviations, len(best), len(by_settings), chosen)


def _average(row, table):
    """The average over GLUE's tasks; None, with a note, where one of them is not known."""
    means = {column.task: cell.means for column, cell in zip(table.columns, row.cells, strict=True) if cell is not None}
    absent = [task for task in GLUE_TASKS if None in means.get(task, [None])]
    if absent:
        table.notes.append(
            f"{', '.join(filter(None, row.labels))}: no average: {', '.join(absent)} not known, or not in full"
        )
        return None
    return statistics.fmean(statistics.fmean(means[task]) for task in GLUE_TASKS)


def _text(cell):
    if cell is None:
        return _ABSENT
    numbers = (_number(*pair) for pair in zip(cell.means, cell.deviations, strict=True))
    return " / ".join(numbers) + ("\\*" if cell.tried > 1 else "")


def _number(mean, deviation=None):
    if mean is None:
        return _ABSENT
    return f"{mean:.1f}" if deviation is None else f"{mean:.1f} ± {deviation:.1f}"
