"""What a run that was ended leaves behind, and whether the run that is started now is the same, so that it goes on.

Beside the shards that are finished, their folder holds a small file that says what they are made from.
"""

from pathlib import Path

from pixelgpt_fairseq.data.data_folder import shard_name
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.preprocessing import shards
from pixelgpt_fairseq.preprocessing.partial_folder import (
    SHARDS,
    WORK_FILE,
    clear,
    finished_shards,
    remove_shard,
    shards_folder,
)
from pixelgpt_fairseq.preprocessing.shards import read_record
from pixelgpt_fairseq.rendering import RendererConfig
from pixelgpt_fairseq.sources import passages
from pixelgpt_fairseq.sources.corpus_inputs import input_identity
from pixelgpt_fairseq.storage.files import checked_json, read_checked_json, write_whole

_VERSION = 2


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
        "stretches": [shards.SHARD_CHARACTERS, passages.MAX_PASSAGE_CHARACTERS],
    }
    return {"inputs": [input_identity(path) for path in inputs], "settings": settings, "renderer": config.to_dict()}


def finished_work(folder, work, staged_file, overwrite, say):
    """Prepare the hidden folder of a split for *work*: shards that are finished stay, all else is removed.

    Args:
        folder: the hidden folder.
        work: what :func:`describe_work` returned.
        staged_file: name of the file whose presence says that all shards are finished, and may have been moved.
        overwrite: whether finished shards of other work may be removed.
        say: function that tells the user a line.

    Returns:
        dict: ShardRecords of finished shards, by number.

    Raises:
        UserError: if there are finished shards of other work, unless *overwrite*.
    """
    folder = Path(folder)
    clear(folder, unfinished_only=True)
    records = _read_records(folder, say)
    reason = ""
    if (folder / WORK_FILE).exists() or records:
        try:
            theirs = read_checked_json(folder / WORK_FILE)
            if theirs["inputs"] != work["inputs"]:  # more of them, say
                (folder / staged_file).unlink(missing_ok=True)
            reached = max((record.after.file for record in records.values()), default=0)
            reason = "; ".join(_differences(work, theirs, reached))
        except (OSError, ValueError, TypeError, KeyError, UserError):
            reason = "damaged"
        if reason and reason != "damaged" and records and not overwrite:
            documents = sum(record.counts.documents for record in records.values())
            raise UserError(
                f"{folder}: holds {documents:,} documents of an unfinished run that was another "
                f"({reason}): repeat that one to go on with it, or pass --overwrite to start over"
            )
        if reason and (records or reason == "damaged"):
            say(f"{folder}: what an unfinished run left is of no use ({reason}): starting over")
    if reason:
        clear(folder)
        records = {}
    if not (folder / staged_file).exists():
        shards_folder(folder)
    write_whole(folder / WORK_FILE, checked_json(work))
    return records


def _read_records(folder, say):
    """The records of finished shards, by number; a shard that is damaged is removed."""
    records = {}
    for number in finished_shards(folder):
        path = folder / SHARDS / shard_name(number)
        try:
            records[number] = read_record(path)
        except ValueError:
            say(f"{path}: damaged: making this shard again")
            remove_shard(path)
    return records


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
