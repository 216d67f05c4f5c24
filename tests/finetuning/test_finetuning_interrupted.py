"""scripts/finetune.py: one job at a time in a folder, and what Ctrl-C leaves."""

import os
import signal
import subprocess
import sys
import time

from refusals import refusal, script
from toy_corpus import ENVIRONMENT, ROOT


def test_a_second_job_is_refused_and_an_interrupted_one_goes_on(toy_glue, tmp_path):
    choice = ["--model", "textgpt", "--task", "rte", "--modality", "text", "--data", toy_glue / "rte", "--gpus", 0]
    start = ["--from-scratch", "--arch", "pixelgpt_tiny", "--save-dir", tmp_path / "run"]
    often = ["--save-interval-updates", 2, "--validate-interval-updates", 2, "--patience", 0]
    small = ["--hidden-size", 32, "--num-hidden-layers", 1, "--intermediate-size", 32]
    arguments = [str(part) for part in (*choice, *start, "--", *often, *small, "--max-update")]
    program = [sys.executable, ROOT / "scripts" / "finetune.py"]
    job = subprocess.Popen(
        [*program, *arguments, "100000"],
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a process group: Ctrl-C reaches fairseq-train, too
    )
    try:
        deadline = time.monotonic() + 200
        while not (tmp_path / "run" / "checkpoint_last.pt").exists():
            assert job.poll() is None, job.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        line = refusal(script("finetune"), *arguments, "100000")
        assert line.startswith(f"{tmp_path / 'run'}: another run is fine-tuning here now, process {job.pid} on ")
    finally:
        os.killpg(job.pid, signal.SIGINT)
        try:
            _, errors = job.communicate(timeout=200)
        except subprocess.TimeoutExpired:
            os.killpg(job.pid, signal.SIGKILL)
            raise
    assert job.returncode == 130
    assert "Traceback" not in errors
    kept = f"interrupted: {tmp_path / 'run'} keeps the checkpoints saved so far: the same command goes on from the last"
    assert [line for line in errors.splitlines() if line.startswith("interrupted")] == [kept]
    assert not (tmp_path / "run" / "run.lock").exists()
    line = refusal(script("finetune"), *arguments, "3", "--dropout", "0.5")
    assert line.startswith(f"{tmp_path / 'run'}: holds another run: --dropout 0.5, not 0.0: ")
    script("finetune")(["--dry-run", *arguments, "3"])  # another length is the same run
