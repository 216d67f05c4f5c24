"""Damaged shards of a finished split, made again from the same input and compared with what they were."""

import contextlib
import itertools
import os

from pixelgpt_fairseq.data.data_folder import shard_name
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.preprocessing.partial_folder import (
    SHARDS,
    check_old_shards,
    partial_folder,
    remove_shard,
    shards_folder,
)
from pixelgpt_fairseq.preprocessing.shards import ShardRecord, read_record, stretches
from pixelgpt_fairseq.storage.files import sync


def repair_split(folder, split, read, make, say):
    """Make the damaged shards of *split* again and put them into their places.

    A shard is replaced only by the same bytes, so the split is as it was, and training on it can go on meanwhile.

    Args:
        folder: DataFolder.
        split: name of the split.
        read: function from a Position to the passages of the corpus that come from there on.
        make: function from jobs (Stretches) to their ShardRecords, in order.
        say: function that tells the user a line.

    Returns:
        list of str: names of the shards that were made again.

    Raises:
        UserError: if what is made now is not what was made then; the split is not touched.
    """
    manifest = folder.read_manifest(split)
    damaged, records = set(), {}
    for shard, message in folder.damage(split):
        if shard not in damaged:
            say(message)
        damaged.add(shard)
    for number, shard in enumerate(manifest["shards"]):
        try:
            records[number] = read_record(folder.shards_path(split) / shard)
        except ValueError:
            damaged.add(shard)
        if shard in damaged:
            records.pop(number, None)
    if not damaged:
        return []
    check_old_shards(folder.shards_path(split))
    with partial_folder(folder, split) as partial:
        partial = partial.absolute()  # other machines may be in other folders
        shards_folder(partial)
        found = stretches(read, records, partial, partial / SHARDS)
        last = max(manifest["shards"].index(shard) for shard in damaged)
        jobs = (job for job in itertools.islice(found, last + 1) if not isinstance(job, ShardRecord))
        made = []
        with contextlib.closing(make(jobs)) as results:
            for record in results:
                _check_same(folder, split, manifest, record)
                made.append(shard_name(record.number))
        if set(made) != damaged:
            raise _other_input(folder.shards_path(split) / min(damaged - set(made)))
        for shard in made:
            place = folder.shards_path(split) / shard
            if place.exists():
                remove_shard(place)
            os.replace(partial / SHARDS / shard, place)
        sync(folder.shards_path(split))
    return made


def _check_same(folder, split, manifest, record):
    """Refuse a shard that is not the one that the manifest lists."""
    name = shard_name(record.number)
    listed = {
        path.rpartition("/")[2]: (size, manifest["checksums"].get(path))
        for path, size in manifest["files"].items()
        if path.startswith(f"{split}.shards/{name}/")
    }
    if record.files != listed:
        raise _other_input(folder.shards_path(split) / name)


def _other_input(path):
    return UserError(
        f"{path}: made again, it is not what it was: the input, the options or this program are not those that the "
        "split was rendered with: give the same ones, or render it again with --overwrite"
    )
