"""A small corpus of real English, binarized once for all tests that need one."""

import os
import subprocess
import sys
from pathlib import Path
from pydoc_data.topics import topics

import pytest
from fairseq_runs import train

from pixelgpt_fairseq.data.tokens import train_tokenizer
from pixelgpt_fairseq.preprocessing.binarize import binarize
from pixelgpt_fairseq.rendering import RendererConfig

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
# One thread: the order of sums, and with it their last digits, does not depend on the machine.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
MAX_PATCHES = 128
SMALLER = (  # than any model that is registered
    "--hidden-size 32 --intermediate-size 32 --num-hidden-layers 1 --num-attention-heads 2 --num-key-value-heads 2"
).split()
# A model, a batch and an optimizer for runs of seconds.
TOY_TRAINING = (
    "--user-dir pixelgpt_fairseq --task rendered_pretraining --tokens-per-sample 64 --arch pixelgpt_tiny "
    "--hidden-size 48 --num-hidden-layers 1 --intermediate-size 96 --criterion patch_token_loss --cpu "
    "--batch-size 2 --batch-size-valid 10 --optimizer adam --lr 3e-3 --clip-norm 1.0 "
    "--log-format json --log-interval 1 --num-workers 0 --no-epoch-checkpoints"
).split()


def documents(number=60):
    """The first paragraphs of the language reference."""
    paragraphs = [" ".join(part.split()) for topic in topics.values() for part in topic.split("\n\n")]
    return [paragraph for paragraph in paragraphs if len(paragraph) > 40][:number]


@pytest.fixture(scope="session")
def toy_data(tmp_path_factory):
    """A data folder with the splits train and valid, and a tokenizer of 400 tokens."""
    folder = tmp_path_factory.mktemp("toy")
    texts = documents()
    tokenizer = train_tokenizer(iter(texts), 400)
    for split, chosen in (("train", texts[10:]), ("valid", texts[:10])):
        path = folder / f"{split}.txt"
        path.write_text("\n\n".join(chosen))
        config = RendererConfig(max_patches=MAX_PATCHES)
        binarize([path], folder / "data", split, config, tokenizer, progress=False)
    return folder / "data"


@pytest.fixture(scope="session")
def checkpoint(toy_data, tmp_path_factory):
    """A DualGPT, hardly trained."""
    folder = tmp_path_factory.mktemp("pretrained")
    options = "--modalities text,pixel,pair --max-update 3 --disable-validation --save-dir".split()
    train(toy_data, *TOY_TRAINING, *options, folder)
    return folder / "checkpoint_last.pt"


def command(*parts, **options):
    """Run one of fairseq's commands or a script of the package in the checkout; returns the finished process."""
    program, *arguments = map(str, parts)
    start = [sys.executable, ROOT / "scripts" / program] if program.endswith(".py") else [BIN / program]
    return subprocess.run(
        [*start, *arguments], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=300, **options
    )
