#!/usr/bin/env python3
"""Measure reading examples on one core: the authors' JSON lines, as their code reads them, against binarized data.

Both read the same strips in the same run, into the floating-point numbers that a model takes. Texts are those of
Python's own help, drawn here into strips of 1024 patches and written as the released data is; or name a folder.
"""

import argparse
import base64
import gzip
import io
import json
import statistics
import tempfile
import time
from pathlib import Path
from pydoc_data.topics import topics

from pixelgpt_fairseq.sources.glue import GLUE_TASKS, task_name


def get_parser():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=300, metavar="N", help="how many (default: 300)")
    parser.add_argument("--released-dir", metavar="DIR", help="the released data (default: made for this, see above)")
    parser.add_argument(
        "--task", type=task_name, choices=GLUE_TASKS, default="rte", help="task of --released-dir (default: rte)"
    )
    return parser


if __name__ == "__main__":
    get_parser().parse_args()  # --help and mistakes do not wait for what follows, which takes seconds to import

import numpy as np
import torch
from PIL import Image

from pixelgpt_fairseq.data.classification import ClassificationDataset
from pixelgpt_fairseq.data.data_folder import DataFolder
from pixelgpt_fairseq.data.patches import PATCH_SIZE, scale_pixels
from pixelgpt_fairseq.data.streams import PIXEL
from pixelgpt_fairseq.errors import UserError, command
from pixelgpt_fairseq.preprocessing.binarize_released import binarize_released
from pixelgpt_fairseq.rendering import TextRenderer
from pixelgpt_fairseq.sources.released import find_released, part_files, released_name

STRIP_PATCHES, MAX_PATCHES = 1024, 768  # of a released strip; of a model's input
REPEATS = 5


def write_released(folder, number):
    """Write sentences of the help, in pairs, as the released RTE is written."""
    sentences = [" ".join(part.split()) for topic in topics.values() for part in topic.split("\n\n")]
    sentences = [sentence for sentence in sentences if 40 < len(sentence) < 400]
    renderer = TextRenderer()
    folder.mkdir()
    with gzip.open(folder / "part-00000.gz", "wb") as file:
        for i in range(number):
            pair = sentences[2 * i % len(sentences)], sentences[(2 * i + 1) % len(sentences)]
            drawn = renderer(pair)
            pixels = np.full((PATCH_SIZE, STRIP_PATCHES * PATCH_SIZE, 3), 255, dtype=np.uint8)
            pixels[:, : drawn.pixels.shape[1]] = drawn.pixels[..., None]
            content = io.BytesIO()
            Image.fromarray(pixels).save(content, format="PNG")
            line = {"sentence1": pair[0], "sentence2": pair[1], "label": i % 2}
            image = {"image": base64.b64encode(content.getvalue()).decode(), "num_patches": drawn.num_text_patches}
            file.write(json.dumps({**line, **image}).encode() + b"\n")


def published(lines):
    """Read every line as the published code does: unpack, decode, crop to the model's width, turn into floats."""
    for line in lines:
        row = json.loads(line)
        with Image.open(io.BytesIO(base64.b64decode(row["image"]))) as image:
            pixels = np.asarray(image.convert("RGB").crop((0, 0, MAX_PATCHES * PATCH_SIZE, PATCH_SIZE)))
        yield torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255


def binarized(dataset):
    """Read every example of the data set as floats."""
    for i in range(len(dataset)):
        yield scale_pixels(dataset[i]["patches"])


def rate(examples, number):
    """Examples a second."""
    began = time.perf_counter()
    for _ in examples:
        pass
    return number / (time.perf_counter() - began)


@command
def main(argv=None):
    """Run the command."""
    args = get_parser().parse_args(argv)
    if args.examples < 1:
        raise UserError(f"--examples {args.examples}: at least 1")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        if args.released_dir:
            task, released = args.task, find_released(args.released_dir, args.task, "train")
            if released is None:
                raise UserError(f"--released-dir {args.released_dir}: no {released_name(task, 'train')} in it")
        else:
            task, released = "rte", Path(scratch, "rte-train")
            write_released(released, args.examples)
        binarize_released(released, Path(scratch, "data"), "train", GLUE_TASKS[task][0], progress=False)
        dataset = ClassificationDataset.from_folder(
            DataFolder(Path(scratch, "data")), "train", PIXEL, max_patches=MAX_PATCHES
        )
        lines = []
        for path in part_files(released):
            with gzip.open(path, "rb") as file:
                lines += [line for _, line in zip(range(args.examples - len(lines)), file, strict=False)]
        slow, fast = [], []
        for _ in range(REPEATS):  # by turns: what else the machine does meets both
            slow.append(rate(published(lines), len(lines)))
            fast.append(rate(binarized(dataset), len(dataset)))
    slow, fast = statistics.median(slow), statistics.median(fast)
    print(f"JSON lines with PNGs: {slow:10,.0f} examples/s")
    print(f"binarized:            {fast:10,.0f} examples/s, {fast / slow:.1f} x")


if __name__ == "__main__":
    main()
