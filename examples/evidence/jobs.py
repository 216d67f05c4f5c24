"""Runs the stages of a plan: side by side where they do not need each other, each once, each into a log of its own."""

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from pixelgpt_fairseq.cli.logged_commands import PERCENT, SECONDS_TO_END, start, write_lines
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.storage.files import read_json, write_whole

_UPDATES = re.compile(r'num_updates"?[=:] ?"?(\d+)')


@dataclass(frozen=True)
class Stage:
    """A command that is run once.

    Attributes:
        name: of the stage, its log and its mark.
        command: what is run; given again after an interruption, it must go on or start over by itself.
        needs: names of the stages that must be finished before.
        seconds: how long it is expected to take on one core.
        updates: of training, for the progress bar; 0 for commands that print a percentage, or nothing.
        keep: (file, name): the file gets this second name when the command has ended, before later stages replace it.
    """

    name: str
    command: tuple[str, ...]
    needs: tuple[str, ...] = ()
    seconds: float = 0
    updates: int = 0
    keep: tuple[Path, Path] | None = None


class Plan:
    """Stages, and the folder in which their marks and logs lie.

    Args:
        stages: Stages, each after those that it needs.
        folder: Path; ``done/NAME.json`` marks a finished stage, ``logs/NAME.log`` holds what it printed.
    """

    def __init__(self, stages, folder):
        self.stages = {stage.name: stage for stage in stages}
        self.folder = folder
        unknown = {name for stage in stages for name in stage.needs} - self.stages.keys()
        if unknown or len(self.stages) != len(stages):
            raise ValueError(f"stages that are needed and not there: {unknown}; or two of one name")

    def mark(self, name):
        """The file that marks a finished stage."""
        return self.folder / "done" / f"{name}.json"

    def log(self, name):
        """The file that holds what a stage printed."""
        return self.folder / "logs" / f"{name}.log"

    def unfinished(self):
        """The stages that are not finished, in order: name -> Stage.

        Raises:
            UserError: if one was finished with another command.
        """
        left = {}
        for name, stage in self.stages.items():
            if not self.mark(name).exists():
                left[name] = stage
            elif read_json(self.mark(name), dict).get("command") != list(stage.command):
                raise UserError(f"{self.mark(name)}: this stage was made with other options: choose another --output")
        return left

    def seconds_taken(self):
        """How long the finished stages took: name -> seconds."""
        return {name: read_json(self.mark(name), dict)["seconds"] for name in self.stages if self.mark(name).exists()}

    def urgency(self):
        """How long it is from the beginning of each stage to the end of all that need it: name -> seconds."""
        urgency = {}
        for name, stage in reversed(self.stages.items()):
            after = [urgency[other.name] for other in self.stages.values() if name in other.needs]
            urgency[name] = stage.seconds + max(after, default=0)
        return urgency

    def schedule(self, jobs):
        """How many seconds what is unfinished takes, *jobs* stages at a time, if each takes what is expected."""
        left, urgency = self.unfinished(), self.urgency()
        now, running = 0.0, {}
        while left or running:
            while len(running) < jobs and (name := self.next(left, running, urgency)):
                running[name] = now + left[name].seconds
            ended = min(running, key=running.get)
            now = running.pop(ended)
            left.pop(ended)
        return now

    @staticmethod
    def next(left, running, urgency):
        """The most urgent stage of those *left* whose needs are fulfilled; None if there is none."""
        ready = [n for n, stage in left.items() if n not in running and not any(need in left for need in stage.needs)]
        return max(ready, key=urgency.get, default=None)

    def run(self, jobs):
        """Run what is unfinished, *jobs* stages at a time, with a progress bar for each.

        A stage that fails stops those that need it; all others go on.

        Raises:
            UserError: in the end, if a stage failed.
            KeyboardInterrupt: when the commands, which are told, have ended.
        """
        left, urgency, failed = self.unfinished(), self.urgency(), []
        for folder in ("done", "logs"):
            (self.folder / folder).mkdir(parents=True, exist_ok=True)
        places, running = list(range(jobs)), {}  # of progress bars; name of the stage -> Command
        with ThreadPoolExecutor(jobs) as pool:
            try:
                while True:
                    while places and (name := self.next(left, running, urgency)):
                        running[name] = Command(left[name], self.log(name), places.pop(0))
                        running[name].start(pool)
                    if not running:
                        break
                    wait([command.ended for command in running.values()], return_when=FIRST_COMPLETED)
                    for name in [name for name, command in running.items() if command.ended.done()]:
                        command, stage = running.pop(name), left.pop(name)
                        places.append(command.place)
                        seconds = command.ended.result()
                        if seconds is None:
                            failed.append(name)
                            left = self._without_those_that_need(left, name)
                        else:
                            self.finish(stage, seconds)
                            say(f"{name}: {shown_time(seconds)}; {len(left)} stages to go")
            finally:
                for command in running.values():
                    command.interrupt()
        if failed:
            logs = ", ".join(str(self.log(name)) for name in failed)
            raise UserError(f"{len(failed)} stages failed: {logs} say why; the same command tries them again")

    @staticmethod
    def _without_those_that_need(left, name):
        lost = {name}
        for other, stage in left.items():  # in order, so that those that need a lost one come after it
            if lost.intersection(stage.needs):
                lost.add(other)
        return {other: stage for other, stage in left.items() if other not in lost}

    def finish(self, stage, seconds):
        """Mark a stage as finished."""
        if stage.keep is not None:
            source, target = stage.keep
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            os.link(source, target)
        record = {"seconds": round(seconds, 1), "command": list(stage.command)}
        write_whole(self.mark(stage.name), json.dumps(record) + "\n")


