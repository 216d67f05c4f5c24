"""fairseq's commands in processes that need not import torch and fairseq first: forked from one that has.

For what needs more than one process, or one that is killed. The server that they are forked from is started when this
is imported, and imports while tests run; each process begins as the server is, which has imported fairseq, this package
and what torch imports at the first update (``server_modules.py``), and run nothing.
"""

import contextlib
import multiprocessing
import multiprocessing.forkserver
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import fairseq_cli.train
import torch

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["server_modules"])
_IS_FORKED = "server_modules" in sys.modules  # from the server
if not _IS_FORKED:
    # It imports from the folder where it is started, not from this process's path; what is not there it leaves out
    # without a word.
    with contextlib.chdir(TESTS):
        multiprocessing.forkserver.ensure_running()


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
    assert _IS_FORKED, "the server of processes has not imported server_modules"
    with open(output, "w") as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())
    os.chdir(folder)
    # Processes that this one starts are forked, as on Linux by default: not from yet another server, with new imports.
    multiprocessing.set_start_method("fork", force=True)
    torch.set_num_threads(1)
    sys.argv = ["fairseq", *arguments]
    main()
