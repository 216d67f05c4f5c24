import itertools

import numpy as np
import pytest
import torch
from shared_fixtures import shared
from toy_corpus import documents

from pixelgpt_fairseq.checkpoints.released import load_released
from pixelgpt_fairseq.data.classification import ClassificationDataset, truncate_sentences
from pixelgpt_fairseq.data.data_folder import DataFolder
from pixelgpt_fairseq.data.indexed import IndexedRows
from pixelgpt_fairseq.data.patches import patchify
from pixelgpt_fairseq.data.streams import PIXEL, TEXT
from pixelgpt_fairseq.data.tokens import train_tokenizer
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.models import PixelGPTConfig, PixelGPTModel
from pixelgpt_fairseq.preprocessing.binarize_examples import binarize_examples
from pixelgpt_fairseq.preprocessing.chunks import StreamWriter
from pixelgpt_fairseq.rendering import RendererConfig, TextRenderer
from pixelgpt_fairseq.sources.examples import Example, custom_task
from pixelgpt_fairseq.sources.glue import GLUE_TASKS

RTE = GLUE_TASKS["rte"][0]
CONFIG = RendererConfig(max_patches=64)
TEXTS = [text[:200] for text in documents(40)]
EXAMPLES = [Example((a[: 20 + 3 * i], b[:60]), i % 2) for i, (a, b) in enumerate(itertools.pairwise(TEXTS))]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(iter(documents()), 380)


@pytest.fixture(scope="module")
def folder(tokenizer, tmp_path_factory):
    path = tmp_path_factory.mktemp("examples")
    binarize_examples(EXAMPLES, path, "train", RTE, CONFIG, tokenizer, progress=False)
    unlabeled = [example._replace(label=-1) for example in EXAMPLES[:5]]
    binarize_examples(unlabeled, path, "test", RTE, CONFIG, tokenizer, progress=False)
    return DataFolder(path)


def dataset(folder, modality, split="train", **options):
    return ClassificationDataset.from_folder(folder, split, modality, dictionary=folder.dictionary(), **options)


# Binarizing


def test_examples_are_drawn_and_tokenized_as_the_published_ones(folder, tokenizer):
    pairs = dataset(folder, "pair")
    renderer, bos = TextRenderer(CONFIG), tokenizer.model.bos_id()
    for i, (example, item) in enumerate(zip(EXAMPLES, pairs, strict=True)):
        assert item["id"] == i
        assert item["label"] == example.label
        assert torch.equal(item["patches"], torch.from_numpy(renderer(example.texts).patches()))
        first, second = map(tokenizer.model.encode, example.texts)
        assert item["tokens"].tolist() == [bos, *first, bos, *second]


def test_one_sentence_has_one_separator_and_one_bos(tmp_path, tokenizer):
    binarize_examples([Example(("a b",), 2.5)], tmp_path, "train", custom_task("x"), CONFIG, tokenizer, progress=False)
    (item,) = dataset(DataFolder(tmp_path), "pair")
    assert torch.equal(item["patches"], torch.from_numpy(TextRenderer(CONFIG)("a b").patches()))
    assert item["tokens"].tolist() == [1, *tokenizer.model.encode("a b")]
    assert item["label"] == 2.5


def test_modalities_leave_out_what_they_do_not_read_and_tests_have_no_labels(folder):
    assert dataset(folder, "pixel")[0].keys() == {"id", "modality", "patches", "label"}
    assert dataset(folder, "text")[0].keys() == {"id", "modality", "tokens", "label"}
    tests = dataset(folder, "pair", "test")
    assert tests[0].keys() == {"id", "modality", "patches", "tokens"}
    assert "labels" not in tests.collater([tests[0], tests[1]])


def test_manifest_tells_task_and_counts(folder):
    manifest = folder.manifest("train")
    assert manifest["task"] == RTE.to_dict()
    assert manifest["examples"] == len(EXAMPLES)
    assert manifest["patches"] == dataset(folder, "pixel").sizes.sum()
    assert manifest["tokens"] == dataset(folder, "text").sizes.sum()


