"""The authors' rendered data where it is published: on the Hugging Face hub, in folders or in an archive."""

import functools
import re
import tarfile
import tempfile
from pathlib import Path

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.sources.released import find_released, released_name
from pixelgpt_fairseq.storage.hub import NotOnHub, fetch, is_hub_name

_PART = re.compile(r"(?:.*/)?([\w-]+)/(part-\d+\.gz)")


def local_released(path, task: str, splits) -> Path:
    """The folder that has the splits of a task, of which *path* is one way to say where they are.

    Args:
        path: a folder; an archive (``rendered_glue.tar``), of which those splits are unpacked into a temporary folder;
            or ``owner/name`` on the hub, from where they are fetched.
        task: ``rte``, ``xnli-sw``.
        splits: names of splits as in data folders.

    Raises:
        UserError: if there is no such folder, the archive is damaged, or the hub does not have it.
    """
    if is_hub_name(path):
        names = [released_name(task, split) for split in splits]
        folder = _fetch(path, [f"*{name}/part-*.gz" for name in names])
        if any(find_released(folder, task, split) for split in splits):
            return folder
        group = "xnli" if task.startswith("xnli") else "glue"
        folder = _fetch(path, [f"*{group}*.tar", f"*{group}*.tar.gz"])
        archives = sorted(folder.rglob(f"*{group}*.tar*"))
        return _unpacked(archives[0], tuple(names)) if archives else folder
    path = Path(path)
    if path.is_file():
        return _unpacked(path, tuple(released_name(task, split) for split in splits))
    if not path.is_dir():
        raise UserError(f"--released {path}: no such folder")
    return path


def _fetch(name, patterns):
    try:
        return fetch(name, patterns, "dataset")
    except NotOnHub:
        return fetch(name, patterns, "model")


@functools.cache
def _temporary_folder():
    return tempfile.TemporaryDirectory(prefix="pixelgpt-")  # removed when the process ends


@functools.cache
def _unpacked(archive, names):
    """Unpack the splits of these names; no other file of the archive, and none to anywhere else."""
    folder = Path(tempfile.mkdtemp(dir=_temporary_folder().name))
    try:
        with tarfile.open(archive) as file:
            for member in file:
                found = _PART.fullmatch(member.name)
                if found and found[1] in names and member.isreg():
                    member.name = f"{found[1]}/{found[2]}"
                    file.extract(member, folder, filter="data")
    except (tarfile.TarError, EOFError) as error:
        raise UserError(f"{archive}: not a tar archive, or damaged: {error}") from None
    except OSError as error:
        raise UserError(f"{archive}: cannot be unpacked into {folder}: {error.strerror or error}") from None
    return folder
