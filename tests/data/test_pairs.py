import shutil

import numpy as np
import pytest
from toy_corpus import MAX_PATCHES, documents

from pixelgpt_fairseq.data import pair_plan
from pixelgpt_fairseq.data.data_folder import DataFolder
from pixelgpt_fairseq.data.pairs import PairDataset
from pixelgpt_fairseq.data.patches import unpatchify
from pixelgpt_fairseq.data.streams import COLUMNS, PIXEL, TEXT
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.preprocessing.binarize import binarize
from pixelgpt_fairseq.rendering import RendererConfig, TextRenderer

PATCH_VALUES = 256
LIMITS = [(64, 64), (128, 30), (20, 200), (12, 12), (500, 500), (6, 4)]


def open_pairs(folder, max_patches, max_tokens, split="train"):
    streams = [folder.open(split, PIXEL, PATCH_VALUES), folder.open(split, TEXT), folder.open(split, COLUMNS, 2)]
    return PairDataset(*streams, folder.dictionary(), max_patches, max_tokens)


def strip(patches):
    return unpatchify(patches[None], channels=1)[0, 0].numpy()


def ink(pixels):
    """What is drawn in each column, whatever its height: a line's box, and with it its rows, depends on all of it."""
    return (255 - pixels.astype(int)).sum(axis=0)


@pytest.fixture(scope="module")
def folder(toy_data):
    return DataFolder(toy_data)


@pytest.fixture(scope="module")
def renderer():
    return TextRenderer(RendererConfig(max_patches=MAX_PATCHES))


@pytest.fixture(scope="module", params=LIMITS, ids=lambda limits: "-".join(map(str, limits)))
def cut(folder, request):
    """The data set of pairs within both limits, all of its pairs, and the limits."""
    pairs = open_pairs(folder, *request.param)
    return pairs, list(pairs), *request.param


def test_every_pair_fits_both_limits(cut):
    pairs, found, max_patches, max_tokens = cut
    for i, pair in enumerate(found):
        assert 2 <= len(pair["patches"]) <= max_patches
        assert 3 <= len(pair["tokens"]) <= max_tokens
        assert pairs.sizes[i] == len(pair["patches"]) + len(pair["tokens"])


def test_the_pairs_of_an_item_hold_its_tokens_once_and_in_order(folder, cut):
    pairs, found, _, _ = cut
    texts = folder.open("train", TEXT)
    of_item = {}
    for (item, _, _), pair in zip(pairs.cuts, found, strict=True):
        tokens = pair["tokens"].tolist()
        assert (tokens[0], tokens[-1]) == (1, 2)
        of_item.setdefault(item, []).extend(tokens[1:-1])
    for item, size in enumerate(texts.sizes):
        expected = [token for token in texts[item].tolist() if token not in (1, 2)]
        assert of_item.get(item, []) == expected
        assert size == 0 or expected


def test_strip_is_the_drawing_of_the_text_of_its_tokens(folder, renderer, cut):
    tokenizer, word_starts = folder.tokenizer(), folder.dictionary().word_starts()
    pairs, of_all, _, max_tokens = cut
    tokens = [pair["tokens"][1:-1] for pair in of_all]
    same_length = []
    for i, pair in enumerate(of_all):
        follows = i + 1 == len(pairs) or pairs.cuts[i + 1][0] != pairs.cuts[i][0] or word_starts[tokens[i + 1][0]]
        if not (word_starts[tokens[i][0]] and follows):
            continue  # cut within a word
        drawn = renderer(tokenizer.model.decode(tokens[i].tolist())).pixels
        found, expected = ink(strip(pair["patches"])), ink(drawn)
        # A glyph's box may be a column wider than its ink: enough for a patch more, if seldom.
        assert abs(len(found) - len(expected)) in (0, 16)
        same_length.append(len(found) == len(expected))
        text_end = min(len(found), len(expected)) - 16
        assert found[:text_end].tolist() == expected[:text_end].tolist()
        assert set(found[-16:]) == {16 * 255}  # the separator
    assert np.mean(same_length) > 0.95
    assert len(same_length) > 0.6 * len(pairs) or max_tokens < 12