def test_a_split_is_written_whole_or_not_at_all(tmp_path, tokenizer):
    def interrupted():
        yield from EXAMPLES
        raise UserError("bad row")

    with pytest.raises(UserError, match="bad row"):
        binarize_examples(interrupted(), tmp_path / "new", "train", RTE, CONFIG, tokenizer, progress=False)
    assert not (tmp_path / "new").exists()
    with pytest.raises(UserError, match="split train would have no examples"):
        binarize_examples([], tmp_path / "new", "train", RTE, CONFIG, tokenizer, progress=False)


def test_a_folder_holds_one_task_one_tokenizer_and_no_split_twice(folder, tokenizer, toy_data):
    def binarize(split="valid", task=RTE, tokens=tokenizer, path=folder.path):
        binarize_examples(EXAMPLES[:2], path, split, task, CONFIG, tokens, progress=False)

    with pytest.raises(UserError, match="already there"):
        binarize(split="train")
    with pytest.raises(UserError, match=r"split test is of task rte \(labels: entailment, not_entailment\)"):
        binarize(task=GLUE_TASKS["qqp"][0])
    with pytest.raises(UserError, match="tokenizer"):
        binarize(tokens=train_tokenizer(iter(documents()), 390))
    with pytest.raises(UserError, match=r"holds a corpus \(split train\)"):
        binarize(split="test", path=toy_data, tokens=DataFolder(toy_data).tokenizer())


def test_overwriting_replaces_a_split(tmp_path):
    for examples in (EXAMPLES[:5], EXAMPLES[:3]):
        binarize_examples(examples, tmp_path, "train", RTE, CONFIG, overwrite=True, progress=False)
    assert len(dataset(DataFolder(tmp_path), "pixel")) == 3
    with pytest.raises(UserError, match="split train has no tokens, which --modality pair reads"):
        dataset(DataFolder(tmp_path), "pair")


def test_damaged_labels_are_told_in_one_line(tmp_path):
    binarize_examples(EXAMPLES[:5], tmp_path, "train", RTE, CONFIG, progress=False)
    path = DataFolder(tmp_path).labels_path("train")
    size = path.stat().st_size
    path.write_bytes(b"x" * size)
    with pytest.raises(UserError, match=r"labels\.npy: absent or damaged"):
        dataset(DataFolder(tmp_path), "pixel")
    path.unlink()
    with pytest.raises(UserError, match=r"labels\.npy: truncated or damaged"):
        dataset(DataFolder(tmp_path), "pixel")


# Limits


@pytest.mark.parametrize("limit", [2, 5, 9, 20, 64])
@pytest.mark.parametrize("texts", [("A sentence",), ("A long sentence, no less.", "And more"), ("x" * 60, "y")])
def test_a_cut_strip_is_the_one_rendered_with_that_limit(texts, limit, tmp_path):
    example = Example(texts, 0)
    binarize_examples([example], tmp_path / "long", "train", RTE, CONFIG, progress=False)
    short = RendererConfig(max_patches=limit)
    binarize_examples([example], tmp_path / "short", "train", RTE, short, progress=False)
    cut = dataset(DataFolder(tmp_path / "long"), "pixel", max_patches=limit)
    expected = dataset(DataFolder(tmp_path / "short"), "pixel")
    assert torch.equal(cut[0]["patches"], expected[0]["patches"])
    assert cut.sizes.tolist() == expected.sizes.tolist()


@pytest.mark.parametrize(
    ("lengths", "limit", "expected"),
    [
        ((3, 3), 6, (3, 3)),
        ((9, 3), 8, (5, 3)),
        ((3, 9), 8, (3, 5)),
        ((9, 9), 8, (4, 4)),
        ((9, 8), 7, (4, 3)),
        ((9,), 4, (4,)),
    ],
)
def test_the_longer_sentence_loses_its_end_first(lengths, limit, expected):
    parts = [torch.tensor([1, *range(10 * i, 10 * i + length - 1)]) for i, length in enumerate(lengths, start=1)]
    cut = truncate_sentences(torch.cat(parts), limit, bos=1)
    assert cut.tolist() == [t for part, length in zip(parts, expected, strict=True) for t in part[:length].tolist()]


