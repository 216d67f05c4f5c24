"""A toy task of translation: a few words, drawn or as tokens, become the same words in capitals."""

import random

import pytest
from fairseq_runs import train
from refusals import script
from toy_corpus import documents
from toy_glue import WORDS, write_tsv

from pixelgpt_fairseq.data.tokens import train_tokenizer

TRAINING = (
    "--user-dir pixelgpt_fairseq --task rendered_translation --max-source-positions 24 --max-target-positions 24 "
    "--arch pixelgpt_tiny --hidden-size 48 --num-hidden-layers 1 --intermediate-size 96 --criterion target_token_loss "
    "--batch-size 4 --cpu --optimizer adam --lr 3e-3 --clip-norm 1.0 --num-workers 0 --no-epoch-checkpoints "
    "--log-format json --log-interval 1 --best-checkpoint-metric loss"
).split()


def write_translations(folder, train=40, valid=11):
    """Write tables ``train.tsv`` and ``valid.tsv`` with columns ``small`` and ``capital``."""
    numbers = random.Random(0)
    for split, count in (("train", train), ("valid", valid)):
        texts = [" ".join(numbers.choices(WORDS, k=numbers.randrange(1, 4))) for _ in range(count)]
        write_tsv(folder / f"{split}.tsv", ("small", "capital"), *((text.lower(), text.upper()) for text in texts))
    return folder


def render_translation(*arguments):
    """Run scripts/render_translation.py in this process."""
    script("render_translation")([str(argument) for argument in arguments])


@pytest.fixture(scope="session")
def toy_translations(tmp_path_factory):
    """A data folder of translations; the tables lie in ``tables`` beside it, and the tokenizer."""
    folder = tmp_path_factory.mktemp("translations")
    write_translations(folder / "tables")
    texts = [*documents(), *(text.upper() for text in documents())]
    (folder / "tokenizer.model").write_bytes(train_tokenizer(iter(texts), 400).serialized)
    tables = [f"{split}={folder / 'tables' / split}.tsv" for split in ("train", "valid")]
    options = ["--columns", "small", "capital", "--tokenizer", folder / "tokenizer.model"]
    render_translation("--input", *tables, *options, "--destdir", folder / "data")
    return folder / "data"


@pytest.fixture(scope="session")
def translator(toy_translations, tmp_path_factory):
    """Modality of sources -> a checkpoint, hardly trained."""
    checkpoints = {}
    for modality in ("pixel", "text"):
        folder = tmp_path_factory.mktemp(modality)
        options = ["--source-modality", modality, "--max-update", 4, "--disable-validation", "--save-dir", folder]
        train(toy_translations, *TRAINING, *options)
        checkpoints[modality] = folder / "checkpoint_last.pt"
    return checkpoints
