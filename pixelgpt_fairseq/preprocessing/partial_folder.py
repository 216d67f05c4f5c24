"""The hidden folder in which a split is made, and how what is finished there becomes the split, whole or not at all.

The folder belongs to one run at a time, which a lock in it ensures, and to this program alone: only files that it
writes are ever removed, and symbolic links are never followed.
"""

import contextlib
import json
import os
import re
from pathlib import Path

from pixelgpt_fairseq.data.data_folder import SHARED_FILES, listed_files
from pixelgpt_fairseq.data.streams import STREAMS
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.storage.files import check_absent, is_temporary, read_json, sync, write_whole
from pixelgpt_fairseq.storage.locks import locked

WORK_FILE, PROGRESS_FILE = "work.json", "progress.json"  # see the module resumption
LOCK_FILE = "lock"
_CHUNK = r"\d{6,}"
_STREAM_FILE = rf"({'|'.join(STREAMS)})(\.rgb)?\.(bin|idx|sizes)"


def partial_path(folder, split):
    """The hidden folder of a split's unfinished files."""
    return folder.path / f".{split}.partial"


@contextlib.contextmanager
def partial_folder(folder, split, resumable=False, say=None):
    """The hidden folder of a split, for one run at a time; removed in the end.

    Args:
        folder: DataFolder.
        split: name of the split.
        resumable: give what an earlier run left there, and when this one fails, keep what it has recorded as finished.
            Otherwise the folder is empty at first and removed whatever happens; if the run is killed, the next one
            empties it.
        say: function that tells the user a line.

    Yields:
        Path

    Raises:
        UserError: if another run uses it, or something is there that this program did not write.
        KeyboardInterrupt: for Ctrl-C, saying what is kept if anything is.
    """
    there = folder.path.exists()
    path = partial_path(folder, split)
    keep = False
    try:
        with contextlib.ExitStack() as stack:
            _enter(path, stack)
            _check_own(path)
            try:
                if not resumable:
                    clear(path)
                yield path
            except BaseException as error:
                keep = resumable and (path / PROGRESS_FILE).exists()
                if keep:
                    drop_chunks(path)
                    kept = f"{path} keeps what is finished: the same command goes on from there"
                    if isinstance(error, KeyboardInterrupt):
                        raise KeyboardInterrupt(kept) from None  # the one line that the command ends with
                    say(kept)
                raise
            finally:
                if not keep:
                    clear(path)
    finally:
        if not keep:
            with contextlib.suppress(OSError):  # not empty
                path.rmdir()
                if not there:
                    folder.path.rmdir()


def _enter(path, stack):
    """Make the hidden folder, unless it is there, and lock it for as long as *stack* is open."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.mkdir()
        except FileExistsError:
            if path.is_symlink() or not path.is_dir():
                kind = "a symbolic link" if path.is_symlink() else "not a folder"
                raise UserError(
                    f"{path}: {kind}, where this program makes a folder for unfinished files: move it away"
                ) from None
        try:
            stack.enter_context(locked(path / LOCK_FILE, "writing this split"))
            return
        except UserError:
            if os.path.lexists(path):
                raise  # otherwise a run that ended just now has removed the folder


def _check_own(path):
    """Refuse a folder in which there is anything that no run of this program wrote.

    Raises:
        UserError: naming it.
    """
    for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
        if not _is_own(entry):
            kind = "a symbolic link" if entry.is_symlink() else "a folder" if entry.is_dir() else "a file"
            raise UserError(f"{entry.path}: {kind} that this program did not write: move it out of {path.name}")


def _is_own(entry):
    """Whether an entry of a hidden folder is a file such as runs write."""
    split = Path(entry.path).parent.name[1:].removesuffix(".partial")
    if entry.is_symlink() or not entry.is_file():
        return False
    if re.fullmatch(rf"({re.escape(split)}|{_CHUNK})\.{_STREAM_FILE}", entry.name):
        return True
    small = (f"{split}.labels.npy", f"{split}.manifest.json", *SHARED_FILES, WORK_FILE, PROGRESS_FILE, LOCK_FILE)
    return entry.name in small or any(is_temporary(entry.name, name) for name in small)


def clear(path):
    """Remove from a hidden folder the files that runs wrote, but not the lock."""
    for entry in list(os.scandir(path)):
        if _is_own(entry) and entry.name != LOCK_FILE:
            os.unlink(entry.path)


def drop_chunks(path):
    """Remove from a hidden folder the chunks that were not finished, as the next run would."""
    for entry in list(os.scandir(path)):
        if _is_own(entry) and re.match(_CHUNK, entry.name):
            os.unlink(entry.path)


def stage(partial, folder, shared, manifest):
    """Write the small files of a split beside its finished ones, the manifest last: with it, all can be moved.

    Args:
        partial: the folder that holds the files which *manifest* names.
        folder: DataFolder.
        shared: name -> content of the files that all splits share.
        manifest: as plain values.
    """
    text = json.dumps(manifest, indent=1, ensure_ascii=False) + "\n"
    for name, content in {**shared, folder.manifest_path(manifest["split"]).name: text}.items():
        write_whole(partial / name, content)


def move_into_place(folder, partial, split):
    """Make the staged files of a hidden folder the split, in the place of an older one.

    Files are only renamed: a full disk cannot come between. While there is no manifest, no later step takes the split
    for whole. If this is ended in the middle, even by a power failure, it can be done again.

    Args:
        folder: DataFolder.
        partial: the folder in which :func:`stage` has finished them.
        split: name of the split.
    """
    manifest_path = folder.manifest_path(split)
    staged = partial / manifest_path.name
    new = [*listed_files(read_json(staged), staged), *SHARED_FILES]
    for name in (*new, staged.name):
        if (partial / name).exists():
            sync(partial / name)
    sync(partial)
    manifest_path.unlink(missing_ok=True)
    for path in (*folder.split_files(split), *folder.plan_files(split)):
        if path.name not in new:
            path.unlink()
    sync(folder.path)
    for name in new:
        if (partial / name).exists():
            os.replace(partial / name, folder.path / name)
    sync(folder.path)
    os.replace(staged, manifest_path)
    sync(folder.path)


def check_destination(folder, split, overwrite):
    """Refuse to touch a split that is there; hidden folders of splits that are whole are removed.

    Raises:
        UserError: unless *overwrite*, or the split is one that a run was moving into place when it was ended.
    """
    for whole in folder.splits():
        _remove_rest(partial_path(folder, whole))
    there = folder.split_files(split)
    if there and not is_moving(folder, split):
        check_absent(there[0], "another --destdir or --split", overwrite)


def is_moving(folder, split):
    """Whether a run was ended while it moved *split* into place: the same run can go on with that."""
    manifest_path = folder.manifest_path(split)
    return not manifest_path.exists() and (partial_path(folder, split) / manifest_path.name).exists()


def _remove_rest(path):
    """Remove a hidden folder whose run was killed when it had moved everything: it holds small files at most."""

    def is_rest():
        names = set(os.listdir(path)) - {LOCK_FILE, WORK_FILE, PROGRESS_FILE}
        return all(name.endswith(".sizes") for name in names)

    if path.is_symlink() or not path.is_dir():
        return
    with contextlib.suppress(UserError, OSError):  # another run has begun to write there, say
        if is_rest():
            with locked(path / LOCK_FILE, "writing this split", wait=0):
                if is_rest():
                    clear(path)
            path.rmdir()