def test_sizes_count_the_positions_of_both_parts_within_their_limits(folder):
    pairs = dataset(folder, "pair", max_patches=20, max_tokens=30)
    for i, item in enumerate(pairs):
        assert len(item["patches"]) <= 20
        assert len(item["tokens"]) <= 30
        assert pairs.num_tokens(i) == pairs.size(i) == pairs.sizes[i] == len(item["patches"]) + len(item["tokens"])


# Batches


def test_order_depends_on_seed_and_epoch_alone(folder):
    def order(seed=1, epoch=1, shuffle=True):
        one = dataset(folder, "pair", shuffle=shuffle, seed=seed)
        one.set_epoch(epoch)
        return one.ordered_indices().tolist()

    assert sorted(order()) == list(range(len(EXAMPLES)))
    assert order() == order()
    assert order() != order(epoch=2) != order(epoch=2, seed=2)
    assert order(shuffle=False) == order(shuffle=False, epoch=2)


def test_batches_of_like_lengths_have_next_to_no_padding():
    lengths = np.random.default_rng(0).lognormal(3, 0.8, 10_000).astype(int) + 2

    class Strips:
        sizes = lengths

    shuffled = ClassificationDataset("pixel", Strips(), shuffle=True)
    batches = shuffled.batch_by_size(shuffled.ordered_indices(), max_sentences=8)
    padded = sum(len(batch) * lengths[batch].max() for batch in batches)
    assert sum(map(len, batches)) == len(lengths)
    assert padded < 1.03 * lengths.sum()
    budget = shuffled.batch_by_size(shuffled.ordered_indices(), max_tokens=500)
    assert max(len(batch) * lengths[batch].max() for batch in budget) <= 500


def test_labels_of_classes_are_integers_and_of_scores_float64(folder, tmp_path):
    rte = dataset(folder, "pixel")
    assert rte.collater([rte[0], rte[1]])["labels"].dtype == torch.int64
    scores = [Example(("a",), 1.0), Example(("b",), 2.25)]
    binarize_examples(scores, tmp_path, "train", custom_task("x"), CONFIG, progress=False)
    stsb = dataset(DataFolder(tmp_path), "pixel")
    labels = stsb.collater([stsb[0], stsb[1]])["labels"]
    assert labels.dtype == torch.float64
    assert labels.tolist() == [1.0, 2.25]


@torch.no_grad()
@pytest.mark.parametrize("modality", ["text", "pixel", "pair"])
def test_padding_never_changes_logits(folder, modality):
    torch.manual_seed(1)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    config = PixelGPTConfig(**sizes, intermediate_size=48, initializer_range=0.3)
    model = PixelGPTModel(config, vocab_size=380, num_labels=2).eval()
    examples = dataset(folder, modality, max_patches=40, max_tokens=60, strip_patches=40)
    items = [examples[i] for i in (0, 30, 12, 5)]
    together = model(**examples.collater(items)["net_input"]).class_logits
    alone = torch.cat([model(**examples.collater([item])["net_input"]).class_logits for item in items])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("modality", ["text", "pixel", "pair"])
def test_logits_through_the_data_set_are_those_of_the_published_code(modality, tmp_path):
    fixture = np.load(shared("reference/model/classifier_io.npz"))
    model = load_released(shared("reference/model/classifier"))
    writer = StreamWriter(tmp_path, {PIXEL: np.uint8, TEXT: np.uint16})
    gray = patchify(torch.from_numpy(fixture["pixels"][:, :1])).numpy()
    for patches, patch_mask, tokens, token_mask in zip(
        gray, fixture["patch_mask"], fixture["input_ids"], fixture["token_mask"], strict=True
    ):
        writer.add(PIXEL, patches[patch_mask > 0].reshape(-1))
        writer.add(TEXT, tokens[token_mask > 0])
    writer.close()
    examples = ClassificationDataset(
        modality,
        IndexedRows(tmp_path / PIXEL, 256),
        IndexedRows(tmp_path / TEXT),
        max_patches=48,
        max_tokens=16,
        strip_patches=48,
    )
    examples.pad = 2
    logits = model(**examples.collater(list(examples))["net_input"]).class_logits
    np.testing.assert_allclose(logits, fixture[f"logits_{modality}_modality"], rtol=0, atol=1e-5)
