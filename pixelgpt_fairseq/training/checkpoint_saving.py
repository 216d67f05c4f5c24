"""Changes to how fairseq-train saves: each state is written once, as plain data, and only when it is needed.

At the released size a checkpoint with the optimizer's state takes 4.2 GB. fairseq copies it for each of its names
(``checkpoint_best.pt``, ``checkpoint_last.pt``) and saves after every validation, which short recipes run every few
updates. It also stores the options of optimizers and schedulers without a dataclass (such as ``sgd``) as an
``argparse.Namespace``, which ``torch.load(weights_only=True)`` refuses to read.
"""

import argparse
import contextlib
import functools
import os
import shutil

from fairseq import checkpoint_utils
from fairseq.file_io import PathManager

from pixelgpt_fairseq.tasks.early_stopping import early_stopping_state
from pixelgpt_fairseq.tasks.rendered_task import RenderedTask


def install():
    """Install these changes in fairseq. Called once, by :mod:`pixelgpt_fairseq.training.registration`."""
    checkpoint_utils.PathManager = LinkingPathManager
    checkpoint_utils.torch_persistent_save = _saving_plain_options(checkpoint_utils.torch_persistent_save)
    checkpoint_utils.save_checkpoint = _saving_what_is_needed(checkpoint_utils.save_checkpoint)


class LinkingPathManager(PathManager):
    """fairseq's PathManager, but it copies a checkpoint by hard-linking it, atomically.

    fairseq replaces a checkpoint by renaming a new file, so a file that has two names is never written to.
    """

    @staticmethod
    def copy(src_path, dst_path, overwrite=False):
        """Link *src_path* as *dst_path*; copy it where the file system has no hard links.

        Raises:
            OSError: if neither is possible.
        """
        if any(PathManager.path_requires_pathmanager(path) for path in (src_path, dst_path)):
            return PathManager.copy(src_path, dst_path, overwrite)
        if os.path.lexists(dst_path):
            if not overwrite:
                return False
            if os.path.samefile(src_path, dst_path):
                return True
        unfinished = f"{dst_path}.tmp"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(unfinished)
        try:
            os.link(src_path, unfinished)
        except OSError:
            shutil.copyfile(src_path, unfinished)
        os.replace(unfinished, dst_path)
        return True


def _saving_plain_options(torch_persistent_save):
    @functools.wraps(torch_persistent_save)
    def save(obj, filename, *args, **kwargs):
        if isinstance(obj, dict) and isinstance(obj.get("cfg"), dict):
            obj = {**obj, "cfg": {group: _without_namespace(options) for group, options in obj["cfg"].items()}}
        return torch_persistent_save(obj, filename, *args, **kwargs)

    return save


def _without_namespace(options):
    return dict(vars(options)) if isinstance(options, argparse.Namespace) else options


def _saving_what_is_needed(save_checkpoint):
    # fairseq stores the best score as an attribute of this function and looks it up by name: functools.wraps keeps
    # both.
    @functools.wraps(save_checkpoint)
    def save(cfg, trainer, epoch_itr, val_loss):
        if isinstance(trainer.task, RenderedTask):
            if not _is_needed(cfg, trainer, epoch_itr, val_loss):
                return None
            trainer.task.last_saved_update = trainer.get_num_updates()
        return save_checkpoint(cfg, trainer, epoch_itr, val_loss)

    return save


def _is_needed(cfg, trainer, epoch_itr, val_loss):
    """Whether to save: the state is the best so far, the last of its run, or far enough from the previous save."""
    task, updates = trainer.task, trainer.get_num_updates()
    last = task.last_saved_update
    if last is None or val_loss is None or updates - last >= task.resume_interval_updates:
        return True
    best = getattr(checkpoint_utils.save_checkpoint, "best", val_loss)
    if (val_loss >= best) if cfg.maximize_best_checkpoint_metric else (val_loss <= best):
        return True
    if cfg.keep_best_checkpoints > 0 or (epoch_itr.end_of_epoch() and not cfg.no_epoch_checkpoints):
        return True
    stopped_early = 0 < cfg.patience <= early_stopping_state().get("num_runs", 0)
    return stopped_early or 0 < trainer.cfg.optimization.max_update <= updates
