"""Runs commands of fairseq and of this package as processes; what they print goes to a file."""

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

USER_DIR, BIN = Path(__file__).resolve().parents[1], Path(sys.executable).parent
PIXELGPT = (sys.executable, "-m", "pixelgpt_fairseq.cli.main")
PERCENT = re.compile(r"(\d+)%\|")  # of a progress bar
SECONDS_TO_END = 30  # for a command that is interrupted
# More threads are hardly faster for small models, and many times slower where other programs share the cores.
THREADS = 1


def run(command, log, heard=lambda line: None):
    """Run a command; all that it prints goes to *log* but progress bars, and line by line to *heard*.

    Ends the program if the command fails, with the last lines that it printed.

    Raises:
        KeyboardInterrupt: when the command, which is told, has ended.
    """
    command = [str(part) for part in command]
    own = command[: len(PIXELGPT)] == list(PIXELGPT)
    name = f"pixelgpt {command[len(PIXELGPT)]}" if own else Path(command[0]).name
    last = []

    def hear(line):
        heard(line)
        if not PERCENT.search(line) and line.strip():
            last[:] = [*last[-9:], line]

    with open(log, "a", encoding="utf-8") as written, start(command, written) as process:
        try:
            write_lines(process, written, hear)
        except KeyboardInterrupt:
            written.write(_end(process))
            raise
    if process.returncode != 0:
        told = [line for line in last if line.startswith("error: ")] or last
        print("".join(told), end="", file=sys.stderr)
        sys.exit(f"error: {name} ended with status {process.returncode}: all that it printed is in {log}")


def start(command, written):
    """Start a command, a list of str, and write it to the open file *written*: returns a Popen, which must be read."""
    print("$", shlex.join(command), file=written, flush=True)
    return subprocess.Popen(
        command,
        env={"OMP_NUM_THREADS": str(THREADS), **os.environ, "PYTHONWARNINGS": "ignore", "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,  # an interruption is passed on once, not twice
    )


def write_lines(process, written, heard):
    """Give every line that a command prints to *heard*, and write all but progress bars to the open file *written*."""
    for line in process.stdout:
        heard(line)
        if not PERCENT.search(line):
            written.write(line)
            written.flush()


def _end(process):
    """Interrupt a command, and wait for what it has to finish; returns what it prints meanwhile."""
    process.send_signal(signal.SIGINT)
    try:
        return process.communicate(timeout=SECONDS_TO_END)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        return ""
