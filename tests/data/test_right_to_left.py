"""Text that is written from right to left: tokens' columns, and pairs of which strip and tokens are the same text."""

import random

import numpy as np
import pytest
from skips import needs_raqm

from pixelgpt_fairseq.data.data_folder import DataFolder
from pixelgpt_fairseq.data.pairs import PairDataset
from pixelgpt_fairseq.data.patches import unpatchify
from pixelgpt_fairseq.data.streams import COLUMNS, PIXEL, TEXT
from pixelgpt_fairseq.data.tokens import train_tokenizer
from pixelgpt_fairseq.preprocessing.binarize import binarize
from pixelgpt_fairseq.preprocessing.chunks import reordered_token_columns
from pixelgpt_fairseq.rendering import RendererConfig, TextRenderer

pytestmark = needs_raqm

WORDS = "يمكن قراءة اللغة كصورة والكلمات كثيرة في هذا النص القصير الذي كتب للاختبار ثم انتهى بسرعة كبيرة جدا".split()
FOREIGN = "the model reads it from patches 12 345 images".split()
# Smaller than the default: no ink is beyond the strip.
CONFIG = RendererConfig(backend="pillow", font_size=6, max_patches=64)


def documents(foreign, number=8, seed=0):
    """Documents of Arabic words, and of runs of *foreign* ones."""
    numbers = random.Random(seed)
    texts = []
    for _ in range(number):
        words = []
        while len(words) < 120:
            words += numbers.choices(WORDS, k=numbers.randrange(2, 9))
            words += numbers.sample(foreign, k=min(len(foreign), numbers.randrange(1, 3)))
        texts.append(" ".join(words))
    return texts


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(iter(documents(FOREIGN, 40, seed=1)), 340)


@pytest.fixture(scope="module", params=[[], FOREIGN], ids=["Arabic", "mixed"])
def folder(request, tmp_path_factory, tokenizer):
    path = tmp_path_factory.mktemp("arabic") / "corpus.txt"
    path.write_text("\n\n".join(documents(request.param)), encoding="utf-8")
    binarize([path], path.parent / "data", "train", CONFIG, tokenizer, progress=False)
    return DataFolder(path.parent / "data")


def pairs_of(folder, max_patches, max_tokens):
    streams = [folder.open("train", PIXEL, 256), folder.open("train", TEXT), folder.open("train", COLUMNS, 2)]
    return PairDataset(*streams, folder.dictionary(), max_patches, max_tokens)


def ink_columns(pixels):
    """How much ink each inked column has, blanks between words left out, the separator too."""
    ink = (255 - pixels[:, :-16].astype(int)).sum(axis=0)
    return ink[ink > 0].tolist()


@pytest.mark.parametrize(("max_patches", "max_tokens"), [(32, 200), (12, 30), (40, 12)])
def test_a_pairs_strip_shows_the_text_of_its_tokens_and_no_other(folder, tokenizer, max_patches, max_tokens):
    renderer, pairs = TextRenderer(CONFIG), pairs_of(folder, max_patches, max_tokens)
    cut = 0
    for (_, first, _), pair in zip(pairs.cuts, pairs, strict=True):
        assert len(pair["patches"]) <= max_patches
        assert len(pair["tokens"]) <= max_tokens
        text = tokenizer.model.decode(pair["tokens"][1:-1].tolist())
        strip = unpatchify(pair["patches"][None], channels=1)[0, 0].numpy()
        found, expected = ink_columns(strip), ink_columns(renderer(text).pixels)
        if text.isascii() or any(word in text for word in FOREIGN):
            # Words that a cut has left to themselves may stand in another order, but they are the same.
            found, expected = sorted(found), sorted(expected)
        assert found == expected
        cut += first > 1
    assert cut > 20


def test_hardly_a_word_is_passed_over(folder):
    pairs = pairs_of(folder, 20, 200)
    texts = folder.open("train", TEXT)
    in_pairs = sum(len(pair["tokens"]) - 2 for pair in pairs)
    tokens = sum(int((texts[i] > 2).sum()) for i in range(len(texts)))
    assert in_pairs > 0.97 * tokens


def test_no_tail_of_short_pairs_is_left(folder):
    pairs = pairs_of(folder, 20, 200)
    lengths = [pairs.sizes[pairs.cuts[:, 0] == item] for item in np.unique(pairs.cuts[:, 0])]
    lasts = [of_item[-1] / of_item.mean() for of_item in lengths if len(of_item) > 1]
    assert len(lasts) > 4
    assert np.mean(lasts) > 0.7


def test_tokens_stand_where_their_characters_do():
    text = "قلم abc"
    renderer = TextRenderer(CONFIG)
    characters = renderer.columns(text)
    found = reordered_token_columns(text, np.array([0, 1, 3, 4, 4]), characters)
    assert found[0].tolist() == characters[0].tolist()
    assert found[1].tolist() == [characters[2, 0], characters[1, 1]]
    assert found[2, 0] == found[2, 1], "a blank"
    assert found[3].tolist() == characters[4].tolist(), "a part of a character is where the character is"
    assert found[4].tolist() == [characters[4, 0], characters[6, 1]]
    assert found[1, 1] <= found[0, 1]
    assert found[4, 1] <= found[1, 0]


def test_long_documents_are_cut_in_the_order_of_the_text(folder):
    renderer = TextRenderer(CONFIG)
    for text in documents(FOREIGN, 3):
        pieces = [text[start:end] for start, end in renderer.cut(text)]
        assert " ".join(pieces) == text
        assert all(renderer(piece).num_text_patches <= 63 for piece in pieces)
        assert sum(renderer(piece).num_text_patches for piece in pieces[:-1]) > 0.9 * 63 * (len(pieces) - 1)
