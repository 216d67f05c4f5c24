#!/usr/bin/env python3
"""Measure how a corpus is rendered by several processes, and whether training has to wait for its patches.

A corpus of English (that of Python's own help, its paragraphs in random order) is rendered by one process and by
several in turn, and the files compared. Where there are several, one more reads the corpus and hands it out: its
share of the processor time says how many it can feed. As many programs that each render the corpus for themselves show
what the machine gives at most: cores share caches, memory and a limit of power. Then a PixelGPT is trained on it, from
stored patches and from text that is rendered in the data loader's workers, in turn: of each second, how much is spent
waiting for the next batch.
"""

import argparse
import collections
import itertools
import multiprocessing
import os
import random
import tempfile
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from pydoc_data.topics import topics
from statistics import median

BLOCK = 1024  # patches


def get_parser():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--characters", type=int, default=6_000_000, metavar="N", help="length of the corpus")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), metavar="N", help="processes that render it")
    parser.add_argument(
        "--num-workers", type=int, default=1, metavar="N", help="the data loader's, as fairseq's option"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda, if there is one")
    parser.add_argument("--hidden-size", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=4, metavar="N", help=f"blocks of {BLOCK} patches in a step")
    parser.add_argument("--steps", type=int, default=12, metavar="N", help="timed steps of each kind in a round")
    parser.add_argument("--rounds", type=int, default=2, metavar="N", help="how often the two of a kind take turns")
    return parser


if __name__ == "__main__":
    get_parser().parse_args()  # --help and mistakes do not wait for what follows, which takes seconds to import

import torch
from omegaconf import OmegaConf

from pixelgpt_fairseq.criterions.patch_token_loss import next_patch_loss
from pixelgpt_fairseq.data.data_folder import DataFolder
from pixelgpt_fairseq.data.streams import PIECES, PIXEL
from pixelgpt_fairseq.data.tokens import train_tokenizer
from pixelgpt_fairseq.errors import UserError, command
from pixelgpt_fairseq.models.architectures import PixelGPTConfig
from pixelgpt_fairseq.models.pixelgpt import PixelGPTModel
from pixelgpt_fairseq.preprocessing.binarize import binarize
from pixelgpt_fairseq.rendering import RendererConfig
from pixelgpt_fairseq.tasks.rendered_pretraining import (
    PIXEL_SOURCES,
    RenderedPretrainingConfig,
    RenderedPretrainingTask,
)

VOCABULARY = 8000  # tokens
TOKENIZED = 2_000_000  # characters that the tokenizer is trained on


def write_corpus(path, characters, seed=1):
    """Write about so many *characters* of English."""
    paragraphs = [" ".join(part.split()) for topic in topics.values() for part in topic.split("\n\n")]
    paragraphs = [paragraph for paragraph in paragraphs if paragraph]
    rng, written = random.Random(seed), 0
    with open(path, "w", encoding="utf-8") as file:
        while written < characters:
            rng.shuffle(paragraphs)
            # Documents of a few paragraphs; half a kilobyte to some kilobytes.
            for start in range(0, len(paragraphs), 8):
                written += file.write(" ".join(paragraphs[start : start + 8]) + "\n\n")
                if written >= characters:
                    break


def render(corpus, folder, tokenizer, workers):
    """Render *corpus* into a split of *folder*: a summary."""
    return binarize(
        *([corpus], folder, "train", RendererConfig(max_patches=BLOCK), tokenizer),
        **{"store": "both", "workers": workers, "overwrite": True, "progress": False},
    )


def render_independently(corpus, folder, tokenizer, programs, rounds):
    """Let *programs* processes each render the whole *corpus*: the longest time of a round, the median of *rounds*."""
    folders = [folder / f"independent{number}" for number in range(programs)]
    seconds = []
    with ProcessPoolExecutor(programs, multiprocessing.get_context("spawn")) as pool:
        for _ in range(rounds + 1):  # in the first they start
            running = [pool.submit(render, corpus, alone, tokenizer, 1) for alone in folders]
            seconds.append(max(future.result().seconds for future in running))
    return median(seconds[1:])


def bench_rendering(corpus, folder, workers, rounds):
    """Render *corpus* by one process and by *workers* in turn, print the rates, and leave ``folder/1``."""
    with open(corpus, encoding="utf-8") as file:
        tokenizer = train_tokenizer(iter(file.read(TOKENIZED).split("\n\n")), VOCABULARY)
    for label, chosen in (("patches", None), ("patches and tokens", tokenizer)):
        seconds, reader = {1: [], workers: []}, {1: [], workers: []}
        for number in list(seconds) * rounds:
            used = time.process_time()
            summary = render(corpus, folder / str(number), chosen, number)
            seconds[number].append(summary.seconds)
            reader[number].append(time.process_time() - used)
        one, several = median(seconds[1]), median(seconds[workers])
        counts = summary.counts
        print(
            f"rendering {label}: 1 process {counts.characters / one:,.0f} chars/s, {counts.patches / one:,.0f} "
            f"patches/s; {workers} processes {counts.patches / several:,.0f} patches/s: {one / several:.2f}x"
        )
        if workers > 1:
            share = median(reader[workers]) / median(reader[1])
            print(f"the process that reads takes {share:.1%} of the processor time: it can feed {1 / share:,.0f}")
            alone = render_independently(corpus, folder, chosen, workers, rounds)
            print(f"{workers} programs that have nothing to do with each other: {workers * one / alone:.2f}x")
        files = [sorted(DataFolder(folder / str(number)).split_files("train")) for number in seconds]
        same = all(one.read_bytes() == other.read_bytes() for one, other in zip(*files, strict=True))
        print(f"the files of 1 and {workers} processes are {'the same' if same else 'NOT the same'}")
    sizes = collections.Counter()
    for path in files[0]:
        sizes[path.name] += path.stat().st_size / counts.characters
    index = sizes[f"{PIXEL}.idx"]  # which both have
    patches = sizes[f"{PIXEL}.bin"] + index
    text = sizes[f"{PIECES}.bin"] + sizes[f"{PIECES}.idx"] + index
    print(f"bytes on disk for a character: patches {patches:.1f}, text instead {text:.2f}: {patches / text:.0f}x")


def batches(data, source, batch_size, num_workers):
    """Batches as fairseq's trainer gets them, epoch after epoch."""
    cfg = OmegaConf.structured(RenderedPretrainingConfig)
    given = {"data": str(data), "modalities": PIXEL, "tokens_per_sample": BLOCK, "pixel_source": source}
    given |= {"seed": 1, "train_subset": "train", "update_freq": [1], "finetune_from_model": None}
    task = RenderedPretrainingTask.setup_task(OmegaConf.merge(cfg, given))
    task.load_dataset("train")
    iterator = task.get_batch_iterator(
        task.datasets["train"], max_sentences=batch_size, num_workers=num_workers, data_buffer_size=10
    )
    return itertools.chain.from_iterable(iterator.next_epoch_itr() for _ in itertools.count())


def bench_loading(data, options):
    """Print what the loader alone gives, from each source."""
    seconds = {}
    for source in PIXEL_SOURCES:
        loaded = batches(data, source, options.batch_size, options.num_workers)
        next(loaded)  # the workers have started
        started = time.perf_counter()
        for _ in itertools.islice(loaded, options.steps):
            pass
        seconds[source] = time.perf_counter() - started
    stored, text = (options.steps * options.batch_size * BLOCK / seconds[source] for source in PIXEL_SOURCES)
    workers = f"{options.num_workers} worker{'s' * (options.num_workers > 1)}"
    print(f"the loader alone, {workers}: stored {stored:,.0f} patches/s, rendered from text {text:,.0f}")


def bench_training(data, options):
    """Print the share of a step that is spent waiting for its batch, from each source."""
    torch.manual_seed(0)
    heads = max(1, options.hidden_size // 64)
    config = PixelGPTConfig(
        hidden_size=options.hidden_size,
        num_hidden_layers=options.layers,
        num_attention_heads=heads,
        num_key_value_heads=max(1, heads // 2),
        intermediate_size=options.hidden_size * 11 // 4,
        max_position_embeddings=BLOCK,
    )
    model = PixelGPTModel(config).train().to(options.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    waited, spent = dict.fromkeys(PIXEL_SOURCES, 0.0), dict.fromkeys(PIXEL_SOURCES, 0.0)
    for source in PIXEL_SOURCES * options.rounds:
        loaded = batches(data, source, options.batch_size, options.num_workers)
        for step in range(options.steps + 1):
            started = time.perf_counter()
            patches = next(loaded)["net_input"]["patches"].to(options.device)
            arrived = time.perf_counter()
            with torch.autocast(options.device, torch.bfloat16, enabled=options.device != "cpu"):
                sums, targets = next_patch_loss(model(patches=patches).patch_predictions, patches)
            (sums.sum() / targets.sum()).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            if options.device != "cpu":
                torch.cuda.synchronize()
            if step:  # the first waits for the workers to start
                waited[source] += arrived - started
                spent[source] += time.perf_counter() - started
    patches_taken = options.rounds * options.steps * options.batch_size * BLOCK
    for source, name in zip(PIXEL_SOURCES, ("stored patches", "text"), strict=True):
        print(
            f"training {parameters / 1e6:,.1f}M parameters on {options.device} from {name}: "
            f"{patches_taken / spent[source]:,.0f} patches/s, {waited[source] / spent[source]:.2%} of it waiting"
        )


@command
def main(argv=None):
    """Run the command."""
    options = get_parser().parse_args(argv)
    for name in ("characters", "workers", "num_workers", "hidden_size", "layers", "batch_size", "steps", "rounds"):
        if getattr(options, name) < 1:
            raise UserError(f"--{name.replace('_', '-')} {getattr(options, name)}: at least 1")
    options.device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    warnings.filterwarnings("ignore", message="'pin_memory'")  # fairseq's loader pins always
    if options.device == "cpu":
        torch.set_num_threads(max(1, (os.cpu_count() or 1) - options.num_workers))
    with tempfile.TemporaryDirectory(prefix="bench_loading.") as folder:
        corpus = Path(folder) / "corpus.txt"
        write_corpus(corpus, options.characters)
        bench_rendering(corpus, Path(folder), options.workers, options.rounds)
        bench_loading(Path(folder) / "1", options)
        bench_training(Path(folder) / "1", options)


if __name__ == "__main__":
    main()
