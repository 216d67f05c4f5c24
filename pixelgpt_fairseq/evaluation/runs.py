"""Reads settings and best scores of fine-tuning runs from their checkpoints and logs."""

import ast
import itertools
import json
import logging
import math
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from pixelgpt_fairseq.checkpoints.loading import read_state
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.rendering.config import RendererConfig
from pixelgpt_fairseq.storage.files import read_json

logger = logging.getLogger(__name__)

_LONGEST_LINE = 1 << 20
# Options that distinguish runs, with their groups in fairseq's configuration.
_OPTIONS = {
    "seed": "common",
    "lr": "optimization",
    "max_update": "optimization",
    "update_freq": "optimization",
    "clip_norm": "optimization",
    "batch_size": "dataset",
    "max_tokens": "dataset",
    "valid_subset": "dataset",
    "distributed_world_size": "distributed_training",
    "finetune_from_model": "checkpoint",
    "best_checkpoint_metric": "checkpoint",
    "maximize_best_checkpoint_metric": "checkpoint",
    "save_dir": "checkpoint",
    "dropout": "model",
    "glue_task": "task",
    "modality": "task",
    "metrics": "task",
    "max_positions": "task",
    "setting": "task",
    "weight_decay": "optimizer",
    "warmup_updates": "lr_scheduler",
}
# Settings by which runs are grouped: runs of one group differ only in their seed.
_SETTINGS = (
    "lr", "batch", "max_tokens", "max_update", "warmup_updates", "weight_decay", "clip_norm", "dropout", "max_positions"
)  # fmt: skip
_FOLDER = re.compile(r"(?P<model>[^-]+)-(?P<task>[^-]+)-(?P<modality>text|pixel|pair)")  # pixelgpt finetune's
_SIMPLE = re.compile(r"valid on '([^']+)' subset \| (.*)")
_JSON = re.compile(r'\{"epoch": .*\}')


@dataclass
class Run:
    """A run: what it was, and its scores where it was best."""

    path: Path  # folder of its checkpoints, or its log
    model: str
    task: str
    modality: str
    setting: str  # XNLI's translate-train-all or cross-lingual-transfer; empty for other tasks
    start: str  # the checkpoint that it was fine-tuned from; empty: from scratch
    seed: int
    settings: dict  # the rest of what may be tried out: lr, batch (examples an update), ...
    metric: str  # by which the best validation was chosen
    metrics: tuple[str, ...] = ()  # the task's, where a checkpoint tells them
    font: str = ""  # of the strips that it read; empty: it read none, or nothing tells
    render_mode: str = ""  # likewise
    structure: str = ""  # likewise
    attack: str = ""  # on the text that it was trained on; empty: none, or nothing tells
    scores: dict = field(default_factory=dict)  # subset -> metric -> value; the subset that chose comes first

    def score(self, metric, subset=None):
        """A score, or None; *subset* None stands for the one that chose."""
        first = next(iter(self.scores), None)
        return self.scores.get(subset or first, {}).get(metric)


@dataclass
class Log:
    """What a log file of fairseq-train tells."""

    options: dict = field(default_factory=dict)
    validations: dict = field(default_factory=dict)  # updates -> subset -> metric -> value


def find_runs(paths) -> list[Run]:
    """Find the runs in folders, and in folders in them; or those of log files.

    Args:
        paths: folders (the checkpoints of a run with its logs beside them, or one folder up as Hydra has them) and log
            files (``--log-file``, or what fairseq-train printed).

    Raises:
        UserError: if a path is absent, or there is no run with a validation. What else lies there is left out with a
            warning.
    """
    runs = {}
    for path in map(Path, paths):
        if not path.exists():
            raise UserError(f"{path}: no such file or folder")
        places = list(_places(path) if path.is_dir() else [_place_of_file(path)])
        if not places:
            raise UserError(f"{path}: no checkpoints (checkpoint_best.pt) and no logs (*.log) in it")
        runs.update({run.path.resolve(): run for run in itertools.starmap(_read_run, places) if run is not None})
    if not runs:
        raise UserError(f"{', '.join(map(str, paths))}: no run of fairseq-train with labels and a validation")
    return list(runs.values())


