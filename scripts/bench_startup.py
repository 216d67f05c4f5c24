#!/usr/bin/env python3
"""Measure how long training takes to start on a large corpus, and the memory that each process then has of its own.

The corpus is synthetic: documents of random lengths with about as many patches and tokens as English has. Patches are a
hole in a file, so that 300 million of them take no room on the disk. A process of its own starts as a rank of
fairseq-train does: the streams are opened and cut into examples, and the batches of the first epoch are drawn.
"""

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from pixelgpt_fairseq.errors import UserError, command

LONGEST_STRIP = 1024  # patches
DOCUMENTS_PER_SHARD = 2000  # as many as a megabyte of text has
PATCHES_PER_TOKEN = 1.5
WORD = 1.4  # tokens
ALL = "text,pixel,pair"


def write_data(folder, documents, patches, shards, seed=1):
    """Write a data folder with a split of so many documents, about so many patches, in so many shards.

    Returns:
        int: the number of patches.
    """
    from pixelgpt_fairseq.data import data_folder
    from pixelgpt_fairseq.data.data_folder import DataFolder
    from pixelgpt_fairseq.data.tokens import train_tokenizer
    from pixelgpt_fairseq.preprocessing.binarize import shared_files
    from pixelgpt_fairseq.preprocessing.partial_folder import shard_listing
    from pixelgpt_fairseq.rendering import RendererConfig, TextRenderer

    random = np.random.default_rng(seed)
    data = DataFolder(folder)
    data.path.mkdir(parents=True, exist_ok=True)
    syllables = [a + b for a in "bdfgklmnprst" for b in "aeiou"]
    tokenizer = train_tokenizer(("".join(random.choice(syllables, 3)) for _ in range(5000)), 400)
    config = TextRenderer(RendererConfig(max_patches=LONGEST_STRIP)).config
    for name, content in shared_files(config, tokenizer).items():
        (data.path / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    lengths = random.lognormal(0, 0.7, documents)
    lengths = np.maximum(4, lengths * (patches / lengths.sum())).astype(np.int64)
    written, total = [], 0
    for part in np.array_split(lengths, shards):
        path = data.shards_path("train") / data_folder.shard_name(len(written))
        path.mkdir(parents=True)
        total += write_shard(path, part, tokenizer, random)
        written.append({file.name: (file.stat().st_size, 0) for file in path.iterdir()})
    manifest = {
        "version": data_folder.MANIFEST_VERSION,
        "split": "train",
        "documents": documents,
        **shard_listing("train", written),
        "patch_values": config.patch_values,
        "store": "patches",
        "renderer": config.to_dict(),
        "tokenizer_sha256": tokenizer.sha256,
    }
    data.manifest_path("train").write_text(json.dumps(manifest))
    return total


def write_shard(path, lengths, tokenizer, random):
    """Write a shard of documents of so many patches; returns their sum."""
    from fairseq.data.indexed_dataset import data_file_path, index_file_path

    from pixelgpt_fairseq.data.indexed import write_index
    from pixelgpt_fairseq.data.streams import COLUMNS, PIXEL, TEXT

    # A document is cut into strips, and an empty item ends it.
    pieces = -(-lengths // (LONGEST_STRIP - 1))
    ends = np.cumsum(pieces + 1) - 1
    sizes = np.full(int(ends[-1]) + 1, LONGEST_STRIP - 1, dtype=np.int64)
    sizes[ends] = 0
    sizes[ends - 1] = lengths - (pieces - 1) * (LONGEST_STRIP - 1) + 1  # with the separator
    texts = np.maximum(3, sizes / PATCHES_PER_TOKEN).astype(np.int64)
    texts[ends] = 0
    total = int(texts.sum())
    begins_word = np.array([tokenizer.model.id_to_piece(i).startswith("▁") for i in range(len(tokenizer))])
    tokens = np.where(
        random.random(total) < 1 / WORD,
        random.choice(np.flatnonzero(begins_word), total),
        random.choice(np.flatnonzero(~begins_word)[3:], total),
    )
    nth = np.arange(total) - np.repeat(np.cumsum(texts) - texts, texts)
    step = np.repeat((sizes - 2) * 16 / np.maximum(texts, 1), texts)
    columns = np.stack([3 + nth * step, 2 + (nth + 1) * step], axis=1)
    for stream, dtype, elements, values in (
        (PIXEL, np.uint8, sizes * 256, None),
        (TEXT, np.uint16, texts, tokens),
        (COLUMNS, np.uint16, texts * 2, columns),
    ):
        prefix = str(path / stream)
        write_index(index_file_path(prefix), dtype, elements)
        with open(data_file_path(prefix), "wb") as file:
            if values is None:
                file.truncate(int(elements.sum()))
            else:
                file.write(values.astype(dtype).tobytes())
    return int(sizes.sum())


def memory(kind):
    """Megabytes of this process: ``Anonymous`` is what it shares with no file and no other process."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith(f"{kind}:"):
            return int(line.split()[1]) / 1024
    raise UserError("/proc/self/smaps_rollup: tells no memory: this benchmark needs Linux")


def start(data, modalities, batch_size):
    """Start as a rank does; print seconds, megabytes and what was found, as JSON."""
    from omegaconf import OmegaConf

    from pixelgpt_fairseq.tasks.rendered_pretraining import RenderedPretrainingConfig, RenderedPretrainingTask

    logging.disable(logging.INFO)
    cfg = OmegaConf.structured(RenderedPretrainingConfig)
    given = {"data": data, "modalities": modalities, "tokens_per_sample": 1024, "seed": 1, "train_subset": "train"}
    given |= {"update_freq": [1], "finetune_from_model": None}
    task = RenderedPretrainingTask.setup_task(OmegaConf.merge(cfg, given))
    before, began, work = memory("Anonymous"), time.perf_counter(), time.process_time()
    task.load_dataset("train")
    loaded = time.perf_counter()
    iterator = task.get_batch_iterator(
        task.datasets["train"], max_sentences=batch_size, num_shards=2, data_buffer_size=0, update_epoch_batch_itr=False
    )
    next(iterator.next_epoch_itr())
    ended = time.perf_counter()
    print(
        json.dumps(
            {
                "seconds": ended - began,
                "plans": loaded - began,
                "work": time.process_time() - work,
                "memory": memory("Anonymous") - before,
                "examples": {
                    name: len(part)
                    for name, part in zip(modalities.split(","), task.datasets["train"].datasets, strict=True)
                },
            }
        )
    )


@command
def main(argv=None):
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=400_000, metavar="N")
    parser.add_argument("--patches", type=float, default=3e8, metavar="N", help="of all documents together")
    parser.add_argument("--shards", type=int, metavar="N", help="default: one for every 2,000 documents")
    parser.add_argument("--batch-size", type=int, default=32, metavar="N")
    parser.add_argument("--data", metavar="DIR", help="keep the synthetic data here (default: removed afterwards)")
    parser.add_argument("--start", metavar="MODALITIES", help=argparse.SUPPRESS)  # what the processes do
    options = parser.parse_args(argv)
    if options.start:
        start(options.data, options.start, options.batch_size)
        return
    if options.shards is None:
        options.shards = -(-options.documents // DOCUMENTS_PER_SHARD)
    for name in ("documents", "patches", "shards", "batch_size"):
        if getattr(options, name) < 1:
            raise UserError(f"--{name.replace('_', '-')} {getattr(options, name)}: at least 1")
    with tempfile.TemporaryDirectory(prefix="bench_startup.") as scratch:
        data = Path(options.data or scratch) / "data"
        if not data.exists():
            found = write_data(data, options.documents, options.patches, min(options.shards, options.documents))
            print(f"{options.documents:,} documents in {options.shards:,} shards, {found:,} patches", flush=True)
        for path in data.glob("*.plan"):
            path.unlink()
        for number in ("first", "next", "next"):
            arguments = ["--start", ALL, "--data", data, "--batch-size", str(options.batch_size)]
            process = subprocess.run(
                [sys.executable, __file__, *arguments],
                env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
            )  # fmt: skip
            if process.returncode:
                raise UserError(f"a rank failed: {process.stderr[-500:]}")
            result = json.loads(process.stdout.splitlines()[-1])
            held = ", ".join(f"{count:,} {name}" for name, count in result["examples"].items())
            print(
                f"{number} start: {result['seconds']:.2f} s (opening and plans {result['plans']:.2f} s; processor "
                f"{result['work']:.2f} s), "
                f"{result['memory']:.1f} MB of its own; examples: {held}",
                flush=True,
            )
        plans = sum(path.stat().st_size for path in data.glob("*.plan"))
        print(f"plans beside the data: {plans / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
