"""What a run that was ended leaves behind, so that the same command goes on from there.

Beside the files that are being written, their folder holds two small ones: what they are made from, and how far they
have come. The second is replaced every few seconds, when all that it speaks of is on the disk.
"""

import collections
import json
import os
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.preprocessing import chunks
from pixelgpt_fairseq.preprocessing.chunks import Counts
from pixelgpt_fairseq.preprocessing.partial_folder import PROGRESS_FILE, WORK_FILE, clear, drop_chunks
from pixelgpt_fairseq.rendering import RendererConfig
from pixelgpt_fairseq.sources import passages
from pixelgpt_fairseq.sources.corpus_inputs import input_identity
from pixelgpt_fairseq.sources.passages import Position
from pixelgpt_fairseq.storage.files import write_whole

_VERSION = 1


@dataclass
class Progress:
    """How far a run has come.

    Attributes:
        position: where reading goes on.
        counts: Counts of what is written.
        characters: how often each character occurred.
        lengths: the bytes written, by name of the file.
    """

    position: Position = field(default_factory=Position)
    counts: Counts = field(default_factory=Counts)
    characters: collections.Counter = field(default_factory=collections.Counter)
    lengths: dict[str, int] = field(default_factory=dict)


def describe_work(inputs, documents, encoding_errors, store, config, tokenizer, fields, skip_bad_rows):
    """All that a split depends on, as plain values: runs that agree in it write the same bytes.

    Args:
        inputs, documents, encoding_errors, store, config, tokenizer, fields, skip_bad_rows: see
            :func:`~pixelgpt_fairseq.preprocessing.binarize.binarize`.
    """
    if isinstance(tokenizer, int):
        tokens = f"{tokenizer:,} tokens trained on the input"
    else:
        tokens = f"SHA-256 {tokenizer.sha256[:12]}" if tokenizer else "none"
    settings = {
        "version": _VERSION,
        "documents": documents,
        "encoding_errors": encoding_errors,
        "fields": list(fields),
        "skip_bad_rows": skip_bad_rows,
        "store": store,
        "tokenizer": tokens,
        "max_patches": config.max_patches,
        "chunks": [chunks.CHUNK_CHARACTERS, passages.MAX_PASSAGE_CHARACTERS],
    }
    return {"inputs": [input_identity(path) for path in inputs], "settings": settings, "renderer": config.to_dict()}


def take_up(folder, work, staged_file, overwrite, say):
    """Prepare the folder of a split for *work*: what was finished of it stays, all else is removed.

    Args:
        folder: the folder of unfinished files.
        work: what :func:`describe_work` returned.
        staged_file: name of the file whose presence says that everything is finished, and may have been moved.
        overwrite: whether finished parts of other work may be removed.
        say: function that tells the user a line.

    Returns:
        Progress: of the same work; a new one if there is none.

    Raises:
        UserError: if there are finished parts of other work, unless *overwrite*.
    """
    folder = Path(folder)
    progress, reason = Progress(), "nothing is there"
    if (folder / PROGRESS_FILE).exists():
        try:
            progress = _read_progress(folder)
            theirs = _read_checked(folder / WORK_FILE)
            if theirs["inputs"] != work["inputs"]:  # more of them, say
                (folder / staged_file).unlink(missing_ok=True)
            if not (folder / staged_file).exists():
                _check_lengths(folder, progress.lengths)
            differences = _differences(work, theirs, progress.position.file)
        except (OSError, ValueError, TypeError, KeyError, UserError):
            reason = "damaged"
        else:
            reason = "; ".join(differences)
            if reason and progress.counts.pieces and not overwrite:
                raise UserError(
                    f"{folder}: holds {progress.counts.documents:,} documents of an unfinished run that was another "
                    f"({reason}): repeat that one to go on with it, or pass --overwrite to start over"
                )
        if reason:
            say(f"{folder}: what an unfinished run left is of no use ({reason}): starting over")
            progress = Progress()
    if reason:
        clear(folder)
    drop_chunks(folder)
    _write_checked(folder / WORK_FILE, work)
    return progress


def save_progress(folder, progress):
    """Record *progress*; what it speaks of must be on the disk."""
    _write_checked(folder / PROGRESS_FILE, {**vars(progress), "counts": vars(progress.counts)})


def _differences(ours, theirs, file):
    """What differs between two runs, a line each, as far as input number *file*."""
    lines = []
    trained = "trained" in ours["settings"]["tokenizer"]  # on all of the input
    read = [work["inputs"][: None if trained else file + 1] for work in (ours, theirs)]
    if [path for path, *_ in read[0]] != [path for path, *_ in read[1]]:
        lines.append("other --input")
    elif read[0] != read[1]:
        changed = next(mine for mine, other in zip(*read, strict=True) if mine != other)
        lines.append(f"{changed[0]} has changed since")
    for name, value in ours["settings"].items():
        if value != theirs["settings"][name]:
            lines.append(f"{name}: {value} against {theirs['settings'][name]}")
    renderers = [RendererConfig.from_dict(work["renderer"]) for work in (ours, theirs)]
    return lines + renderers[0].differences(renderers[1])


def _read_progress(folder):
    values = _read_checked(folder / PROGRESS_FILE)
    progress = Progress(
        Position(*values["position"]),
        Counts(**values["counts"]),
        collections.Counter(values["characters"]),
        values["lengths"],
    )
    return progress


def _check_lengths(folder, lengths):
    for name, length in lengths.items():
        if os.path.getsize(folder / name) < length:
            raise UserError(f"{folder / name}: shorter than it was")


def _write_checked(path, values):
    """Write JSON below its checksum, whole or not at all."""
    content = json.dumps(values, ensure_ascii=False).encode()
    write_whole(path, b"%08x\n%s\n" % (zlib.crc32(content), content))


def _read_checked(path):
    """Read what :func:`_write_checked` wrote.

    Raises:
        ValueError: if it is damaged.
    """
    checksum, _, content = path.read_bytes().rstrip(b"\n").partition(b"\n")
    if int(checksum, 16) != zlib.crc32(content):
        raise ValueError(path)
    return json.loads(content)
