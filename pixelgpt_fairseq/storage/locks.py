"""Locks that keep two runs, on one machine or on several, from writing the same files at the same time.

A lock is a small file that says who holds it. The kernel's ``flock`` decides, which on NFS and on Lustre mounted with
``-o flock`` reaches all machines, and which ends with the process, however it ends. Where a file system has no locks,
the file itself is the lock: only one process can create it. A run that is killed then leaves it behind; the next run on
the same machine sees that the process is gone and goes on, a run on another machine cannot know and asks for the file
to be removed. Locks that a mount option makes local to each machine (``nolock``, ``localflock``) cannot be recognized.
"""

import contextlib
import errno
import fcntl
import json
import logging
import os
import socket
import stat
import time
from pathlib import Path

from pixelgpt_fairseq.errors import UserError

logger = logging.getLogger(__name__)

WAIT = 3  # seconds: the workers of a run that was killed take a moment to end
# What flock answers on a file system without locks.
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}
_MAX_RECORD = 4096  # bytes


@contextlib.contextmanager
def locked(path, doing, wait=None):
    """Hold the lock file *path*; it is removed in the end.

    Args:
        path: the lock file; its folder must be there, and nothing but locks may have this name.
        doing: what the holder does, for the message of those who come second: ``writing this split``.
        wait: seconds to wait for another holder; None for :data:`WAIT`.

    Yields:
        file: the open lock file. A process that inherits it (``subprocess.run(..., pass_fds=[file.fileno()])``) holds
        the lock together with this one, even when this one is killed.

    Raises:
        UserError: if another run holds the lock; it names the process. Also if *path* is anything but a lock file, and
            if it cannot be written.
    """
    path, deadline = Path(path), time.monotonic() + (WAIT if wait is None else wait)
    try:
        while (file := _take(path)) is None:
            if time.monotonic() > deadline:
                raise UserError(_refusal(path, doing))
            time.sleep(0.05)
    except OSError as error:
        raise UserError(f"{path}: cannot lock: {error.strerror}") from None
    try:
        yield file
    finally:
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(file.fileno()), os.lstat(path)):
                path.unlink()
        file.close()


def _take(path):
    """The lock file, open and held; None if it is another's, or was removed meanwhile."""
    created = True
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        created = False
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise UserError(f"{path}: not a lock file of this program: move it away") from None
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
    file = os.fdopen(descriptor, "r+b", buffering=0)
    try:
        if _hold(file, path, created):
            return file
    except BaseException:
        file.close()
        raise
    file.close()
    return None


def _hold(file, path, created):
    """Hold an open lock file; returns whether that was possible."""
    kernel_locks = True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        kernel_locks = False
    try:
        if not os.path.samestat(os.fstat(file.fileno()), os.lstat(path)):
            return False  # its holder removed it before this process could lock it
    except FileNotFoundError:
        return False
    record = _read(path)
    if not created and (not kernel_locks or record.get("held_by_existence")):
        if _is_gone(record):
            _remove_stale(path, record)
        return False
    if not kernel_locks:
        logger.warning(
            f"{path.parent}: this file system has no locks: while {path.name} is there, no other run can write here; "
            "if this run is killed and goes on elsewhere, remove that file first"
        )
    ours = {
        "process": os.getpid(),
        "host": socket.gethostname(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        "machine": _machine(),
        "held_by_existence": not kernel_locks,
    }
    file.seek(0)
    file.truncate()
    file.write(json.dumps(ours).encode())
    return True


def _read(path):
    """The record of a lock file's holder; empty if it has not been written yet.

    Raises:
        UserError: if it is the file of another program.
    """
    with open(path, "rb") as file:
        content = file.read(_MAX_RECORD)
    try:
        record = json.loads(content) if content else {}
    except ValueError:
        record = None
    if not isinstance(record, dict) or (record and "held_by_existence" not in record):
        raise UserError(f"{path}: not a lock file of this program: move it away")
    return record


def _machine():
    """The boot of this machine and its process namespace, to which process ids refer; None if unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None


def _is_gone(record):
    """Whether the process that holds a lock is known to have ended."""
    if not record.get("machine") or record["machine"] != _machine():
        return False
    try:
        os.kill(record["process"], 0)
    except ProcessLookupError:
        return True
    except (OSError, TypeError, KeyError):
        pass
    return False


def _remove_stale(path, record):
    """Remove the lock file of a process that has ended, unless another run has already taken its place."""
    guard = path.with_name(f"{path.name}.removal")  # creating a folder succeeds for one process only
    try:
        guard.mkdir()
    except FileExistsError:
        return
    try:
        if _read(path) == record:
            path.unlink()
    finally:
        guard.rmdir()


def _refusal(path, doing):
    try:
        record = _read(path)
    except OSError:
        record = {}
    holder = ""
    if record:
        holder = f", process {record.get('process')} on {record.get('host')} since {record.get('since')}"
    advice = "wait for it, or end it"
    if record.get("held_by_existence", True):  # of an empty record nothing is known
        advice += f" (if it was killed, remove {path}: this file system has no locks that would end with it)"
    return f"{path.parent}: another run is {doing} now{holder}: {advice}"