@pytest.mark.parametrize(("max_patches", "max_tokens"), [(64, 64), (20, 200)])
def test_pairs_of_words_at_patches_are_drawn_as_their_text_to_the_pixel(
    folder, toy_data, tmp_path, max_patches, max_tokens
):
    tokenizer, word_starts = folder.tokenizer(), folder.dictionary().word_starts()
    config = RendererConfig(max_patches=MAX_PATCHES, structure="words")
    binarize([toy_data.parent / "train.txt"], tmp_path / "data", "train", config, tokenizer, progress=False)
    pairs, renderer = open_pairs(DataFolder(tmp_path / "data"), max_patches, max_tokens), TextRenderer(config)
    tokens, same_length = [pair["tokens"][1:-1] for pair in pairs], []
    for i, pair in enumerate(pairs):
        follows = i + 1 == len(pairs) or pairs.cuts[i + 1][0] != pairs.cuts[i][0] or word_starts[tokens[i + 1][0]]
        if word_starts[tokens[i][0]] and follows:
            found, drawn = strip(pair["patches"]), renderer(tokenizer.model.decode(tokens[i].tolist())).pixels
            text_end = min(found.shape[1], drawn.shape[1]) - 16
            np.testing.assert_array_equal(found[:, :text_end], drawn[:, :text_end])
            same_length.append(found.shape == drawn.shape)
    assert np.mean(same_length) > 0.95  # but where a box is a column wider than its ink
    assert len(same_length) > 0.9 * len(pairs)


def test_text_that_fits_is_the_strip_of_the_file_itself(folder, renderer):
    pairs = open_pairs(folder, 128, 2000)
    strips = folder.open("train", PIXEL, PATCH_VALUES)
    for (item, _, _), pair in zip(pairs.cuts, pairs, strict=True):
        kept = strips[item]
        assert pair["patches"][: len(kept)].equal(kept)
        assert len(pair["patches"]) - len(kept) == (0 if pairs.strips.ends_document(item) else 1)


def test_cuts_are_at_words_where_there_are_any(folder):
    starts = folder.dictionary().word_starts()
    pairs = open_pairs(folder, 64, 64)
    for (item, first, _), pair in zip(pairs.cuts, pairs, strict=True):
        begins_item = first == pairs.strips.starts_document(item)
        assert begins_item or starts[pair["tokens"][1]]


def test_pairs_are_as_few_as_the_limits_allow(folder):
    pairs = open_pairs(folder, 64, 64)
    # No pair and its successor of the same item would fit one together.
    for (item, first, _), (next_item, _, end) in zip(pairs.cuts, pairs.cuts[1:], strict=False):
        if item == next_item:
            left, right = pairs._span(item, first, end)
            assert end - first > pairs.max_tokens or right - left > pairs.max_width


@pytest.mark.parametrize(("max_patches", "max_tokens"), [(64, 64), (128, 30), (20, 200)])
def test_the_parts_of_a_text_are_of_nearly_equal_length(folder, max_patches, max_tokens):
    pairs = open_pairs(folder, max_patches, max_tokens)
    word_starts = folder.dictionary().word_starts()
    parted = 0
    for item in np.unique(pairs.cuts[:, 0]):
        sizes, cuts = (found[pairs.cuts[:, 0] == item] for found in (pairs.sizes, pairs.cuts))
        # Cuts are at the words nearest to equal parts: half a word too early or too late at either end.
        assert np.abs(sizes - sizes.mean()).max() <= longest_word(pairs, item, cuts[0, 1], cuts[-1, 2], word_starts)
        parted += len(sizes) > 1
    assert parted > 5


def longest_word(pairs, item, first, last, word_starts):
    """The positions, tokens and patches together, of the longest of the words in these tokens of an item."""
    begins = np.flatnonzero(word_starts[pairs.texts[item].numpy()])
    begins = np.unique([first, *begins[(begins > first) & (begins < last)]])
    columns = pairs.columns[item].numpy().astype(int)
    ends = np.append(columns[begins[1:], 0], columns[last - 1, 1])
    return (np.diff(begins, append=last) + (ends - columns[begins, 0]) / pairs.patch_size).max()


