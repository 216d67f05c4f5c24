"""Commands of the demo and the examples: a log without progress bars, errors that are told, interruptions that wait."""

import os
import signal
import sys
import threading

import pytest

from pixelgpt_fairseq.cli import logged_commands


def test_what_a_command_prints_goes_to_the_log_without_its_progress_bars(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    code = (
        "import os, sys; print('threads', os.environ['OMP_NUM_THREADS']); "
        "sys.stderr.write('train:  50%|##  |\\rend\\n')"
    )
    heard, log = [], tmp_path / "demo.log"
    logged_commands.run([sys.executable, "-c", code], log, heard.append)
    assert heard == [f"threads {logged_commands.THREADS}\n", "train:  50%|##  |\n", "end\n"]
    assert log.read_text().splitlines()[1:] == [f"threads {logged_commands.THREADS}", "end"]
    assert capsys.readouterr().out == ""


def test_a_command_that_fails_is_told_with_its_own_error_and_the_log(tmp_path, capsys):
    log = tmp_path / "demo.log"
    code = "import sys; print('noise'); sys.exit('error: no disk')"
    with pytest.raises(SystemExit, match=f"status 1: all that it printed is in {log}"):
        logged_commands.run([sys.executable, "-c", code], log)
    assert capsys.readouterr().err == "error: no disk\n"


def test_an_interruption_waits_for_what_the_command_has_to_finish(tmp_path):
    log = tmp_path / "demo.log"
    code = (
        "import time\n"
        "try:\n    print('ready', flush=True); time.sleep(60)\n"
        "except KeyboardInterrupt:\n    time.sleep(0.2); print('saved'); open('finished', 'w').close()"
    )

    def interrupt(line):
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        with pytest.raises(KeyboardInterrupt):
            logged_commands.run([sys.executable, "-c", code], log, interrupt)
    assert (tmp_path / "finished").exists()
    assert log.read_text().endswith("saved\n")
