"""The hidden folder in which a split is made, and how what is finished there becomes the split, whole or not at all.

The folder belongs to one run at a time, which a lock in it ensures, and to this program alone: only files that it
writes are ever removed, and symbolic links are never followed.
"""

import contextlib
import json
import os
import re
from pathlib import Path

from pixelgpt_fairseq.data.data_folder import (
    IDS_FILE,
    LABELS_FILE,
    SHARD_FILE,
    SHARD_NAME,
    SHARED_FILES,
    TOKENIZER_FILE,
    listed_files,
    shard_name,
)
from pixelgpt_fairseq.data.streams import STREAMS
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.storage.files import check_absent, is_temporary, read_json, sync, write_whole
from pixelgpt_fairseq.storage.locks import locked

WORK_FILE = "work.json"  # see the module unfinished_work
LOCK_FILE = "lock"
SHARDS = "shards"  # the folder in a hidden folder that becomes the split's
_STRETCH = rf"{SHARD_NAME}\.stretch"  # text that waits for its worker
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
                kept_files = (TOKENIZER_FILE, folder.manifest_path(split).name)
                keep = resumable and bool(finished_shards(path) or any((path / name).exists() for name in kept_files))
                if keep:
                    clear(path, unfinished_only=True)
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
    for entry in _foreign(path):
        kind = "a symbolic link" if entry.is_symlink() else "a folder" if entry.is_dir() else "a file"
        raise UserError(f"{entry.path}: {kind} that this program did not write: move it out of {path.name}")


def _foreign(path):
    """The entries of a hidden folder that no run of this program wrote."""
    for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
        if entry.name == SHARDS and _is_folder(entry):
            yield from foreign_in_shards(entry.path)
        elif not _is_own(entry):
            yield entry


def foreign_in_shards(path):
    """The entries of a folder of shards, finished or not, that no run of this program wrote."""
    for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
        if _is_folder(entry) and (re.fullmatch(SHARD_NAME, entry.name) or _is_unfinished(entry.name)):
            yield from (found for found in os.scandir(entry.path) if not _is_of_shard(found))
        else:
            yield entry


def _is_folder(entry):
    return entry.is_dir(follow_symlinks=False)


def _is_unfinished(name):
    """Whether this is the name of the folder of a shard that a worker is making."""
    shard = re.match(rf"\.({SHARD_NAME})\.", name)
    return bool(shard) and is_temporary(name, shard[1])


def _is_of_shard(entry):
    """Whether an entry of a shard's folder is a file such as runs write."""
    if entry.is_symlink() or not entry.is_file():
        return False
    names = (LABELS_FILE, IDS_FILE, SHARD_FILE)
    known = re.fullmatch(_STREAM_FILE, entry.name) or entry.name in names
    return bool(known) or any(is_temporary(entry.name, name) for name in names)


def _is_own(entry):
    """Whether an entry of a hidden folder is a file such as runs write."""
    split = Path(entry.path).parent.name[1:].removesuffix(".partial")
    if entry.is_symlink() or not entry.is_file():
        return False
    if re.fullmatch(_STRETCH, entry.name):
        return True
    small = (f"{split}.manifest.json", *SHARED_FILES, WORK_FILE, LOCK_FILE)
    return entry.name in small or any(is_temporary(entry.name, name) for name in small)


def finished_shards(path):
    """Numbers of the shards in a hidden folder that are finished, in order."""
    names = os.listdir(path / SHARDS) if _is_real_folder(path / SHARDS) else []
    return sorted(int(name) for name in names if re.fullmatch(SHARD_NAME, name))


def _is_real_folder(path):
    return os.path.isdir(path) and not os.path.islink(path)


def clear(path, unfinished_only=False):
    """Remove from a hidden folder what runs wrote, but not the lock; or only shards that are not finished and texts."""
    for entry in list(os.scandir(path)):
        if entry.name == SHARDS and _is_folder(entry):
            remove_shards(entry.path, unfinished_only)
        elif _is_own(entry) and entry.name != LOCK_FILE and (not unfinished_only or re.fullmatch(_STRETCH, entry.name)):
            os.unlink(entry.path)


def remove_shards(path, unfinished_only=False):
    """Remove a folder of shards, or those in it that are not finished; what no run wrote stays."""
    for entry in list(os.scandir(path)):
        unfinished = _is_unfinished(entry.name)
        if _is_folder(entry) and (unfinished or (re.fullmatch(SHARD_NAME, entry.name) and not unfinished_only)):
            remove_shard(entry.path)
    if not unfinished_only:
        with contextlib.suppress(OSError):  # not empty
            os.rmdir(path)


