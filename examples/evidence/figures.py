#!/usr/bin/env python3
"""Tables and plots of a run of run.py, from the logs and results in its folder."""

import argparse
import io
import shutil
import statistics
from pathlib import Path

from budgets import MODALITIES, REGIMES
from plan import CHOOSES, LONG, SCRATCH

from pixelgpt_fairseq.errors import command
from pixelgpt_fairseq.evaluation.robustness_table import figure_class
from pixelgpt_fairseq.evaluation.runs import read_log
from pixelgpt_fairseq.storage.files import read_json, write_whole

WORDS = 10  # of the longest lines that are read


def validations(work, name):
    """The validations of a stage: updates -> metric -> value; none if it was not started."""
    log = work / "logs" / f"{name}.log"
    found = read_log(log).validations if log.exists() else {}
    return {updates: subsets["valid"] for updates, subsets in found.items()}


def finetuned(work, task, metric):
    """Best validation of each run of fine-tuning, in percent: modality -> updates of pretraining -> a value a seed."""
    scores = {modality: {} for modality in MODALITIES}
    for path in sorted((work / "logs").glob(f"{task}-*-*-*.log")):
        name, modality, point, _ = path.stem.rsplit("-", 3)
        if name == task:  # not one that was trained on attacked text
            values = [100 * found[metric] for found in validations(work, path.stem).values()]
            updates = 0 if point == SCRATCH else int(point)
            scores[modality].setdefault(updates, []).extend([max(values)] if values else [])
    return {
        name: {point: points[point] for point in sorted(points) if points[point]} for name, points in scores.items()
    }


def longer_curves(work, task, metric):
    """The score of the runs with more updates, in percent: modality -> updates of fine-tuning -> a value a seed."""
    curves = {}
    for path in sorted((work / "logs").glob(f"{task}-{LONG}-*-*-*.log")):
        _, modality, _, _ = path.stem.rsplit("-", 3)
        for updates, values in validations(work, path.stem).items():
            curves.setdefault(modality, {}).setdefault(updates, []).append(100 * values[metric])
    return curves


def reading(work):
    """What the model reads: updates -> number of words -> record of reading.py."""
    found = {int(path.stem): read_json(path, dict) for path in (work / "reading").glob("*.json")}
    return {updates: {int(words): record for words, record in found[updates].items()} for updates in sorted(found)}


def error_rate(records):
    """Edits per 100 characters of records of reading."""
    return 100 * sum(record["edits"] for record in records) / sum(record["characters"] for record in records)


def losses(work):
    """Losses of the four regimes on held-out sentences: regime -> metric -> updates -> value."""
    found = {}
    for regime in REGIMES:
        for updates, values in validations(work, f"regime-{regime}").items():
            for metric, value in values.items():
                if metric.endswith(("patch_loss", "token_loss")):
                    found.setdefault(regime, {}).setdefault(metric, {})[updates] = value
    return found


def mean_text(values):
    """Mean and sample standard deviation of a few values."""
    mean = f"{statistics.fmean(values):.1f}"
    return f"{mean} ± {statistics.stdev(values):.1f}" if len(values) > 1 else mean


def table(rows):
    """Rows of cells in Markdown; the first is the header, the first column names."""
    rule = ["---", *["---:"] * (len(rows[0]) - 1)]
    return "".join(f"| {' | '.join(map(str, row))} |\n" for row in (rows[0], rule, *rows[1:]))


def finetuning_table(scores):
    """A row for each modality, a column for each point."""
    points = sorted({updates for found in scores.values() for updates in found})
    rows = [["updates of pretraining", *points]]
    for modality, found in scores.items():
        if not found:
            continue
        rows.append([modality, *(mean_text(found[updates]) if updates in found else "" for updates in points)])
    return table(rows)


def reading_table(results):
    """Errors by the number of words, a row for each point."""
    lengths = sorted(next(iter(results.values())))
    rows = [["updates", *(f"{words} words" for words in lengths), "all", "exact, all"]]
    for updates, records in results.items():
        exact = sum(r["exact"] for r in records.values()) / sum(r["lines"] for r in records.values())
        cells = [f"{error_rate([records[words]]):.1f}" for words in lengths]
        rows.append([updates, *cells, f"{error_rate(records.values()):.1f}", f"{100 * exact:.0f} %"])
    return table(rows)


def losses_table(found):
    """The last loss of every stream, a row for each regime."""
    metrics = list(dict.fromkeys(metric for metrics in found.values() for metric in metrics))
    rows = [["", *(metric.replace("_", " ") for metric in metrics)]]
    for regime, known in found.items():
        last = {metric: f"{points[max(points)]:.3f}" for metric, points in known.items()}
        rows.append([regime, *(last.get(metric, "") for metric in metrics)])
    return table(rows)


def figure(panels, width=4.2, height=3.2):
    """A figure, and its panels in a row."""
    drawn = figure_class()(figsize=(width * panels, height), dpi=120, layout="constrained")
    return drawn, drawn.subplots(1, panels, squeeze=False)[0]


def png(drawn):
    """The bytes of a figure."""
    content = io.BytesIO()
    drawn.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()


def label(panel, x, y):
    """Label the axes of a panel."""
    panel.set_xlabel(x)
    panel.set_ylabel(y)
    panel.grid(alpha=0.3)


def plot_scores(panel, points, **style):
    """A line through the means of *points* (updates -> a value a seed); bars are deviations."""
    updates = sorted(points)
    means = [statistics.fmean(points[update]) for update in updates]
    deviations = [statistics.stdev(points[update]) if len(points[update]) > 1 else 0 for update in updates]
    panel.errorbar(updates, means, deviations, capsize=3, **style)


