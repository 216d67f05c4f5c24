"""Every script explains itself."""

import pytest
from python_process import ROOT, python

SCRIPTS = sorted((ROOT / "scripts").glob("*.py"))

# Runs each script as Python does, in a process that has imported nothing yet.
DOORS = """
    import os, runpy, sys

    folder, *scripts = sys.argv[1:]
    for script in scripts:
        if os.fork() == 0:
            printed = os.open(os.path.join(folder, os.path.basename(script)), os.O_WRONLY | os.O_CREAT)
            os.dup2(printed, 1), os.dup2(printed, 2)
            sys.argv = [script, "--help"]
            sys.path[0] = os.path.dirname(script)
            try:
                runpy.run_path(script, run_name="__main__")
                status = "it went on after its help"
            except SystemExit as ending:
                status = ending.code or sorted({"torch", "fairseq"} & set(sys.modules))
            print(status or "", flush=True)
            os._exit(1 if status else 0)
        _, status = os.wait()
        print(os.path.basename(script), os.waitstatus_to_exitcode(status), flush=True)  # or the next fork has it, too
"""


@pytest.fixture(scope="module")
def doors(tmp_path_factory):
    """For each script by name: the exit status of asking for its help, and what it printed."""
    folder = tmp_path_factory.mktemp("help")
    result = python(DOORS, arguments=[folder, *SCRIPTS], seconds=1200)
    assert result.returncode == 0, result.stderr
    statuses = dict(line.split() for line in result.stdout.splitlines() if line.count(" ") == 1)
    return {name: (int(status), (folder / name).read_text()) for name, status in statuses.items()}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_every_script_explains_itself_without_what_takes_seconds_to_import(script, doors):
    status, printed = doors[script.name]
    assert status == 0, printed
    assert printed.startswith("usage: " + script.name)
