"""Runs of fine-tuning, each in a folder of its own that records which run it is and whether it is finished."""

import contextlib
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from pixelgpt_fairseq.checkpoints.loading import read_state
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.finetuning.recipes import configuration
from pixelgpt_fairseq.storage.files import read_json, write_whole
from pixelgpt_fairseq.storage.locks import locked
from pixelgpt_fairseq.training.run_settings import check_same_run

LOCK_FILE = "run.lock"  # fairseq-train holds one of its own while it trains, which another process may have started
SECONDS_TO_END = 30  # for fairseq-train, when it is interrupted: its data loaders alone may take 5
INTERRUPTED = 130  # the exit status of a command that was interrupted and has said what is left
RECORD = "run.json"  # in the folder of a run's checkpoints: which run it is, and whether it is finished


def is_finished(folder, identity, arguments):
    """Whether a run is: what the folder of its checkpoints tells.

    Args:
        folder: of the checkpoints.
        identity: what makes it this run.
        arguments: those of fairseq-train.

    Raises:
        UserError: if the folder holds another run.
    """
    record = folder / RECORD
    if not record.exists():
        if (folder / "checkpoint_last.pt").exists():
            raise UserError(f"{folder}: holds checkpoints of a run that is not known: choose another --save-dir")
        return False
    found = read_json(record)
    if not isinstance(found, dict):
        raise UserError(f"{record}: does not say which run it is: choose another --save-dir")
    for name in ("recipe", "lr", "batch", "seed", "attack", "font", "render_mode"):
        if found.get(name) != identity.get(name):
            raise UserError(
                f"{folder}: holds another run ({name} {found.get(name)}, not {identity.get(name)}): choose another "
                "--save-dir"
            )
    cfg = configuration(arguments)
    check_same_run(cfg)  # fairseq-train does so, too, but does not see finished runs
    return found.get("finished") is True and found.get("max_update") == cfg.optimization.max_update


def write_record(folder, identity, arguments, finished):
    """Note in a run's folder which run it is, and whether it is finished."""
    record = {**identity, "max_update": configuration(arguments).optimization.max_update, "finished": finished}
    write_whole(folder / RECORD, json.dumps(record, indent=2) + "\n")


def best_score(folder):
    """The best value of the recipe's metric in a run's validations; None if there was none."""
    checkpoint = folder / "checkpoint_best.pt"
    return (read_state(checkpoint).get("extra_state") or {}).get("best") if checkpoint.exists() else None


def hold(folders, held):
    """Lock the folders of runs for this process, so that no other trains in them.

    Args:
        folders: those of the runs that are to be trained.
        held: ExitStack, which ends the locks.

    Returns:
        dict: folder -> its lock file, open.

    Raises:
        UserError: if another process holds one of them; nothing has been trained then.
    """
    locks = {}
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"--save-dir {folder}: {error.strerror}") from None
        locks[folder] = held.enter_context(locked(folder / LOCK_FILE, "fine-tuning here"))
    return locks


def train(arguments, folder, lock):
    """Run fairseq-train; returns whether it ended well.

    Args:
        arguments: its command line.
        folder: of the run.
        lock: the folder's lock file, open: if this process is killed, fairseq-train holds it on.

    Raises:
        KeyboardInterrupt: saying what the interrupted run leaves, when fairseq-train has ended.
    """
    program = shutil.which("fairseq-train", path=Path(sys.executable).parent) or "fairseq-train"
    with subprocess.Popen([program, *arguments], pass_fds=[lock.fileno()]) as process:
        try:
            return process.wait() == 0
        except KeyboardInterrupt:
            # A terminal sends Ctrl-C to both processes. Whoever else interrupts this one means both, too.
            for end in (lambda: process.send_signal(signal.SIGINT), process.kill):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(SECONDS_TO_END)
                    break
                end()
            if process.wait() == INTERRUPTED:  # it has told what is left
                sys.exit(INTERRUPTED)
            raise KeyboardInterrupt(f"{folder} stays as it is: the same command goes on there") from None
