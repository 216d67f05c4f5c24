"""The settings that define a training run, and a check that a checkpoint folder holds the run that a command asks for.

fairseq resumes whatever checkpoint it finds in ``--save-dir``; with a different learning rate, seed or data, the result
would be that of neither run. Checkpoints hold the whole configuration, so the two can be compared.
"""

import ast
import logging
import os
from argparse import Namespace
from pathlib import Path

from omegaconf import OmegaConf

from pixelgpt_fairseq.checkpoints.loading import read_state
from pixelgpt_fairseq.data.data_folder import DataFolder
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.models.architectures import ARCHITECTURES, SETTINGS

logger = logging.getLogger(__name__)

_GROUPS = ("task", "model", "criterion", "optimizer", "lr_scheduler")
# Options of these groups that do not define the run: where, how fast and how long it runs, or copies of others.
_NOT_OF_THE_RUN = {
    "task": (
        *("data", "pixel_source", "glue_task", "metrics", "continue_anyway", "resume_interval_updates", "update_freq"),
        *("finetune_from_model", "restore_file", "save_dir", "checkpoint_suffix"),
    ),
    "model": ("_name", "checkpoint_activations", "compile", "tf32"),
    "criterion": (),
    "optimizer": ("lr", "tpu", "bf16", "fp16_adam_stats", "use_old_adam", "block_wise"),
    "lr_scheduler": ("lr", "max_update", "total_num_update", "lr_period_updates", "min_lr", "warmup_init_lr"),
}
# Settings that come from the checkpoint where the command does not give them.
_OPEN = {f"--{name}".replace("_", "-") for name in ("pair_patches", *ARCHITECTURES["pixelgpt"], *SETTINGS)}
# If one of these changes, fairseq cannot load the optimizer state of the checkpoint.
_OF_THE_OPTIMIZER = ("--optimizer", "--criterion", "precision")
_ANOTHER_FOLDER = "choose another --save-dir (Hydra: hydra.run.dir)"
# Fields of a manifest that describe how a split is stored; all others describe its contents.
_STORAGE = ("files", "checksums", "shards", "store", "version")


def check_same_run(cfg):
    """Check that the checkpoint folder is empty or holds the run that the command asks for.

    The same run may be longer; may validate, log and save differently; may use other GPUs, or another number of workers
    with the same effective batch; and may reach the same data by another path.

    Args:
        cfg: fairseq's whole configuration, with the number of workers.

    Raises:
        UserError: if the folder holds another run and ``--continue-anyway`` is not given, or cannot help; the message
            names what differs.
    """
    found = _newest_checkpoint(cfg.checkpoint)
    if found is None:
        return
    state = read_state(found)
    asked = OmegaConf.to_container(cfg, resolve=True, enum_to_str=True)
    differences = differing_settings(asked, state["cfg"], state["task_state"].get("data_settings"))
    if not differences:
        return
    if not cfg.task.continue_anyway:
        raise UserError(
            f"{cfg.checkpoint.save_dir}: holds another run: {_listed(differences)}: {_ANOTHER_FOLDER}, or go on with "
            "that run in spite of this by --continue-anyway (task.continue_anyway=true)"
        )
    if not cfg.checkpoint.reset_optimizer and not differences.keys().isdisjoint(_OF_THE_OPTIMIZER):
        raise UserError(
            f"{found}: the state of its optimizer is of no use with {_listed(differences)}: give --reset-optimizer "
            "(checkpoint.reset_optimizer=true) as well"
        )
    logger.warning(f"{found}: trained with other settings: {_listed(differences)}: going on with this command's")


def check_same_task(cfg):
    """Check that the checkpoint folder holds no run of another task: such a run can never be resumed.

    Args:
        cfg: fairseq's whole configuration.

    Raises:
        UserError: if it does.
    """
    found = _newest_checkpoint(cfg.checkpoint)
    if found is None:
        return
    held = (read_state(found)["cfg"].get("task") or {}).get("_name")
    if held != cfg.task._name:
        raise UserError(
            f"{cfg.checkpoint.save_dir}: holds another run: --task {cfg.task._name}, not {held}: {_ANOTHER_FOLDER}; "
            f"--finetune-from-model {found} begins with the weights of that run"
        )


def _newest_checkpoint(cfg):
    names = [f"checkpoint_{name}{cfg.checkpoint_suffix}.pt" for name in ("last", "best")]
    paths = [os.path.join(cfg.save_dir, name) for name in names]
    return next((path for path in paths if os.path.exists(path)), None)


