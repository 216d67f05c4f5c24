"""What it takes to make a split of labeled examples, whoever drew them."""

import itertools
import zlib
from dataclasses import dataclass

import numpy as np

from pixelgpt_fairseq.data import data_folder
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.preprocessing.partial_folder import SHARDS, shard_listing, stage, sync_shard
from pixelgpt_fairseq.sources.examples import NO_LABEL, SentenceTask
from pixelgpt_fairseq.storage.files import open_without_following


@dataclass
class ExampleCounts:
    """What a split holds."""

    examples: int = 0
    patches: int = 0
    tokens: int = 0
    characters: int = 0
    full_strips: int = 0  # as long as a strip may be: of most of them the end is missing


def encode_texts(texts, tokenizer):
    """Tokens of the sentences of an example, each after a bos: int64 ``[m]``."""
    tokens = itertools.chain.from_iterable([tokenizer.bos, *tokenizer(text)] for text in texts)
    return np.fromiter(tokens, dtype=np.int64)


def check_task(folder, split, task: SentenceTask):
    """Refuse examples of another task than that of the folder's other splits.

    Raises:
        UserError: naming the two.
    """
    for other in folder.splits():
        if other == split:
            continue
        held = folder.read_manifest(other).get("task")
        if held is None:
            raise UserError(f"{folder.path}: holds a corpus (split {other}): choose another --destdir")
        if held != task.to_dict():
            raise UserError(
                f"{folder.path}: split {other} is of task {held['name']} (labels: {_words(held['labels'])}), these "
                f"examples are of {task.name} (labels: {_words(task.labels)}): choose another --destdir"
            )


def stage_examples(partial, folder, split, task, counts, labels, contents, shared, **settings):
    """Finish a split of examples in *partial*: its labels, its manifest, and the files that splits share.

    Args:
        partial: the folder that :func:`~pixelgpt_fairseq.preprocessing.partial_folder.move_into_place` will empty.
        folder: DataFolder that is to have the split.
        split: its name.
        task: SentenceTask.
        counts: ExampleCounts.
        labels: the class or score of every example.
        contents: of the files of its only shard: name -> (bytes, CRC-32).
        shared: see :func:`~pixelgpt_fairseq.preprocessing.binarize.shared_files`.
        settings: what else the manifest is to say: how strips and tokens were made.

    Returns:
        (bytes, frequencies): the size of the split's files; examples of each class, empty for regression and where
        there are no labels.
    """
    labels = np.array(labels, dtype=np.float64 if task.regression else np.int64)
    present = labels[labels != NO_LABEL]
    path = partial / SHARDS / data_folder.shard_name(0) / data_folder.LABELS_FILE
    with open(path, "wb", opener=open_without_following) as file:
        np.save(file, labels)
    listing = shard_listing(split, [{**contents, path.name: (path.stat().st_size, zlib.crc32(path.read_bytes()))}])
    manifest = {
        "version": data_folder.MANIFEST_VERSION,
        "split": split,
        **vars(counts),
        "labeled": bool(len(present)),
        "task": task.to_dict(),
        **listing,
        **settings,
    }
    sync_shard(path.parent)
    stage(partial, folder, shared, manifest)
    frequencies = {}
    if len(present) and not task.regression:
        frequencies = dict(zip(task.labels, np.bincount(present, minlength=task.num_labels).tolist(), strict=True))
    return sum(listing["files"].values()), frequencies


def _words(labels):
    return ", ".join(labels) or "scores"
