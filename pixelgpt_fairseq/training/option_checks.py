"""Checks of fairseq-train's options, made before any data or model is loaded; each raises a one-line error."""

import importlib.util
import inspect
import logging
import os
import tempfile

from fairseq import criterions, models
from omegaconf import OmegaConf

from pixelgpt_fairseq.criterions.metrics import METRICS
from pixelgpt_fairseq.criterions.text_scores import FALLING
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.models.architectures import ARCHITECTURES
from pixelgpt_fairseq.models.pixelgpt import PixelGPTModel

logger = logging.getLogger(__name__)

_ARCHITECTURES = ", ".join(ARCHITECTURES)
NO_ARCHITECTURE = (
    f"no --arch (Hydra: model._name): the models of this package are {_ARCHITECTURES}; with --finetune-from-model, "
    "--arch pixelgpt takes the sizes of the checkpoint"
)
_PACKAGE = __package__.partition(".")[0]


def check_options(cfg, task):
    """Check the options of fairseq-train, before any data or model is loaded.

    Args:
        cfg: fairseq's whole configuration.
        task: the class of the task, a :class:`~pixelgpt_fairseq.tasks.rendered_task.RenderedTask`.

    Raises:
        UserError: naming the option and what to give instead.
    """
    name = cfg.task._name
    task.modalities_of(cfg.task)
    architecture = getattr(cfg.model, "_name", None)
    if architecture is None:
        raise UserError(NO_ARCHITECTURE)
    model = models.ARCH_MODEL_REGISTRY.get(architecture) or models.MODEL_REGISTRY.get(architecture)
    if not (inspect.isclass(model) and issubclass(model, PixelGPTModel)):
        raise UserError(f"--arch {architecture}: --task {name} trains {_ARCHITECTURES}")
    criterion = getattr(cfg.criterion, "_name", None)
    chosen, expected = (criterions.CRITERION_REGISTRY.get(each) for each in (criterion, task.criterion_name))
    # A user-defined criterion is accepted unchecked; fairseq's own and those of our other tasks cannot work.
    foreign = not inspect.isclass(chosen) or chosen.__module__.split(".")[0] in ("fairseq", _PACKAGE)
    if foreign and not (inspect.isclass(chosen) and issubclass(chosen, expected)):
        asked = f"--criterion {criterion}"
        if criterion in (None, "cross_entropy"):  # fairseq's default
            asked = "no --criterion, or fairseq's own"
        raise UserError(f"{asked}: --task {name} needs --criterion {task.criterion_name}")
    if cfg.optimizer is None:
        raise UserError("no --optimizer: the recipes train with --optimizer fused_adamw")
    if cfg.dataset.max_tokens is None and cfg.dataset.batch_size is None:
        raise UserError("no --batch-size (examples) and no --max-tokens (patches and tokens): give one of them")
    _check_rate(cfg)
    backend = cfg.distributed_training.ddp_backend
    if backend in ("fully_sharded", "slowmo") and importlib.util.find_spec("fairscale") is None:
        raise UserError(
            f"--ddp-backend {backend}: needs the package fairscale (pip install fairscale), which is no longer "
            "maintained: models of this size train with pytorch_ddp or legacy_ddp"
        )
    if not cfg.dataset.disable_validation:
        _check_validation(cfg, task)


def _check_rate(cfg):
    """Refuse a cosine schedule without updates after the warm-up: fairseq would divide by zero at the last update."""
    scheduler, last = cfg.lr_scheduler, cfg.optimization.max_update
    if getattr(scheduler, "_name", None) != "cosine" or scheduler.lr_period_updates > 0:
        return
    if not last:
        raise UserError("no --max-update: --lr-scheduler cosine needs it, or --lr-period-updates")
    if last == scheduler.warmup_updates:
        raise UserError(
            f"--warmup-updates {last}: as many as --max-update: --lr-scheduler cosine has no updates left in which the "
            "rate falls: give fewer"
        )


def _check_validation(cfg, task):
    if OmegaConf.is_missing(cfg.task, "data") or not cfg.task.data:
        return  # the task reports it
    metric, subsets = cfg.checkpoint.best_checkpoint_metric, cfg.dataset.valid_subset.split(",")
    task.check_labels(cfg.task, cfg.dataset.train_subset, "--train-subset")
    for subset in subsets:
        task.check_labels(cfg.task, subset, "--valid-subset")
        reported = task.reported_metrics(cfg.task, subset)
        if metric not in reported:
            raise UserError(
                f"--best-checkpoint-metric {metric}: not among what --task {cfg.task._name} reports of {subset}: "
                f"{', '.join(reported)}"
            )
    falls = not METRICS[metric].maximize if metric in METRICS else metric.endswith(("loss", "ppl", *FALLING))
    if falls == cfg.checkpoint.maximize_best_checkpoint_metric:
        option = "without" if falls else "with"
        kept = "highest" if falls else "lowest"
        logger.warning(
            f"checkpoint_best.pt will be the one with the {kept} {metric}: give the command {option} "
            "--maximize-best-checkpoint-metric"
        )


def check_save_dir(path):
    """Create the checkpoint folder, and check that it is writable.

    Raises:
        UserError: if it cannot be created or written to.
    """
    if "://" in str(path):
        return
    try:
        os.makedirs(path, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise UserError(f"--save-dir {path}: cannot write there: {error.strerror}: choose another") from None
