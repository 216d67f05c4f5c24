"""Python in a process of its own, for what happens when something is imported."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[1]


def python(code, *options, folder=None, arguments=(), seconds=120, **environment):
    return subprocess.run(
        [sys.executable, *options, "-c", textwrap.dedent(code), *arguments],
        capture_output=True,
        text=True,
        cwd=folder or ROOT,
        env={**os.environ, **{name: str(value) for name, value in environment.items()}},
        timeout=seconds,
    )


def only_line(result):
    """The one line on standard error of a command that failed."""
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    return line