def read_log(path) -> Log:
    """Read a log file in either of the formats ``simple`` and ``json``, as ``--log-file`` or as printed.

    Raises:
        UserError: if it cannot be read.
    """
    log, latest = Log(), 0
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in iter(lambda: file.readline(_LONGEST_LINE), ""):
                if "{'_name': None, 'common':" in line:
                    log.options = _options_of_line(line)
                found = _validation(line)
                if found is None:
                    continue
                subset, updates, values = found
                if updates < latest:  # the run was resumed from an earlier state
                    log.validations = {known: value for known, value in log.validations.items() if known < updates}
                latest = updates
                log.validations.setdefault(updates, {})[subset] = values
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    return log


def _validation(line):
    """(subset, updates, metric -> value), or None if the line reports no validation."""
    simple = _SIMPLE.search(line)
    if simple:
        subset, values = simple[1], dict(part.split(None, 1) for part in simple[2].split(" | ") if " " in part.strip())
    else:
        match = _JSON.search(line)
        try:
            values = json.loads(match[0]) if match else {}
        except json.JSONDecodeError:
            return None
        name = next((key for key in values if key.endswith("_num_updates")), "train_")
        subset = name.removesuffix("_num_updates")
        if subset.startswith("train"):
            return None
        values = {key.removeprefix(f"{subset}_"): value for key, value in values.items()}
    numbers = {}
    for name, value in values.items():
        try:
            numbers[name] = float(value)
        except (TypeError, ValueError):
            continue
    updates = numbers.pop("num_updates", math.nan)
    return None if math.isnan(updates) else (subset, int(updates), numbers)


def _options_of_line(line):
    """The options that fairseq-train prints first: a dictionary as Python writes it, but for enumerations."""
    options = {}
    for name in _OPTIONS:
        match = re.search(rf"'{name}': ('[^']*'|\[[^\]]*\]|[^,}}]+)", line)
        if match:
            try:
                options[name] = ast.literal_eval(match[1])
            except (ValueError, SyntaxError):
                options[name] = match[1]
    task = re.search(r"'task': \{'_name': '(\w+)'", line)
    return {**options, "task": task[1]} if task else options


def _options_of_checkpoint(state):
    groups = {group: state["cfg"].get(group) or {} for group in {*_OPTIONS.values(), "task"}}
    options = {name: groups[group].get(name) for name, group in _OPTIONS.items()}
    options["task"] = groups["task"].get("_name")
    options["classification"] = state["task_state"].get("classification")
    options["renderer"] = state["task_state"]["data_settings"].get("renderer")
    return options


def _place_of_file(path):
    return (path.parent, path, []) if path.suffix == ".pt" else (path, None, [path])


def _places(top):
    """Yield (folder, checkpoint or None, logs) of every run below a folder; a log without checkpoints is one, too."""
    checkpoints, logs = {}, {}
    for folder, _, names in sorted(os.walk(top)):
        folder = Path(folder)
        logs[folder] = [folder / name for name in sorted(names) if name.endswith(".log")]
        there = [name for name in ("checkpoint_best.pt", "checkpoint_last.pt") if name in names]
        if there:
            checkpoints[folder] = folder / there[0]
    taken = set()
    for folder, checkpoint in checkpoints.items():
        beside = logs[folder]
        if not beside and folder.parent not in checkpoints:  # Hydra's: a log beside the folder of the checkpoints
            above = logs.get(folder.parent, sorted(folder.parent.glob("*.log")))
            beside = [log for log in above if Path(read_log(log).options.get("save_dir") or "").name == folder.name]
        taken.update(beside)
        yield folder, checkpoint, beside
    for log in sorted({log for each in logs.values() for log in each} - taken):
        if read_log(log).validations:
            yield log, None, [log]


