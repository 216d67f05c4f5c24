"""Atomic writing of files and folders: they are complete or absent, however the program ends.

Content is written to a uniquely named temporary file beside the destination, synced to disk, and renamed. A destination
that is a symbolic link is replaced; its target is never written.
"""

import contextlib
import errno
import json
import os
import secrets
import shutil
import zlib
from pathlib import Path

from pixelgpt_fairseq.errors import UserError

_SUFFIX = ".partial"
_NAME_SHOWN = 40  # characters of a file's name in that of its temporary file: names may not have more than 255 bytes
# What fsync answers for folders on file systems that cannot do it.
_CANNOT_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF, errno.EACCES, errno.EPERM}


def check_absent(path, choose, overwrite=None, kind="", folder=False):
    """Refuse to write to an existing path, even if it is a dangling link.

    Args:
        path: what is to be written.
        choose: what the user can choose instead: ``another --output``.
        overwrite: whether it may be replaced; None where no option allows that.
        kind: what is there, if its name does not tell.
        folder: a folder is to be written: one that is there and empty will do.

    Raises:
        UserError: if *path* is there and may not be replaced, or is a folder instead of a file.
    """
    path = Path(path)
    if path.is_dir() and not folder:
        raise UserError(f"{path}: a folder, where a file is to be written: choose {choose}")
    if folder and path.is_dir() and not any(path.iterdir()):
        return
    if os.path.lexists(path) and not overwrite:
        advice = "remove it first" if overwrite is None else "pass --overwrite"
        raise UserError(f"{path}: already there{kind and f', {kind}'}: choose {choose}, or {advice}")


def write_whole(path, content):
    """Write *content* (bytes, or text in UTF-8) to *path*, whole or not at all.

    Raises:
        UserError: if it cannot be written.
    """
    with whole_file(path) as file:
        file.write(content if isinstance(content, bytes) else content.encode("utf-8"))


@contextlib.contextmanager
def whole_file(path):
    """A file to be written; it takes the place of *path* when the block ends, and is removed if the block fails.

    Yields:
        the file, open for bytes.

    Raises:
        UserError: if it cannot be written.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path}: cannot write: {os.strerror(errno.EISDIR)}")
    temporary = temporary_path(path)
    try:
        try:
            with open(temporary, "xb") as file:
                yield file
            move(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UserError(f"{path}: cannot write: {error.strerror or error}") from error


@contextlib.contextmanager
def whole_folder(path):
    """A folder to be filled; it takes the place of *path* when the block ends, and is removed if the block fails.

    Args:
        path: the folder, absent or empty; a link to an empty folder stays, and what it leads to is filled.

    Yields:
        Path: of the folder to be filled.

    Raises:
        UserError: if it cannot be written, or something is there when the block ends.
    """
    path = Path(os.path.realpath(path))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with scratch_folder(path) as scratch:
            yield scratch
            for found in sorted(scratch.rglob("*")):
                sync(found)
            move(scratch, path)
    except OSError as error:
        raise UserError(f"{path}: cannot write: {error.strerror or error}") from error


@contextlib.contextmanager
def scratch_folder(path):
    """A new folder beside *path* for what is not finished; it is removed in the end with all that is still in it.

    Yields:
        Path
    """
    scratch = temporary_path(path)
    scratch.mkdir()
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def temporary_path(path):
    """A new hidden name beside *path* that no other process chooses."""
    path = Path(path)
    return path.with_name(f".{path.name[:_NAME_SHOWN]}.{os.getpid()}-{secrets.token_hex(4)}{_SUFFIX}")


def is_temporary(name, of):
    """Whether *name* is that of a temporary file for *of*, both without folders."""
    return name.startswith(f".{of[:_NAME_SHOWN]}.") and name.endswith(_SUFFIX)


def move(source, target):
    """Rename a file or a folder whose contents are written, so that it outlives a power failure.

    Raises:
        OSError: if *source* cannot be brought to the disk or renamed.
    """
    sync(source)
    os.replace(source, target)
    sync(Path(target).parent)


def sync(path):
    """Bring a file, or the names in a folder, to the disk.

    Raises:
        OSError: if the disk is full, say. That a file system cannot do it for folders is passed over.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not os.path.isdir(path) or error.errno not in _CANNOT_SYNC:
            raise
    finally:
        os.close(descriptor)


def file_version(path):
    """What changes when *path*, a file or a folder, is changed or replaced; None where there is none to be asked."""
    try:
        status = os.stat(path)
    except OSError:  # which opening it will tell
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def open_without_following(path, flags):
    """An ``opener`` for :func:`open` that refuses a symbolic link, for files in the program's own folders.

    Raises:
        OSError: if *path* is one.
    """
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)


def checked_json(values):
    """*values* as JSON below its checksum: bytes, for :func:`read_checked_json`."""
    content = json.dumps(values, ensure_ascii=False).encode()
    return b"%08x\n%s\n" % (zlib.crc32(content), content)


def read_checked_json(path):
    """The values of a file that holds what :func:`checked_json` gives.

    Raises:
        ValueError: if the file is damaged.
        OSError: if it cannot be read.
    """
    checksum, _, content = Path(path).read_bytes().rstrip(b"\n").partition(b"\n")
    if int(checksum, 16) != zlib.crc32(content):
        raise ValueError(path)
    return json.loads(content)


def read_json(path, kind=object):
    """Read a JSON file.

    Args:
        path: the file.
        kind: type that it must be of, such as ``dict`` for an object.

    Raises:
        UserError: if it cannot be read, is not JSON, or is of another type; it names the file.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON: {error}") from None
    if not isinstance(content, kind):
        raise UserError(f"{path}: holds no JSON {'object' if kind is dict else kind.__name__}")
    return content
