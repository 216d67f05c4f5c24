"""What the user names as a corpus, as a list of files: files, folders, patterns and standard input."""

import glob
import logging
import os

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.sources.compression import is_compressed_name, text_suffix
from pixelgpt_fairseq.sources.corpus_formats import SUFFIXES
from pixelgpt_fairseq.sources.standard_input import STANDARD_INPUT

logger = logging.getLogger(__name__)


def find_inputs(names) -> list[str]:
    """The files of a corpus, in the order of *names*, those of a folder or a pattern sorted.

    Args:
        names: paths of files; of folders, for all files below them whose names say text, JSON lines or Parquet,
            compressed or not (where no name does, for those without a suffix); patterns such as ``c4-*.json.gz``
            (``**`` for any folders); ``"-"`` for standard input.

    Raises:
        UserError: if a file is absent, a folder or a pattern has nothing, or standard input is named twice.
    """
    found = []
    for name in map(str, names):
        if name == STANDARD_INPUT and name in found:
            raise UserError("-: standard input is named twice")
        if name == STANDARD_INPUT or os.path.isfile(name):
            found.append(name)
        elif os.path.isdir(name):
            found += _files_of_folder(name)
        elif glob.has_magic(name):
            matches = sorted(path for path in glob.glob(name, recursive=True) if os.path.isfile(path))
            if not matches:
                raise UserError(f"{name}: no file matches this pattern")
            found += matches
        else:
            raise UserError(f"{name}: no such file")
    return found


def input_size(path) -> int:
    """The size of an input in bytes; 0 for standard input, whose size nobody knows."""
    return 0 if path == STANDARD_INPUT else os.path.getsize(path)


def input_identity(path) -> list:
    """Plain values by which an input is known again: its path, size and time of change."""
    if path == STANDARD_INPUT:
        return [path, 0, 0]
    status = os.stat(path)
    return [os.path.abspath(path), status.st_size, status.st_mtime_ns]


def _files_of_folder(folder):
    named, others, left_out = [], [], []
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "_")))
        for name in sorted(files):
            path = os.path.join(parent, name)
            suffix = text_suffix(name)
            if name.startswith((".", "_")) or not os.path.isfile(path):
                continue
            if suffix in SUFFIXES or (not suffix and is_compressed_name(name)):
                named.append(path)
            elif not suffix:
                others.append(path)
            else:
                left_out.append(path)
    if named:
        left_out += others
    if not named + others:
        raise UserError(f"{folder}: no files in it whose names end in {', '.join(SUFFIXES)}, nor without any ending")
    if left_out:
        logger.warning(
            "%s: left out %s whose names do not say text, JSON lines or Parquet, such as %s",
            folder,
            "1 file" if len(left_out) == 1 else f"{len(left_out):,} files",
            left_out[0],
        )
    return sorted(named or others)