def differing_settings(asked, held, held_data=None) -> dict:
    """The settings in which two runs differ: setting -> (value asked for, value held), both as text.

    Args:
        asked: the configuration of a command: group -> options.
        held: that of a checkpoint of the same task.
        held_data: its ``data_settings``: how its data were made.
    """
    paths = {"data": (_data, _same_data), "--finetune-from-model": (_start, _same_start)}
    differences = {}
    for name, (paths_of, same) in paths.items():
        ours, theirs = paths_of(asked), paths_of(held)
        if len(ours) != len(theirs) or not all(same(*pair, asked) for pair in zip(ours, theirs, strict=True)):
            differences[name] = ":".join(ours), ":".join(theirs)
    ours, theirs = _settings(asked), _settings(held)
    theirs["--pair-patches"] = theirs.get("--pair-patches") or (held_data or {}).get("pair_patches")
    for name in dict.fromkeys((*ours, *theirs)):
        pair = ours.get(name), theirs.get(name)
        if pair[0] != pair[1] and (pair[0] is not None or name not in _OPEN):
            differences[name] = pair
    return {name: tuple(map(_told, pair)) for name, pair in differences.items()}


def _listed(differences):
    return "; ".join(f"{name} {asked}, not {held}" for name, (asked, held) in differences.items())


def _settings(cfg):
    """Option -> value, for the settings of a run that are not paths."""
    optimization, dataset = cfg["optimization"], cfg["dataset"]
    workers = cfg["distributed_training"]["distributed_world_size"]
    shares = [workers * each for each in optimization["update_freq"]]
    found = {"--seed": cfg["common"]["seed"], "--lr": optimization["lr"], "--clip-norm": optimization["clip_norm"]}
    for option, values in (("--batch-size", dataset["batch_size"]), ("--max-tokens", dataset["max_tokens"])):
        name = f"{option} x --update-freq x workers"
        found[name] = None if values is None else [values * share for share in shares]
    found["--train-subset"] = dataset["train_subset"]
    found["precision"] = _precision(cfg["common"])
    for group in _GROUPS:
        options = cfg[group] or {}
        if isinstance(options, Namespace):
            options = vars(options)
        if isinstance(options, str):  # with Hydra, a component may be given by its name alone
            options = {"_name": options}
        elif group in options:  # a component without a dataclass receives all options of the command
            options = {"_name": options[group]}
        for name, value in options.items():
            if name not in _NOT_OF_THE_RUN[group]:
                found.setdefault(f"--{group if name == '_name' else name}".replace("_", "-"), value)
    for name, size in ARCHITECTURES.get(_named_size(cfg["model"]), {}).items():
        option = f"--{name}".replace("_", "-")
        found[option] = found.get(option) or size
    schedule = cfg["lr_scheduler"] if isinstance(cfg["lr_scheduler"], dict) else {}
    if schedule.get("min_lr") is not None:  # fairseq lowers it to --lr
        found["--min-lr"] = min(schedule["min_lr"], *optimization["lr"])
    return {name: _plain(value) for name, value in found.items()}


def _precision(common):
    """The precision, as far as it changes which fairseq optimizer is used."""
    if common["amp"]:
        return "amp"
    for efficient in ("", "memory_efficient_"):
        if common[f"{efficient}fp16"] or common[f"{efficient}bf16"]:
            return f"{efficient.replace('_', '-')}fp16 or bf16"
    return "fp32"


def _named_size(model):
    # "pixelgpt" is also the name of the model class, so its sizes may come from a checkpoint.
    return model["_name"] if model["_name"] != "pixelgpt" else None


def _plain(value):
    """*value* in a canonical form for comparison: ``"(0.9, 0.999)"``, a tuple and a list become equal."""
    if isinstance(value, str):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            return value
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def _told(value):
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return "(none)" if value in (None, "") else str(value)


def _data(cfg):
    return [path for path in str(cfg["task"].get("data")).split(":") if path]


def _start(cfg):
    path = cfg["checkpoint"].get("finetune_from_model")
    return [] if path is None else [path]


def _same_path(path, held):
    return path == held or os.path.realpath(path) == os.path.realpath(held)


def _same_start(path, held, cfg):
    # fairseq reads this file only at the start of a run; it may have been moved or removed since.
    return _same_path(path, held) or not os.path.exists(path)


def _same_data(path, held, cfg):
    """Whether two paths lead to the same data: the same folder, or copies. A missing folder counts as moved."""
    if _same_path(path, held):
        return True
    if not os.path.isdir(held):
        return Path(path).resolve().name == Path(held).name
    split = cfg["dataset"]["train_subset"]
    contents = [_contents(DataFolder(each), split) for each in (path, held)]
    return contents[0] == contents[1]


def _contents(folder, split):
    """The contents of *split* according to its manifests (XNLI: one manifest per language)."""
    return {
        name: {key: value for key, value in folder.read_manifest(name).items() if key not in _STORAGE}
        for name in folder.splits()
        if name == split or name.startswith(f"{split}.")
    }