def plot_finetuning(scores, longer, task, metric):
    """The score against updates of pretraining, a line for each modality; bars are deviations over seeds.

    Args:
        scores: what :func:`finetuned` gives.
        longer: the same of runs with more updates of fine-tuning: a star each.
        task, metric: names.
    """
    drawn, (panel,) = figure(1, 5.5, 3.6)
    for found, more, marker in ((scores, "", "o-"), (longer, ", longer fine-tuning", "*")):
        for color, (modality, points) in enumerate(found.items()):
            if points:
                plot_scores(panel, points, fmt=marker, color=f"C{color}", label=f"{modality}{more}")
    label(panel, "updates of pretraining (0: from scratch)", f"{task}, best validation, {metric} (%)")
    panel.legend(fontsize=8)
    return png(drawn)


def plot_longer(runs, task, metric):
    """The score against updates of fine-tuning; bars are deviations over seeds.

    Args:
        runs: label -> what :func:`longer_curves` gives.
        task, metric: names.
    """
    drawn, (panel,) = figure(1, 5.5, 3.6)
    for run, curves in runs.items():
        for modality, points in curves.items():
            plot_scores(panel, points, fmt="o-", markersize=4, label=f"{modality}, {run}")
    label(panel, "updates of fine-tuning", f"{task}, validation, {metric} (%)")
    panel.legend(fontsize=8)
    return png(drawn)


def plot_reading(results):
    """The character error rate against updates and against the number of words."""
    drawn, (over_updates, over_words) = figure(2)
    for longest in (1, 4, WORDS):
        rates = [error_rate([r for words, r in found.items() if words <= longest]) for found in results.values()]
        name = "1 word" if longest == 1 else f"1 to {longest} words"
        over_updates.plot(list(results), rates, marker="o", markersize=4, label=name)
    for updates, found in results.items():
        rates = [error_rate([record]) for record in found.values()]
        over_words.plot(list(found), rates, marker="o", markersize=4, label=f"{updates} updates")
    label(over_updates, "updates of pretraining", "character error rate (%)")
    label(over_words, "words in the line", "character error rate (%)")
    for panel in (over_updates, over_words):
        panel.set_ylim(0, 105)
        panel.legend(fontsize=8)
    return png(drawn)


def plot_losses(found):
    """Next patch and next token loss against updates, a line for each regime and stream."""
    drawn, panels = figure(2)
    for panel, kind in zip(panels, ("patch", "token"), strict=True):
        for regime, metrics in found.items():
            for metric, points in metrics.items():
                stream, ending = metric.split("_", 1)
                if ending == f"{kind}_loss":
                    style = "--" if stream == "pair" else "-"
                    panel.plot(list(points), list(points.values()), style, label=f"{regime}, {stream}")
        label(panel, "updates", f"next {kind} loss, held-out sentences")
        panel.legend(fontsize=8)
    return png(drawn)


def get_parser():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, metavar="DIR", help="the --output of run.py")
    parser.add_argument("--text", type=Path, required=True, metavar="DIR", help="what corpus.py has made")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="for tables and plots")
    parser.add_argument(
        "--beside",
        type=_named_folder,
        nargs="*",
        default=[],
        metavar="NAME=DIR",
        help="other folders of run.py, whose longer fine-tuning is plotted beside that of this one",
    )
    return parser


def _named_folder(text):
    name, _, folder = text.partition("=")
    if not name or not Path(folder, "logs").is_dir():
        raise argparse.ArgumentTypeError(f"{text}: give NAME=DIR, where DIR is the --output of a run.py")
    return name, Path(folder)


@command
def main(argv=None):
    """Write tables.md and the plots of what is there; those of an earlier time are replaced."""
    args = get_parser().parse_args(argv)
    work, output, parts = args.work, args.output, []
    output.mkdir(parents=True, exist_ok=True)
    for task, metric in CHOOSES.items():
        scores, longer = finetuned(work, task, metric), finetuned(work, f"{task}-{LONG}", metric)
        if any(scores.values()):
            parts.append(f"## {task}, best validation, {metric} in percent\n\n{finetuning_table(scores)}")
            write_whole(output / f"{task}.png", plot_finetuning(scores, longer, task, metric))
        if any(longer.values()):
            parts.append(f"## {task}, the same with more updates of fine-tuning\n\n{finetuning_table(longer)}")
            folders = {"this run": work, **dict(args.beside)}
            curves = {name: longer_curves(folder, task, metric) for name, folder in folders.items()}
            write_whole(output / f"{task}_longer.png", plot_longer(curves, task, metric))
    if read := reading(work):
        parts.append(f"## Reading: edits in 100 characters\n\n{reading_table(read)}")
        write_whole(output / "reading.png", plot_reading(read))
    if lost := losses(work):
        parts.append(f"## Losses of the four regimes on held-out sentences\n\n{losses_table(lost)}")
        write_whole(output / "losses.png", plot_losses(lost))
    robustness = work / "robustness"
    if (robustness / "robustness.md").exists():
        parts.append("#" + (robustness / "robustness.md").read_text(encoding="utf-8").lstrip("#"))
        shutil.copyfile(robustness / "robustness.png", output / "robustness.png")
    parts.append(f"## Text\n\n{(args.text / 'report.md').read_text(encoding='utf-8')}")
    write_whole(output / "tables.md", "\n".join(parts))
    print(output / "tables.md")


if __name__ == "__main__":
    main()
