"""Models and data that others published on the Hugging Face hub, by their names there: ``owner/name``."""

import hashlib
import os
import re
from pathlib import Path

from pixelgpt_fairseq.errors import UserError, missing_package

_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)
_NEVER_A_NAME = (".pt", ".safetensors", ".tar", ".gz")  # a file that is absent
_READ_BYTES = 1 << 20
_KINDS = {"model": "model", "dataset": "data set"}
_LOG_IN = "check the name; for one that is private, run `hf auth login`"


def is_hub_name(path) -> bool:
    """Whether *path* is ``owner/name`` on the hub: something local of this name wins, and so does a folder *owner*."""
    path = str(path)
    if os.path.exists(path) or not _NAME.fullmatch(path) or path.endswith(_NEVER_A_NAME):
        return False
    return not os.path.exists(path.partition("/")[0])


def fetch(name, patterns, kind="model", ignored=None) -> Path:
    """Fetch the files of a repository that are not in the cache yet.

    The hub's own package does it: it honors ``HF_ENDPOINT``, ``HF_HUB_OFFLINE`` and its cache, and goes on with a file
    whose connection broke. What was fetched is compared with the checksums that the hub states.

    Args:
        name: ``owner/name``.
        patterns: of the files' paths, such as ``*.json``; a star stands for slashes, too.
        kind: ``"model"`` or ``"dataset"``.
        ignored: pattern of the paths of those that are not fetched.

    Returns:
        The folder of the files, in the cache. It may hold others, which were fetched before.

    Raises:
        UserError: if the hub cannot be reached and the cache lacks files, has no such repository, sends something else,
            or the package is not installed.
    """
    try:
        from httpx2 import HTTPError
        from huggingface_hub import constants, errors, snapshot_download
    except ImportError:
        raise missing_package(f"{name}: nothing here has this name; fetching it", "huggingface_hub", "hub") from None
    folder = constants.HF_HUB_CACHE, f"{kind}s--{name.replace('/', '--')}", "blobs"
    held = set(os.listdir(Path(*folder))) if Path(*folder).is_dir() else set()
    try:
        snapshot = snapshot_download(name, repo_type=kind, allow_patterns=list(patterns), ignore_patterns=ignored)
    except (errors.RepositoryNotFoundError, errors.DisabledRepoError, errors.HFValidationError):
        raise NotOnHub(
            f"{name}: no such file or folder, and the hub has no {_KINDS[kind]} of this name for you: {_LOG_IN}"
        ) from None
    except (HTTPError, OSError, errors.EntryNotFoundError) as error:
        if getattr(error, "errno", None):  # a disk that is full, say
            raise UserError(f"{name}: cannot be fetched: {error.filename or ''} {error.strerror}") from None
        raise UserError(
            f"{name}: no such file or folder, and it cannot be fetched from {constants.ENDPOINT}: "
            f"{_reason(error)}: check the network (or HF_ENDPOINT), and repeat the command: files that are whole are "
            "not fetched again"
        ) from None
    _check_sums(name, Path(snapshot), held)
    return Path(snapshot)


class NotOnHub(UserError):
    """The hub has no repository of a name and kind."""


def _reason(error):
    """The first line of what went wrong first, without addresses of requests."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    return lines[0][:200].rstrip(" .:") if lines else type(error).__name__


def _check_sums(name, folder, held):
    """Compare the files that are not in *held* with their checksums, by which the cache names them."""
    for path in sorted(folder.rglob("*")):
        blob = path.resolve()
        if not path.is_symlink() or blob.name in held or not re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", blob.name):
            continue
        if _checksum(blob, len(blob.name)) != blob.name:
            path.unlink()
            blob.unlink()
            raise UserError(
                f"{name}: {path.relative_to(folder)} has another checksum than the hub says, and was removed: "
                "repeat the command to fetch it again"
            )


def _checksum(path, length):
    """SHA-256 of a large file, or the SHA-1 by which git knows a small one."""
    digest = hashlib.sha256() if length == 64 else hashlib.sha1(b"blob %d\0" % path.stat().st_size)
    with open(path, "rb") as file:
        while content := file.read(_READ_BYTES):
            digest.update(content)
    return digest.hexdigest()