class Command:
    """The command of a stage while it runs.

    Args:
        stage: Stage.
        log: Path of its log, to which is added.
        place: of its progress bar among those that are shown, from 0.
    """

    def __init__(self, stage, log, place):
        self.stage, self.log, self.place = stage, log, place
        self.process, self.ended, self.interrupted = None, None, False

    def start(self, pool):
        """Run it in a thread of *pool*; the future ``ended`` is how many seconds it took, or None if it failed."""
        self.ended = pool.submit(self._run)

    def _run(self):
        began = time.perf_counter()
        bar = tqdm(
            total=self.stage.updates or 100,
            desc=self.stage.name,
            position=self.place,
            leave=False,
            disable=None,  # where there is no terminal
            bar_format="{desc:40.40} {bar:24} {percentage:3.0f}%, {elapsed}",
        )
        with bar, open(self.log, "a", encoding="utf-8") as log:
            self.process = process = start(self.stage.command, log)
            if self.interrupted:  # before there was a process to be told
                self.interrupt()
            write_lines(process, log, lambda line: self._show(line, bar))
        if process.wait() == 0:
            return time.perf_counter() - began
        if not self.interrupted:
            say(f"{self.stage.name}: failed with status {process.returncode}, see {self.log}")
        return None

    def _show(self, line, bar):
        found = (_UPDATES if self.stage.updates else PERCENT).search(line)
        if found:
            bar.update(max(0, int(found[1]) - bar.n))

    def interrupt(self):
        """Interrupt the command, and wait for what it has to finish."""
        self.interrupted = True
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(SECONDS_TO_END)
            return
        self.process.kill()


def heed_interruptions():
    """Let SIGTERM and SIGINT interrupt this process, and SIGINT the commands that it starts.

    A shell script starts what it puts in the background with SIGINT ignored, and so would all that this starts.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)


def say(line):
    """Print a line above the progress bars, with the time."""
    tqdm.write(f"{time.strftime('%H:%M:%S')} {line}")


def shown_time(seconds):
    """Seconds as people say them."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
