"""Resolvers and the callback that the Hydra recipes use: names of run folders, and a clean start for each run.

Importing this module registers the resolvers that the recipes use. Hydra imports it to create :class:`RunFolder`,
before it resolves the folder of a run.
"""

import hashlib
import re
import sys
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import OmegaConf

from pixelgpt_fairseq.errors import exit_on_user_error
from pixelgpt_fairseq.training import launch

USER_DIR = Path(__file__).parents[1]
# Overrides that all jobs of the current sweep share, in Hydra's spelling; a job itself only sees its own overrides.
_overrides_of_all_jobs = set()
_LONGEST_NAME = 200  # bytes; file systems take 255, and fairseq adds nothing to the name of a folder


def data_name(data) -> str:
    """The last component of a data folder's path; for several folders (``a:b``), their last components joined by ``+``.

    >>> data_name("/corpora/wiki:books/")
    'wiki+books'
    """
    paths = [part for part in str(data or "").split(":") if part]
    return _shortened("+".join(_plain(Path(path).resolve().name) for path in paths) or "no-data")


def job_name(overrides) -> str:
    """A folder's name for a job of a sweep: the values of what the sweep varies.

    The name does not depend on the other jobs, so that repeating or extending a sweep resumes its jobs in their
    folders. Of a value that is a path, only the last component is shown; a checksum then keeps different jobs apart.

    >>> job_name(["task.modality=text", "optimization.lr=[1e-5]"])
    'modality=text,lr=1e-5'
    """
    varied = [str(override) for override in overrides if str(override) not in _overrides_of_all_jobs]
    parts, complete = [], True
    for override in varied:
        key, equals, value = override.partition("=")
        value = value.strip("[]'\"")
        shown = _plain(value.rstrip("/").rpartition("/")[2])
        complete = complete and shown == value
        parts.append(f"{_plain(key.rpartition('.')[2])}{equals}{shown}")
    return _shortened(",".join(parts), digest_of=None if complete else "\n".join(varied)) or "the-only-job"


def _plain(text):
    """*text* with every character that is special to a shell or a file system replaced by a hyphen."""
    return re.sub(r"[^\w.+-]", "-", text)


def _shortened(name, digest_of=None):
    """*name* with a checksum of *digest_of* appended; a name that is too long is cut and gets a checksum of itself."""
    if len(name.encode()) > _LONGEST_NAME:
        digest_of = digest_of or name
        name = name.encode()[:_LONGEST_NAME].decode(errors="ignore")
    return name if digest_of is None else f"{name}-{hashlib.sha256(digest_of.encode()).hexdigest()[:8]}"


OmegaConf.register_new_resolver("pixelgpt.user_dir", lambda: str(USER_DIR), replace=True)
OmegaConf.register_new_resolver("pixelgpt.data_name", data_name, replace=True)
OmegaConf.register_new_resolver("pixelgpt.job_name", job_name, replace=True)
OmegaConf.register_new_resolver("pixelgpt.workers", launch.workers, replace=True)
OmegaConf.register_new_resolver("pixelgpt.port", launch.port, replace=True)
# Hydra prints any other exception of a resolver inside a stack trace.
OmegaConf.register_new_resolver("pixelgpt.update_freq", exit_on_user_error(launch.update_freq), replace=True)


class RunFolder(Callback):
    """Creates the folder of a run before it starts, and resets fairseq's global state between the runs of a sweep."""

    def on_run_start(self, config, **kwargs):
        """End the program with one line if the folder of the run cannot be made."""
        _make_folder(config, "hydra.run.dir")

    def on_multirun_start(self, config, **kwargs):
        """As :meth:`on_run_start`, for the folder of a sweep; record the overrides that all its jobs share."""
        _make_folder(config, "hydra.sweep.dir")
        _overrides_of_all_jobs.clear()
        for override in OverridesParser.create().parse_overrides(list(config.hydra.overrides.task)):
            if not override.is_sweep_override():
                _overrides_of_all_jobs.add(f"{override.get_key_element()}={override.get_value_element_as_str()}")

    def on_multirun_end(self, config, **kwargs):
        """Clear the overrides that the jobs of the sweep shared."""
        _overrides_of_all_jobs.clear()

    def on_job_start(self, config, **kwargs):
        """Reset fairseq's global state: all runs of a Hydra sweep share one process.

        fairseq stores the best score and the early-stopping count as attributes of two functions: unless it beat the
        first run, a second one would never save a best checkpoint and would stop at its first validation. TensorBoard
        writers would keep writing to the first run's folder, and meters would add up confusion matrices of different
        sizes.
        """
        from fairseq import checkpoint_utils
        from fairseq.logging import metrics, progress_bar
        from fairseq_cli import train

        for function in (checkpoint_utils.save_checkpoint, train.should_stop_early):
            vars(function).clear()
        metrics.reset()
        writers = progress_bar._tensorboard_writers
        while writers:
            writers.popitem()[1].close()


def _make_folder(config, option):
    folder = OmegaConf.select(config, option)
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        # Hydra turns exceptions of callbacks into warnings, but lets SystemExit pass.
        sys.exit(f"error: {folder}: cannot be made: {error.strerror}: choose another folder with {option}=FOLDER")
