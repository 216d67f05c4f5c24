"""scripts/finetune.py: one job at a time in a folder, and what Ctrl-C leaves."""

import os
import signal
import time
from functools import partial

from processes import Command, in_a_group
from refusals import refusal, script

from pixelgpt_fairseq.cli import finetune
from pixelgpt_fairseq.storage import locks


def test_a_second_job_is_refused_and_an_interrupted_one_goes_on(toy_glue, tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "WAIT", 0)
    choice = ["--model", "textgpt", "--task", "rte", "--modality", "text", "--data", toy_glue / "rte", "--gpus", 0]
    start = ["--from-scratch", "--arch", "pixelgpt_tiny", "--save-dir", tmp_path / "run"]
    often = ["--save-interval-updates", 2, "--validate-interval-updates", 2, "--patience", 0]
    small = ["--hidden-size", 32, "--num-hidden-layers", 1, "--intermediate-size", 32]
    arguments = [str(part) for part in (*choice, *start, "--", *often, *small, "--max-update")]
    job = Command(partial(in_a_group, finetune.main), *arguments, "100000")
    try:
        deadline = time.monotonic() + 200
        while not (tmp_path / "run" / "checkpoint_last.pt").exists():
            assert job.process.is_alive(), job.end()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        line = refusal(script("finetune"), *arguments, "100000")
        assert line.startswith(
            f"{tmp_path / 'run'}: another run is fine-tuning here now, process {job.process.pid} on "
        )
    finally:
        os.killpg(job.process.pid, signal.SIGINT)
    status, printed = job.end()
    assert status == 130
    assert "Traceback" not in printed
    assert "Warning" not in printed  # of how fairseq, in a process that has just started, uses Hydra and torch
    kept = f"interrupted: {tmp_path / 'run'} keeps the checkpoints saved so far: the same command goes on from the last"
    assert [line for line in printed.splitlines() if line.startswith("interrupted")] == [kept]
    assert not (tmp_path / "run" / "run.lock").exists()
    line = refusal(script("finetune"), *arguments, "3", "--dropout", "0.5")
    assert line.startswith(f"{tmp_path / 'run'}: holds another run: --dropout 0.5, not 0.0: ")
    script("finetune")(["--dry-run", *arguments, "3"])  # another length is the same run
