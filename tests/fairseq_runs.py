"""fairseq's commands in this process: one of their own needs seconds to import torch and fairseq.

``train`` and ``validate`` take the options of ``fairseq-train`` and ``fairseq-validate`` and return what was logged.
Each call starts as a new process would, with nothing of the runs before, and leaves this process as it was. Use
``toy_corpus.command`` where the process itself is what is tested: its exit status, signals, several workers.
"""

import contextlib
import gc
import json
import logging
import random
import re
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import fairseq_cli.train
import fairseq_cli.validate
import numpy as np
import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.logging import metrics, progress_bar
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

import pixelgpt_fairseq.training.registration  # noqa: F401 (what --user-dir imports; fairseq leaves it out where the package is imported)

ROOT = Path(__file__).resolve().parents[1]
FORMAT = logging.Formatter("%(asctime)s | %(levelname)s | %(name)s | %(message)s")  # fairseq's own
LOGGERS = ("fairseq", "fairseq_cli", "pixelgpt_fairseq")


@dataclass(frozen=True)
class Run:
    """What one of fairseq's commands logged, line by line as it prints it."""

    log: str

    def lines(self, kind):
        """The progress lines of *kind* (``train_inner``, ``train`` or a split), parsed; needs ``--log-format json``."""
        return progress(self.log, kind)

    def losses(self):
        """The training loss of every update; needs ``--log-interval 1``, too."""
        return [line["loss"] for line in self.lines("train_inner")]


def train(*arguments) -> Run:
    """Run ``fairseq-train`` on one worker."""
    return run(fairseq_cli.train.cli_main, "--distributed-world-size", 1, *arguments)


def validate(*arguments) -> Run:
    """Run ``fairseq-validate``."""
    return run(fairseq_cli.validate.cli_main, *arguments)


def progress(log, kind):
    """The progress lines that fairseq logged as JSON under *kind*: ``train_inner``, ``train``, or a split's name.

    A name is what the criterion calls it: ``accuracy``, where fairseq prints ``valid_accuracy``. Numbers are numbers.
    """
    found = [json.loads(line) for line in re.findall(rf"\| {re.escape(kind)} \| (\{{.*?\}})", log)]
    return [{name.removeprefix(f"{kind}_"): _number(value) for name, value in line.items()} for line in found]


def scores(line, *names):
    """The values of *names* in a progress line: exactly these, so that ``accuracy`` is never ``best_accuracy``."""
    return {name: line[name] for name in names}


def _number(value):
    try:
        return float(value)
    except (TypeError, ValueError):  # null, or a word
        return value


class _Lines(logging.Handler):
    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        self.lines.append(FORMAT.format(record))


def run(main, *arguments) -> Run:
    """Run the ``cli_main`` of one of fairseq's commands; data are loaded in this process unless *arguments* say so."""
    if main.__module__.startswith("fairseq_cli.") and "--num-workers" not in arguments:
        arguments = (*arguments, "--num-workers", 0)
    has_loaders = "--num-workers" in arguments and int(arguments[arguments.index("--num-workers") + 1]) > 0
    heard = _Lines()
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(), nothing_left_behind():
        warnings.simplefilter("ignore")  # Hydra's and torch's, of fairseq's ways
        patch.chdir(ROOT)
        patch.setattr(sys, "argv", ["fairseq", *map(str, arguments)])
        for name in LOGGERS:
            logging.getLogger(name).addHandler(heard)
        try:
            main()
        finally:
            for name in LOGGERS:
                logging.getLogger(name).removeHandler(heard)
            if has_loaders:
                end_loaders()
    return Run("\n".join(heard.lines))


@contextlib.contextmanager
def nothing_left_behind():
    """Begin without what fairseq has kept in this process since it was started, and end without it, too."""
    root, python, arrays = logging.getLogger(), random.getstate(), np.random.get_state()
    handlers, level = root.handlers[:], root.level
    # Lines of a run are heard at INFO, where a new process would print them, whatever the level of this one.
    root.setLevel(logging.INFO)
    _forget()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        _forget()
        random.setstate(python)
        np.random.set_state(arrays)
        root.handlers[:] = handlers  # fairseq-validate puts a handler of its own there
        root.setLevel(level)


def end_loaders():
    """End the loader processes of iterators that no one has ended, as the end of a process would.

    The garbage collector would, too, but without a word to the loaders, and wait for each of them for five seconds.
    """
    for thing in gc.get_objects():
        if type(thing) is _MultiProcessingDataLoaderIter:
            thing._shutdown_workers()


def _forget():
    metrics.reset()
    for function in (checkpoint_utils.save_checkpoint, fairseq_cli.train.should_stop_early):
        vars(function).clear()  # the best score, and how many validations were no better
    for writer in progress_bar._tensorboard_writers.values():
        writer.close()
    progress_bar._tensorboard_writers.clear()
    for logger in (fairseq_cli.train.logger, progress_bar.logger):
        for handler in logger.handlers[:]:  # of --log-file
            logger.removeHandler(handler)
            handler.close()
