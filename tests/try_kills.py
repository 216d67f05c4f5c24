#!/usr/bin/env python3
"""Kill rendering at random points and give the same command again: the same bytes must come of it, and nothing else.

    python tests/try_kills.py --kills 50

Run by hand: the suite has a few kills of its own (preprocessing/test_shards.py). A kill (SIGKILL) takes the command, or
one of its worker processes, at a moment drawn from the time that a whole run takes; every third case is killed twice.
"""

import argparse
import collections
import multiprocessing
import os
import random
import signal
import tempfile
import time
from pathlib import Path

from toy_corpus import documents

from pixelgpt_fairseq.data.data_folder import DataFolder
from pixelgpt_fairseq.data.tokens import train_tokenizer
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.preprocessing import shards
from pixelgpt_fairseq.preprocessing.binarize import binarize
from pixelgpt_fairseq.rendering import RendererConfig

FORK = multiprocessing.get_context("fork")  # a process that is to be killed need not import everything first


def contents(path):
    """Every file below *path*, hidden ones too: name -> bytes."""
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def processes_of(leader):
    """The processes of the session that *leader* began, itself first."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            found.append(int(path.parent.name))
    return sorted(found)


class Command:
    """The command that is killed: renders the corpus in a session of its own."""

    def __init__(self, corpus, data, workers, tokenizer):
        self.args = [corpus], data, "train", RendererConfig(max_patches=64), tokenizer
        self.data, self.workers = DataFolder(data), workers

    def run(self):
        """Render, in the process that is to be killed."""
        os.setsid()
        # A run that was killed when the split was whole is one that ended.
        options = {"workers": self.workers, "store": "both", "progress": False}
        try:
            binarize(*self.args, **options, overwrite=bool(self.data.splits()))
        except UserError:  # a worker was killed
            os._exit(1)

    def start(self):
        """Start :meth:`run` in a process; returns that."""
        process = FORK.Process(target=self.run)
        process.start()
        return process

    def finish(self):
        """Run to the end; returns seconds."""
        began, process = time.monotonic(), self.start()
        process.join()
        if process.exitcode:
            raise SystemExit(f"{self.data.path}: a run that nothing killed ended with {process.exitcode}")
        return time.monotonic() - began

    def kill_after(self, seconds, random_number):
        """Start, and kill the command or one of its workers; returns what was killed."""
        process = self.start()
        process.join(seconds)
        if not process.is_alive():
            return "nothing: it had ended"
        own = processes_of(process.pid)
        victims = own if len(own) > 1 and random_number < 0.3 else own[:1]
        victim = victims[-1] if victims else process.pid
        os.kill(victim, signal.SIGKILL)
        process.join()
        return "a worker" if victim != process.pid else "the command"


def main():
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, metavar="N")
    parser.add_argument("--workers", default="1,2,3", metavar="N,N", help="processes of the runs, in turn")
    parser.add_argument("--documents", type=int, default=250, metavar="N")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    numbers = random.Random(options.seed)
    shards.SHARD_CHARACTERS = 4000
    with tempfile.TemporaryDirectory(prefix="try_kills.") as folder:
        folder = Path(folder)
        texts = documents(options.documents)
        (folder / "corpus.txt").write_text("\n\n".join(texts))
        tokenizer = train_tokenizer(iter(texts), 400)
        workers = [int(number) for number in options.workers.split(",")]

        def command(name, number):
            return Command(folder / "corpus.txt", folder / name, number, tokenizer)

        seconds = {number: command(f"whole{number}", number).finish() for number in workers}
        expected = contents(folder / f"whole{workers[0]}")
        print(f"{len(DataFolder(folder / f'whole{workers[0]}').shards('train'))} shards; seconds of a run: {seconds}")
        killed, left, kills, case = collections.Counter(), collections.Counter(), 0, 0
        while kills < options.kills:
            number = workers[case % len(workers)]
            killed_one = command(str(case), number)
            for _ in range(2 if case % 3 == 2 else 1):
                victim = killed_one.kill_after(numbers.uniform(0, seconds[number]), numbers.random())
                killed[victim] += 1
                kills += not victim.startswith("nothing")
            partial = killed_one.data.path / ".train.partial" / "shards"
            kept = len(list(partial.glob("[0-9]*"))) if partial.exists() else 0
            left["a whole split" if killed_one.data.splits() else "some shards" if kept else "none"] += 1
            killed_one.finish()
            if contents(killed_one.data.path) != expected:
                raise SystemExit(f"case {case} (seed {options.seed}): not the same files as without kills")
            case += 1
    print(f"{kills} kills in {case} cases: {dict(killed)}; finished shards that the kills left: {dict(left)}")
    print("every case came to the same bytes, with nothing left over")


if __name__ == "__main__":
    main()
