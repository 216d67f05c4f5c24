"""The table of how much models lose under attacks, in Markdown and for programs, and its plot."""

import io
import logging
import math
import statistics
from dataclasses import dataclass

from pixelgpt_fairseq.errors import UserError

_TSV_HEADER = "attack severity model metric mean std clean drop evaluations".split()
_PANELS_PER_ROW = 5


@dataclass(frozen=True)
class Score:
    """What the checkpoints of one name reached under an attack at a severity, in percent."""

    mean: float  # over checkpoints and seeds
    deviation: float | None  # sample standard deviation; None of a single evaluation
    evaluations: int
    clean: float  # the mean without an attack

    @property
    def drop(self) -> float:
        """How much lower the mean is than without an attack."""
        return self.clean - self.mean


def gather(evaluated, metric) -> dict[tuple[str | None, float, str], Score]:
    """Gather results into scores.

    Args:
        evaluated: (Model, Condition, record) of every evaluation.
        metric: its name.

    Returns:
        (attack, severity, name of the model) -> Score, in the order of the evaluations. Attack None, severity 0 is the
        unattacked text. Where a metric is undefined (one class was answered throughout), the score is NaN.
    """
    values = {}
    for model, condition, record in evaluated:
        value = record["metrics"].get(metric)
        key = condition.attack, condition.severity, model.name
        values.setdefault(key, []).append(math.nan if value is None else 100 * value)
    clean = {name: statistics.fmean(found) for (attack, _, name), found in values.items() if attack is None}
    return {
        key: Score(
            statistics.fmean(found), statistics.stdev(found) if len(found) > 1 else None, len(found), clean[key[2]]
        )
        for key, found in values.items()
    }


def to_markdown(scores, metric, task, notes=()) -> str:
    """The scores in Markdown: a row for every attack and severity, a column for every model."""
    names, rows = _names(scores), dict.fromkeys((attack, severity) for attack, severity, _ in scores)
    lines = [["attack", "severity", *names], ["---", "---:", *["---:"] * len(names)]]
    for attack, severity in rows:
        cells = [_cell(scores[attack, severity, name], attack) for name in names]
        lines.append([attack or "none", "" if attack is None else f"{severity:g}", *cells])
    several = any(score.evaluations > 1 for score in scores.values())
    deviation = " ± standard deviation over checkpoints and seeds" if several else ""
    listed = [f"{metric} in percent{deviation}; in parentheses, how much is lost against the text as it is", *notes]
    table = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([f"### Robustness: {task}", "", *table, "", *(f"* {note}" for note in listed), ""])


def to_tsv(scores_of_metrics) -> str:
    """The scores of every metric, one a line; empty where there is none.

    Args:
        scores_of_metrics: metric -> what :func:`gather` gives.
    """
    lines = [_TSV_HEADER]
    for metric, scores in scores_of_metrics.items():
        for (attack, severity, name), score in scores.items():
            numbers = (score.mean, score.deviation, score.clean, score.drop)
            shown = ["" if value is None or math.isnan(value) else f"{value:.3f}" for value in numbers]
            lines.append([attack or "none", f"{severity:g}", name, metric, *shown, score.evaluations])
    return "".join("\t".join(map(str, line)) + "\n" for line in lines)


def figure_class():
    """matplotlib's Figure, which plots are drawn on.

    Raises:
        UserError: if matplotlib is not installed.
    """
    # Importing fairseq lets everything through that any package logs, and matplotlib tells of every font it finds.
    logging.getLogger("matplotlib").setLevel(logging.WARNING)
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError(
            "the plot needs the package matplotlib: run `pip install 'pixelgpt-fairseq[plots]'`, or in the checkout "
            "`pip install -e '.[plots]' -c constraints.txt`; --no-plot leaves it out"
        ) from None
    return Figure


def plot(scores, metric, task) -> bytes:
    """The scores as a PNG: a panel for every attack, a line for every model, the score against the severity."""
    attacks = list(dict.fromkeys(attack for attack, _, _ in scores if attack is not None))
    names = _names(scores)
    columns = max(1, min(_PANELS_PER_ROW, len(attacks)))
    rows = max(1, math.ceil(len(attacks) / columns))
    figure = figure_class()(figsize=(2.6 * columns + 0.8, 2.4 * rows + 0.8), dpi=120, layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flatten()
    for panel, attack in zip(panels, attacks, strict=False):
        for name in names:
            points = [
                (severity, score)
                for (found, severity, model), score in scores.items()
                if model == name and found in (None, attack)
            ]
            points.sort(key=lambda point: point[0])
            panel.errorbar(
                [severity for severity, _ in points],
                [score.mean for _, score in points],
                [score.deviation or 0.0 for _, score in points],
                marker="o",
                markersize=3,
                capsize=2,
                linewidth=1.2,
                label=name,
            )
        panel.set_title(attack, fontsize=10)
        panel.grid(alpha=0.3)
    for panel in panels[len(attacks) :]:
        panel.set_visible(False)
    for panel in panels[max(0, len(attacks) - columns) : len(attacks)]:  # also those above an empty place
        panel.tick_params(labelbottom=True)
    figure.supxlabel("severity", fontsize=10)
    figure.supylabel(f"{task}, {metric} (%)", fontsize=10)
    if attacks:
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=min(len(names), 4), fontsize=9)
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()


def _names(scores):
    return list(dict.fromkeys(name for _, _, name in scores))


def _cell(score, attack):
    number = f"{score.mean:.1f}" + ("" if score.deviation is None else f" ± {score.deviation:.1f}")
    return number if attack is None else f"{number} (-{score.drop:.1f})".replace("(--", "(+")