def test_a_word_wider_than_the_strip_is_cut_between_tokens(tmp_path, folder):
    path = tmp_path / "corpus.txt"
    path.write_text("x" * 300)
    binarize([path], tmp_path / "data", "train", RendererConfig(), folder.tokenizer(), progress=False)
    pairs = open_pairs(DataFolder(tmp_path / "data"), 10, 100)
    assert len(pairs) > 3
    decoded = "".join(folder.tokenizer().model.decode(pair["tokens"].tolist()) for pair in pairs)
    assert decoded.replace(" ", "") == "x" * 300


def test_nothing_fits_limits_that_are_too_small(folder):
    with pytest.raises(UserError, match=r"pixel: no text fits a pair of 1 patches and 64 tokens"):
        open_pairs(folder, 1, 64)


def test_streams_of_different_texts_are_refused(folder):
    streams = [folder.open("train", PIXEL, PATCH_VALUES), folder.open("valid", TEXT), folder.open("valid", COLUMNS, 2)]
    with pytest.raises(UserError, match=r"do not belong together"):
        PairDataset(*streams, folder.dictionary(), 64, 64)


def test_the_corpus_has_texts_of_all_kinds(folder):
    pairs = open_pairs(folder, 64, 64)
    items = np.bincount(pairs.cuts[:, 0])
    assert (items == 1).any()
    assert (items > 3).any()
    assert (folder.open("train", PIXEL, PATCH_VALUES).sizes == 0).sum() == len(documents()) - 10


@pytest.mark.parametrize(("max_patches", "max_tokens"), [*LIMITS, (40, 20), (33, 500)])
def test_items_cut_all_at_once_are_cut_as_each_by_itself(folder, monkeypatch, max_patches, max_tokens):
    together = open_pairs(folder, max_patches, max_tokens)
    alone = []
    cut_one = pair_plan.PairPlan._cut_one
    monkeypatch.setattr(pair_plan.PairPlan, "_cut_one", lambda *args: alone.append(args) or cut_one(*args))
    assert open_pairs(folder, max_patches, max_tokens).cuts.tolist() == together.cuts.tolist()
    some = len(alone)
    monkeypatch.setattr(pair_plan, "_MOST_ATTEMPTS", 0)
    each = open_pairs(folder, max_patches, max_tokens)
    assert each.cuts.tolist() == together.cuts.tolist()
    assert each.sizes.tolist() == together.sizes.tolist()
    if max_tokens > 12:  # otherwise hardly a word fits
        assert some < 0.2 * (len(alone) - some) or len(alone) == some


def test_a_plan_is_made_once_and_again_for_other_data(toy_data, tmp_path, monkeypatch):
    folder = DataFolder(shutil.copytree(toy_data, tmp_path / "data", ignore=shutil.ignore_patterns("*.plan")))

    def open_planned():
        streams = [folder.open("train", PIXEL, PATCH_VALUES), folder.open("train", TEXT)]
        columns = folder.open("train", COLUMNS, 2)
        return PairDataset(*streams, columns, folder.dictionary(), 64, 64, plans=folder.plans("train"))

    cuts = open_planned().cuts.tolist()
    cut = pair_plan.PairPlan.cut
    monkeypatch.setattr(pair_plan.PairPlan, "cut", None)
    assert open_planned().cuts.tolist() == cuts
    path = folder.path / "train.pair-64-64.plan"
    assert folder.plan_files("train") == [path]
    path.write_bytes(path.read_bytes()[:-4])
    monkeypatch.setattr(pair_plan.PairPlan, "cut", cut)
    assert open_planned().cuts.tolist() == cuts  # a damaged plan is made again
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n\n".join(documents(30)))
    config = RendererConfig(max_patches=MAX_PATCHES)
    binarize([corpus], folder.path, "train", config, folder.tokenizer(), overwrite=True, progress=False)
    assert folder.plan_files("train") == []
    assert open_planned().cuts.tolist() == open_pairs(folder, 64, 64).cuts.tolist() != cuts
    assert {file.name for file in folder.path.iterdir() if file.name.startswith(".")} == set()
