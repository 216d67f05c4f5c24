"""fairseq's commands in processes that need not import torch and fairseq first: forked from one that has.

For what needs more than one process, or one that is killed. The server that they are forked from is itself forked
before any test (``common_fixtures.py``): each process begins with fairseq, this package and what torch imports at the
first update, and has run nothing.
"""

import contextlib
import logging
import multiprocessing
import multiprocessing.forkserver
import multiprocessing.resource_tracker
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import fairseq_cli.train
import fairseq_cli.validate
import quick_configs
import quick_files
import torch._dynamo
from fairseq import options
from fairseq.dataclass.utils import convert_namespace_to_omegaconf

import pixelgpt_fairseq.training.registration  # noqa: F401 (what --user-dir imports)

ROOT = Path(__file__).resolve().parents[1]
_SERVER = multiprocessing.get_context("forkserver")
_is_server = False  # nor a process that it has forked


def start_server(*command_lines):
    """Fork the server from this process, which knows what fairseq makes of *command_lines* by then."""
    quick_configs.install()
    quick_files.install()
    for arguments in command_lines:
        convert_namespace_to_omegaconf(options.parse_args_and_arch(options.get_training_parser(), arguments))
    multiprocessing.resource_tracker.ensure_running()  # which the server needs, and which is a program of its own
    with _starting_by_fork:
        multiprocessing.forkserver.ensure_running()


def _fork_server(path, arguments, descriptors):
    """In place of multiprocessing's start of its server, which would import everything anew: returns its process id."""
    global _is_server
    process = os.fork()
    if process:
        return process
    try:
        _is_server = True
        _starting_by_fork.__exit__(None, None, None)  # for all that starts from here
        _forget_files(descriptors)
        multiprocessing.forkserver.main(*descriptors, preload=[])
    finally:
        os._exit(0)


_starting_by_fork = mock.patch("multiprocessing.util.spawnv_passfds", _fork_server)


def _forget_files(kept):
    """Let go of the files of the process that this one was forked from, the pipes among them that its end closes."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in map(int, os.listdir("/dev/fd")):
        if descriptor > 2 and descriptor not in kept:
            with contextlib.suppress(OSError):  # that of the list itself
                os.dup2(nothing, descriptor)


class Command:
    """A command that has been started in *folder*; ``process`` is its :class:`multiprocessing.Process`."""

    def __init__(self, main, *arguments, folder=ROOT):
        self._printed = tempfile.NamedTemporaryFile()  # noqa: SIM115 (closed with this object)
        self.process = _SERVER.Process(target=_run, args=(main, [*map(str, arguments)], self._printed.name, folder))
        self.process.start()

    def end(self, seconds=240):
        """Its exit status and what it printed, standard error included, when it has ended."""
        self.process.join(seconds)
        printed = Path(self._printed.name).read_text()
        if self.process.is_alive():
            self.process.kill()
            raise AssertionError(f"still running after {seconds} seconds: {printed}")
        return self.process.exitcode, printed

    def wait(self, seconds=240):
        """What it printed, standard error included, when it has ended; fails unless it ended well."""
        status, printed = self.end(seconds)
        assert status == 0, printed
        return printed


def run_here(main, *arguments):
    """Run a command to its end in the folder that this process is in; returns what it printed."""
    return Command(main, *arguments, folder=os.getcwd()).wait()


def start_fairseq_by_fork(monkeypatch, run=run_here):
    """Let scripts/finetune.py start fairseq-train by *run*; returns a list that grows by what each run printed."""
    printed = []

    def start(command, pass_fds):
        program, *arguments = command
        assert program.endswith("fairseq-train")
        printed.append(run(fairseq_cli.train.cli_main, *arguments))
        return contextlib.nullcontext(SimpleNamespace(wait=lambda: 0))

    monkeypatch.setattr(subprocess, "Popen", start)
    return printed


def in_a_group(main):
    """Run *main* as a terminal runs a command, which Ctrl-C reaches with all processes that it has started."""
    os.setsid()
    main()


def _run(main, arguments, output, folder):
    assert _is_server, "not forked from this file's server"
    with open(output, "w") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 (as long as the process)
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    for handler in logging.getLogger().handlers:  # fairseq's own
        handler.setStream(sys.stdout)
    os.chdir(folder)
    # Processes that this one starts are forked, as on Linux by default: not from yet another server, with new imports.
    multiprocessing.set_start_method("fork", force=True)
    torch.set_num_threads(1)
    sys.argv = ["fairseq", *arguments]
    main()