def remove_shard(path):
    """Remove the folder of one shard; the file that says that it is whole goes first.

    On another machine, a worker that lost its scheduler may still be at work there, so anything may be gone meanwhile.
    """
    with contextlib.suppress(FileNotFoundError):
        for entry in sorted(os.scandir(path), key=lambda entry: entry.name != SHARD_FILE):
            if _is_of_shard(entry):
                Path(entry.path).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # not empty
        os.rmdir(path)


def only_shard(partial):
    """Make the folder of the only shard of a split of examples in a hidden folder; returns its path."""
    path = shards_folder(partial) / shard_name(0)
    path.mkdir()
    return path


def sync_shard(path):
    """Bring the files of a shard, and their names, to the disk."""
    for entry in os.scandir(path):
        sync(entry.path)
    sync(path)


def shards_folder(partial):
    """Make the folder of finished shards in a hidden folder, unless it is there; returns its path.

    Raises:
        UserError: if a link has its name.
    """
    path = partial / SHARDS
    with contextlib.suppress(FileExistsError):
        path.mkdir()
    if not _is_real_folder(path):
        raise UserError(f"{path}: a symbolic link or a file that this program did not write: move it away")
    return path


def shard_listing(split, shards):
    """What a manifest says of the shards of *split*.

    Args:
        shards: for each shard, in order, its files: name -> (bytes, CRC-32).
    """
    names = [shard_name(number) for number in range(len(shards))]
    found = {
        f"{split}.shards/{shard}/{name}": content
        for shard, files in zip(names, shards, strict=True)
        for name, content in files.items()
    }
    return {
        "shards": names,
        "files": {name: size for name, (size, _) in found.items()},
        "checksums": {name: checksum for name, (_, checksum) in found.items()},
    }


def stage(partial, folder, shared, manifest):
    """Write the small files of a split beside its finished ones, the manifest last: with it, all can be moved.

    Args:
        partial: the hidden folder that holds the shards which *manifest* names.
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
    listed_files(read_json(staged), staged)
    shards, old_shards = partial / SHARDS, folder.shards_path(split)
    moves = _is_real_folder(shards)  # otherwise they were moved before
    if moves:
        check_old_shards(old_shards)
        sync(shards)
    for name in (*SHARED_FILES, staged.name):
        if (partial / name).exists():
            sync(partial / name)
    sync(partial)
    manifest_path.unlink(missing_ok=True)
    for path in folder.plan_files(split):
        path.unlink()
    sync(folder.path)
    if moves:
        if old_shards.exists():
            remove_shards(old_shards)
            sync(folder.path)
        os.replace(shards, old_shards)
    for name in SHARED_FILES:
        if (partial / name).exists():
            os.replace(partial / name, folder.path / name)
    sync(folder.path)
    os.replace(staged, manifest_path)
    sync(folder.path)


def check_old_shards(path):
    """Refuse to replace a folder in which there is anything that is no shard.

    Raises:
        UserError: naming it.
    """
    if os.path.lexists(path) and not _is_real_folder(path):
        raise UserError(f"{path}: not a folder, where this program puts the shards of a split: move it away")
    for entry in foreign_in_shards(path) if path.exists() else ():
        raise UserError(f"{entry.path}: not written by this program: move it out of {path.name}")


def check_destination(folder, split, overwrite):
    """Refuse to touch a split that is there; hidden folders of splits that are whole are removed.

    Raises:
        UserError: unless *overwrite*, or the split is one that a run was moving into place when it was ended.
    """
    for whole in folder.splits():
        _remove_rest(partial_path(folder, whole))
    check_old_shards(folder.shards_path(split))
    there = folder.split_files(split)
    if there and not is_moving(folder, split):
        check_absent(there[-1], "another --destdir or --split", overwrite)


def is_moving(folder, split):
    """Whether a run was ended while it moved *split* into place: the same run can go on with that."""
    manifest_path = folder.manifest_path(split)
    return not manifest_path.exists() and (partial_path(folder, split) / manifest_path.name).exists()


def _remove_rest(path):
    """Remove a hidden folder whose run was killed when it had moved everything: it holds small files at most."""

    def is_rest():
        return set(os.listdir(path)) <= {LOCK_FILE, WORK_FILE}

    if path.is_symlink() or not path.is_dir():
        return
    with contextlib.suppress(UserError, OSError):  # another run has begun to write there, say
        if is_rest():
            with locked(path / LOCK_FILE, "writing this split", wait=0):
                if is_rest():
                    clear(path)
            path.rmdir()