def _read_run(path, checkpoint, logs):
    """The Run in a folder, or None (with a warning) if it never reached a validation."""
    read = [read_log(log) for log in logs]
    validations = {updates: scores for log in read for updates, scores in log.validations.items()}
    options = {name: value for log in read for name, value in log.options.items()}
    state = read_state(checkpoint) if checkpoint else None
    if state:
        options = _options_of_checkpoint(state)
    run = _identify(path, options)
    if run is None:
        logger.warning(
            f"{path}: left out: not a run of --task rendered_glue or rendered_xnli, or it does not say which"
        )
        return None
    best = (state.get("extra_state") or {}).get("best") if state else None
    if state and best is not None:
        updates = state["optimizer_history"][-1]["num_updates"]
        run.scores = validations.get(updates, {})
        known = run.score(run.metric)
        if known is None or not math.isclose(known, best, abs_tol=1e-4):  # no log, or that of another run
            run.scores = {str(options.get("valid_subset") or "valid").split(",")[0]: {run.metric: float(best)}}
    elif validations:
        run.scores = _best(validations, run, options.get("maximize_best_checkpoint_metric", run.metric != "loss"))
    if run.score(run.metric) is None:
        logger.warning(f"{path}: left out: no validation with {run.metric}")
        return None
    return run


def _best(validations, run, maximize):
    """The scores of the best validation; the last of equal ones, as in fairseq."""
    sign = 1 if maximize else -1

    def rank(item):
        scores = next(iter(item[1].values())).get(run.metric, -sign * math.inf)
        return sign * scores, item[0]

    return max(validations.items(), key=rank)[1]


def _identify(path, options):
    """A Run without scores from options and the name of its folder; None if it is none that has labels."""
    folder = next((match for part in reversed(path.resolve().parts) if (match := _FOLDER.fullmatch(part))), None)
    layout = folder.groupdict() if folder else {}
    task = (options.get("classification") or {}).get("name") or options.get("glue_task")
    if not task and options.get("task") == "rendered_xnli":
        task = "xnli"
    task, modality = task or layout.get("task"), options.get("modality") or layout.get("modality")
    if not task or not modality:
        return None
    start = str(options.get("finetune_from_model") or "")
    record = _record(path)
    model = _recipe_model(record) or layout.get("model")
    if not model:
        model = _name_of_start(start) if start else "from scratch"
    setting = str(options.get("setting") or "") if task == "xnli" else ""
    factors = [
        options.get("batch_size"),
        *(options.get("update_freq") or [1])[:1],
        options.get("distributed_world_size"),
    ]
    options["batch"] = math.prod(factor or 1 for factor in factors) if options.get("batch_size") else None
    options["lr"] = (options.get("lr") or [None])[0]
    settings = {name: options[name] for name in _SETTINGS if options.get(name) is not None}
    metric = options.get("best_checkpoint_metric") or "loss"
    chosen = str(options.get("metrics") or "").split(",")
    metrics = tuple(chosen if any(chosen) else (options.get("classification") or {}).get("metrics", ()))
    seed, attack = options.get("seed"), str(record.get("attack") or "")
    look = _look(options.get("renderer") or {}, record) if modality != "text" else ("", "", "")
    return Run(path, model, task, str(modality), setting, start, seed, settings, metric, metrics, *look, attack)


def _look(renderer, record):
    """(fonts, render mode, structure) of strips: as the data's settings have them, or as a side experiment records."""
    fonts = [font.get("name") for font in renderer.get("fonts") or () if isinstance(font, dict)]
    names = "+".join(Path(str(name)).stem for name in fonts)
    mode = str(renderer.get("render_mode") or record.get("render_mode") or "")
    structure = str(renderer.get("structure") or RendererConfig.structure) if renderer else ""
    return names or str(record.get("font") or ""), mode, structure


def _name_of_start(start):
    """The name of the checkpoint that a model was fine-tuned from: the folder of its run.

    ``checkpoints`` is what every run calls the folder in its own: the name of the run is one level up.
    """
    folders = [name for name in Path(start).parts[:-1] if name not in ("checkpoints", "..", os.sep)]
    return folders[-1] if folders else Path(start).stem


def _record(path):
    """What pixelgpt finetune wrote of a run; empty if it is none of its runs."""
    record = (path if path.is_dir() else path.parent) / "run.json"
    found = read_json(record) if record.exists() else None
    return found if isinstance(found, dict) else {}


def _recipe_model(record):
    """The model whose recipe pixelgpt finetune followed, where its record says so."""
    recipe = record.get("recipe")
    return recipe.partition(",")[0] if isinstance(recipe, str) else None
