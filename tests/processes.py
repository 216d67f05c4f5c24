"""fairseq's commands in processes that need not import torch and fairseq first: forked from one that has.

For what needs more than one process, or one that is killed. The first start makes the server that the others are
forked from; each process begins as the server is, which has imported fairseq, this package and what torch imports at
the first update, and run nothing.
"""

import multiprocessing
import os
import sys
import tempfile
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(
    ["fairseq_cli.train", "fairseq_cli.validate", "pixelgpt_fairseq.training.registration", "torch._dynamo"]
)


class Command:
    """A command that has been started; ``process`` is its :class:`multiprocessing.Process`."""

    def __init__(self, main, *arguments):
        self._printed = tempfile.NamedTemporaryFile()  # noqa: SIM115 (closed with this object)
        self.process = _SERVER.Process(target=_run, args=(main, [*map(str, arguments)], self._printed.name))
        self.process.start()

    def wait(self, seconds=240):
        """What it printed, standard error included, when it has ended; fails unless it ended well."""
        self.process.join(seconds)
        printed = Path(self._printed.name).read_text()
        if self.process.is_alive():
            self.process.kill()
            raise AssertionError(f"still running after {seconds} seconds: {printed}")
        assert self.process.exitcode == 0, printed
        return printed


def _run(main, arguments, output):
    with open(output, "w") as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())
    os.chdir(ROOT)
    # Processes that this one starts are forked, as on Linux by default: not from yet another server, with new imports.
    multiprocessing.set_start_method("fork", force=True)
    torch.set_num_threads(1)
    sys.argv = ["fairseq", *arguments]
    main()
