"""Time fine-tuning on one CPU core: batches by --max-tokens, beside batches of 8 padded to 768 patches as published.

    python scripts/bench_finetuning.py --glue-dir GLUE [--tasks rte sst2] [--hidden-size 256] [--layers 4] ...

Renders the training examples, then takes turns in one process: training steps (batch, forward, loss, backward, Adam) of
the same model on the same examples in either way, which give the same logits. Prints examples/s, medians over rounds,
of processor time: what else runs on the machine disturbs it little.
"""

import argparse
import os
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from statistics import median

PUBLISHED_BATCH, PUBLISHED_WIDTH = 8, 768


def get_parser():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--glue-dir",
        metavar="GLUE",
        default=os.environ.get("GLUE_DIR"),
        help="folder with GLUE's own task folders, RTE and SST-2 among them (default: GLUE_DIR of the environment)",
    )
    parser.add_argument("--tasks", nargs="+", default=["rte", "sst2"], metavar="TASK", help="default: rte sst2")
    parser.add_argument("--examples", type=int, default=20000, help="most of a task, drawn at random (default: 20000)")
    parser.add_argument(
        "--max-tokens",
        type=int,
        default=PUBLISHED_BATCH * PUBLISHED_WIDTH,
        help="patches of a batch (default: 6144, those of the published batch)",
    )
    parser.add_argument("--hidden-size", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--intermediate-size", type=int, default=704)
    parser.add_argument(
        "--batches", type=int, default=5, help="by --max-tokens, of all lengths, in a round (default: 5)"
    )
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds (default: 5)")
    return parser


if __name__ == "__main__":
    get_parser().parse_args()  # --help and mistakes do not wait for what follows, which takes seconds to import

import numpy as np
import torch
import torch.nn.functional as F
from omegaconf import OmegaConf

from pixelgpt_fairseq.data.patches import PATCH_SIZE, gray_to_rgb_patches
from pixelgpt_fairseq.data.streams import PIXEL
from pixelgpt_fairseq.errors import UserError, command
from pixelgpt_fairseq.models.architectures import PixelGPTConfig
from pixelgpt_fairseq.models.pixelgpt import PixelGPTModel
from pixelgpt_fairseq.preprocessing.binarize_examples import binarize_examples
from pixelgpt_fairseq.rendering import RendererConfig
from pixelgpt_fairseq.sources.examples import read_examples
from pixelgpt_fairseq.sources.glue import GLUE_TASKS, find_source
from pixelgpt_fairseq.tasks.rendered_glue import RenderedGlueConfig, RenderedGlueTask

WHITE = 255


def padded_batch(dataset, indices):
    """What the published code makes of examples: float pixels of three channels ``[B, 768, 768]``, padded with white.

    Returns:
        (patches, position of each example's last patch, labels)
    """
    strips = [dataset[i]["patches"] for i in indices]
    patches = torch.full((len(strips), PUBLISHED_WIDTH, PATCH_SIZE**2), WHITE, dtype=torch.uint8)
    for row, strip in zip(patches, strips, strict=True):
        row[: len(strip)] = strip
    last = torch.tensor([len(strip) - 1 for strip in strips])
    return gray_to_rgb_patches(patches).float() / WHITE, last, torch.tensor([dataset[i]["label"] for i in indices])


def padded_logits(model, patches, last):
    """Class logits ``[B, C]`` with nothing left out: every position of every strip goes through the model.

    Causal attention keeps the padding, which stands at the end, from changing them.
    """
    hidden = model.model(model.model.embed_patches["patch_embeddings"](patches), torch.arange(patches.shape[1]))
    return model.score(hidden[torch.arange(len(last)), last])


class Race:
    """The same examples in either way.

    Args:
        task: RenderedGlueTask with its training split loaded.
        options: the command line.
    """

    def __init__(self, task, options):
        self.dataset, self.options = task.dataset("train"), options
        iterator = task.get_batch_iterator(self.dataset, max_tokens=options.max_tokens)
        batches = sorted(iterator.frozen_batches, key=lambda batch: self.dataset.sizes[batch].max())
        # The middle one of as many parts, from the shortest to the longest: together they stand for an epoch.
        self.batches = [batches[int((part + 0.5) * len(batches) / options.batches)] for part in range(options.batches)]
        torch.manual_seed(0)
        config = PixelGPTConfig(
            hidden_size=options.hidden_size,
            num_hidden_layers=options.layers,
            num_attention_heads=options.heads,
            num_key_value_heads=max(1, options.heads // 2),
            intermediate_size=options.intermediate_size,
        )
        self.model = PixelGPTModel(config, num_labels=task.num_labels).train()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-5, fused=True)
        self.numbers = np.random.default_rng(0)

    def step(self, logits, labels):
        """Loss, backward and update."""
        F.cross_entropy(logits, labels).backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def ours(self):
        """Seconds for an example, over batches of all lengths."""
        began = time.process_time()
        for batch in self.batches:
            sample = self.dataset.collater([self.dataset[i] for i in batch])
            self.step(self.model(**sample["net_input"]).class_logits, sample["labels"])
        return (time.process_time() - began) / sum(map(len, self.batches))

    def published(self):
        """Seconds for an example, over one random batch: each costs the same."""
        indices = self.numbers.choice(len(self.dataset), PUBLISHED_BATCH, replace=False)
        began = time.process_time()
        patches, last, labels = padded_batch(self.dataset, indices)
        self.step(padded_logits(self.model, patches, last), labels)
        return (time.process_time() - began) / PUBLISHED_BATCH

    @torch.no_grad()
    def check(self):
        """Both ways give the same logits."""
        batch = self.batches[len(self.batches) // 2][:PUBLISHED_BATCH]
        sample = self.dataset.collater([self.dataset[i] for i in batch])
        patches, last, _ = padded_batch(self.dataset, batch)
        difference = self.model(**sample["net_input"]).class_logits - padded_logits(self.model, patches, last)
        assert difference.abs().max() < 1e-4, "the two ways disagree"

    def run(self):
        """Take turns; returns the medians of both in examples/s."""
        self.check()
        seconds = defaultdict(list)
        for turn in range(self.options.rounds + 1):
            for way in (self.ours, self.published):
                spent = way()
                if turn:  # the first warms up
                    seconds[way].append(spent)
        return 1 / median(seconds[self.ours]), 1 / median(seconds[self.published])


def render(name, options, folder):
    """Render training examples of a task of GLUE, and load them as fairseq-train does; returns the task."""
    task, (source, *_) = GLUE_TASKS[name]
    path = find_source(source, options.glue_dir)
    if path is None:
        raise UserError(f"{Path(options.glue_dir, source.files[0])}: no such file")
    examples = list(read_examples(path, task, source.columns, source.label))
    chosen = np.random.default_rng(0).permutation(len(examples))[: options.examples]
    config = RendererConfig(max_patches=PUBLISHED_WIDTH)
    binarize_examples([examples[i] for i in chosen], folder, source.split, task, config, progress=False)
    cfg = RenderedGlueConfig(data=str(folder), modality=PIXEL, glue_task=name, seed=1, train_subset="train")
    task = RenderedGlueTask.setup_task(OmegaConf.structured(cfg))
    task.load_dataset("train")
    return task


@command
def main(argv=None):
    """Run the command."""
    options = get_parser().parse_args(argv)
    if options.glue_dir is None:
        print("left out: this needs GLUE's files: name their folder with --glue-dir GLUE (make bench GLUE_DIR=GLUE)")
        return
    unknown = [name for name in options.tasks if name not in GLUE_TASKS or not GLUE_TASKS[name][0].labels]
    if unknown:
        raise UserError(f"--tasks {' '.join(unknown)}: choose from the tasks of GLUE that have classes")
    torch.set_num_threads(1)
    print(f"pixels, hidden {options.hidden_size} x {options.layers} layers, one core")
    with tempfile.TemporaryDirectory() as folder:
        for name in options.tasks:
            race = Race(render(name, options, Path(folder, name)), options)
            sizes, (ours, published) = race.dataset.sizes, race.run()
            print(
                f"{name}, {len(sizes):,} examples of {sizes.mean():.1f} patches: {ours:,.1f} examples/s by "
                f"--max-tokens {options.max_tokens}; in batches of {PUBLISHED_BATCH} padded to {PUBLISHED_WIDTH} "
                f"{published:,.1f}: {ours / published:.1f}x",
                flush=True,
            )


if __name__ == "__main__":
    main()
