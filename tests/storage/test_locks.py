"""Two runs never hold one lock, whatever the file system can do, and a killed run does not hold it for ever."""

import errno
import fcntl
import json
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading

import pytest

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.storage import locks
from pixelgpt_fairseq.storage.locks import locked

FORK = multiprocessing.get_context("fork")


@pytest.fixture(params=["flock", "no locks"])
def path(request, tmp_path, monkeypatch):
    """A lock file on a file system with, or without, locks."""
    if request.param == "no locks":
        no_locks(monkeypatch)
    return tmp_path / "lock"


def no_locks(monkeypatch):
    def unsupported(*args):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", unsupported)


def refused(path):
    with pytest.raises(UserError) as refusal, locked(path, "testing", wait=0):
        pass
    return str(refusal.value)


def kill_holder(path):
    """A process takes the lock and is killed."""

    def hold():
        with locked(path, "testing", wait=0):
            os.kill(os.getpid(), signal.SIGKILL)

    process = FORK.Process(target=hold)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert path.exists()


def test_one_holder_at_a_time_and_the_second_is_told_who(path):
    with locked(path, "testing"):
        line = refused(path)
        assert line.startswith(f"{path.parent}: another run is testing now, process {os.getpid()} on ")
        assert ": wait for it, or end it" in line
    assert not path.exists()
    with locked(path, "testing", wait=0):
        assert path.exists()


def test_the_second_waits_for_one_that_is_about_to_end(path):
    first = locked(path, "testing")
    first.__enter__()
    threading.Timer(0.2, first.__exit__, (None, None, None)).start()
    with locked(path, "testing"):
        assert path.exists()


def test_a_killed_run_does_not_hold_it(path):
    kill_holder(path)
    with locked(path, "testing", wait=1):
        assert refused(path).startswith(f"{path.parent}: another run is testing now, process {os.getpid()} on ")
    assert list(path.parent.iterdir()) == []


def test_where_there_are_no_locks_it_is_said(tmp_path, monkeypatch, caplog):
    no_locks(monkeypatch)
    with caplog.at_level(logging.WARNING), locked(tmp_path / "lock", "testing"):
        assert f"{tmp_path}: this file system has no locks: while lock is there" in caplog.text
        assert f"(if it was killed, remove {tmp_path / 'lock'}: this file system has no locks" in refused(
            tmp_path / "lock"
        )


def test_without_locks_the_process_of_another_machine_counts_as_alive(tmp_path, monkeypatch):
    path = tmp_path / "lock"
    no_locks(monkeypatch)
    kill_holder(path)
    monkeypatch.setattr(locks, "_machine", lambda: "another")
    assert "another run is testing" in refused(path)


def test_a_machine_with_locks_respects_one_without(tmp_path, monkeypatch):
    path = tmp_path / "lock"
    with monkeypatch.context() as patch:
        no_locks(patch)
        with locked(path, "testing"):
            patch.undo()
            assert "another run is testing" in refused(path)


def test_a_lock_that_is_released_while_another_run_opens_it_is_not_held_twice(tmp_path, monkeypatch):
    """The second run has opened the file when the first removes it: what it then locks is a file without a name."""
    path, first, flock = tmp_path / "lock", locked(tmp_path / "lock", "testing"), fcntl.flock
    first.__enter__()

    def released_meanwhile(file, how):
        monkeypatch.setattr(fcntl, "flock", flock)
        first.__exit__(None, None, None)
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", released_meanwhile)
    with locked(path, "testing"):
        assert path.exists()
        assert "another run is testing" in refused(path)


def test_a_lock_file_without_a_holder_says_what_to_do_where_there_are_no_locks(tmp_path, monkeypatch):
    """Its process was killed before it could write its name."""
    no_locks(monkeypatch)
    (tmp_path / "lock").touch()
    assert f"if it was killed, remove {tmp_path / 'lock'}" in refused(tmp_path / "lock")


@pytest.mark.parametrize("kind", ["link", "folder", "text", "list"])
def test_what_is_no_lock_file_is_neither_followed_nor_removed(path, kind):
    other = path.with_name("other")
    other.write_text("")
    if kind == "link":
        path.symlink_to(other)
    elif kind == "folder":
        path.mkdir()
    else:
        path.write_text("precious" if kind == "text" else json.dumps([1]))
    assert refused(path) == f"{path}: not a lock file of this program: move it away"
    assert other.read_text() == ""
    assert os.path.lexists(path)


def test_a_process_that_inherits_the_lock_holds_it(tmp_path):
    path = tmp_path / "lock"
    with locked(path, "testing") as file:
        child = subprocess.Popen(
            [sys.executable, "-c", "input()"], pass_fds=[file.fileno()], stdin=subprocess.PIPE, text=True
        )
        copy = path.with_name("copy")
        os.link(path, copy)  # what is left of a holder that was killed before it could remove the file
    os.rename(copy, path)
    try:
        assert "another run is testing" in refused(path)
    finally:
        child.communicate("\n")
    with locked(path, "testing"):
        pass


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    assert (
        refused(tmp_path / "none" / "lock") == f"{tmp_path / 'none' / 'lock'}: cannot lock: No such file or directory"
    )
