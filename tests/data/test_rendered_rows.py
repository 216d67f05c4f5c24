"""Patches rendered from text when they are read: the same as stored ones, bit for bit."""

import pickle
import random
import shutil

import numpy as np
import pytest
import torch
from toy_corpus import documents

from pixelgpt_fairseq.data.blocks import BlockDataset
from pixelgpt_fairseq.data.data_folder import DataFolder
from pixelgpt_fairseq.data.indexed import IndexedRows
from pixelgpt_fairseq.data.pairs import PairDataset
from pixelgpt_fairseq.data.rendered_rows import RenderedRows
from pixelgpt_fairseq.data.streams import COLUMNS, PIECES, PIXEL, TEXT
from pixelgpt_fairseq.data.tokens import train_tokenizer
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.preprocessing.binarize import binarize
from pixelgpt_fairseq.rendering import RendererConfig

CONFIG = RendererConfig(max_patches=40)
TEXTS = [*documents(20), "naïve “quotes”  two spaces ﬁ 日本語 Ελληνικά e\u0301 ½", "a"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("rendered")
    (path / "corpus.txt").write_text("\n\n".join(TEXTS))
    tokenizer = train_tokenizer(iter(TEXTS), 400)
    binarize([path / "corpus.txt"], path / "data", "train", CONFIG, tokenizer, store="both", progress=False)
    return DataFolder(path / "data")


def rendered_rows(folder, config=CONFIG):
    return RenderedRows(folder.prefixes("train", PIXEL), folder.open("train", PIECES), config)


@pytest.fixture(scope="module")
def both(folder):
    return folder.open("train", PIXEL, 256), rendered_rows(folder)


def test_every_item_is_the_stored_one(both):
    stored, rendered = both
    assert len(rendered) == len(stored) > 60
    assert rendered.sizes.tolist() == stored.sizes.tolist()
    assert [rendered.first_row(i) for i in range(len(stored))] == [stored.first_row(i) for i in range(len(stored))]
    for i in range(len(stored)):
        assert torch.equal(rendered[i], stored[i])
        assert rendered[i].dtype == torch.uint8


def test_every_range_of_rows_is_the_stored_one(both):
    stored, rendered = both
    total, numbers = stored.num_rows, random.Random(1)
    ranges = [(0, 0), (0, 1), (total - 1, total), (total, total), (0, total)]
    ranges += [sorted(numbers.choices(range(total + 1), k=2)) for _ in range(20)]
    ranges += [(start, start + 100) for start in range(0, total - 100, 97)]
    for start, stop in ranges:
        assert torch.equal(rendered.rows(start, stop), stored.rows(start, stop)), (start, stop)


def test_text_alone_takes_little_space(folder, tmp_path):
    source = folder.path.parent / "corpus.txt"
    binarize([source], tmp_path / "data", "train", CONFIG, folder.tokenizer(), store="text", progress=False)
    data = DataFolder(tmp_path / "data")
    assert not data.has("train", PIXEL)
    assert data.manifest("train")["store"] == "text"
    for file in data.split_files("train"):
        if not file.name.endswith(".json"):
            assert file.read_bytes() == (folder.path / file.relative_to(data.path)).read_bytes()
    bytes_of = {
        name: sum(file.stat().st_size for file in at.split_files("train"))
        for name, at in (("text", data), ("both", folder))
    }
    assert 15 * bytes_of["text"] < bytes_of["both"]
    assert torch.equal(rendered_rows(data)[0], folder.open("train", PIXEL, 256)[0])


def test_patches_alone_keep_no_text(folder, tmp_path):
    source = folder.path.parent / "corpus.txt"
    binarize([source], tmp_path / "data", "train", CONFIG, folder.tokenizer(), progress=False)
    data = DataFolder(tmp_path / "data")
    assert data.manifest("train")["store"] == "patches"
    assert not data.has("train", PIECES)
    (ours,), (theirs,) = data.prefixes("train", PIXEL), folder.prefixes("train", PIXEL)
    assert ours.with_suffix(".bin").read_bytes() == theirs.with_suffix(".bin").read_bytes()


@pytest.mark.parametrize("mode", ["rgb", "binary"])
def test_in_every_render_mode(folder, tmp_path, mode):
    config = RendererConfig(max_patches=40, render_mode=mode, font_color="#a03020")
    binarize([folder.path.parent / "corpus.txt"], tmp_path, "train", config, store="both", progress=False)
    stored, rendered = (
        DataFolder(tmp_path).open("train", PIXEL, config.patch_values),
        rendered_rows(DataFolder(tmp_path), config),
    )
    total = stored.num_rows
    assert torch.equal(rendered.rows(0, total), stored.rows(0, total))


def test_travels_to_workers(both):
    stored, rendered = both
    other = pickle.loads(pickle.dumps(rendered))
    assert torch.equal(other.rows(30, 200), stored.rows(30, 200))


def test_drawing_in_another_way_is_noticed(folder):
    other = rendered_rows(folder, RendererConfig(max_patches=40, font_size=11))
    with pytest.raises(UserError, match=r"pieces.bin, item 0: \d+ patches, and \d+ when it was rendered: .* again"):
        other.check()


def test_damaged_text_is_noticed(folder, tmp_path):
    data = DataFolder(shutil.copytree(folder.path, tmp_path / "data"))
    path = data.prefixes("train", PIECES)[0].with_suffix(".bin")
    path.write_bytes(b"\xff" + path.read_bytes()[1:])
    with pytest.raises(UserError, match=r"pieces.bin: damaged \(item 0 is no text\): render this split again"):
        rendered_rows(data).check()


def test_streams_that_do_not_belong_together_are_refused(folder, tmp_path):
    data = DataFolder(shutil.copytree(folder.path, tmp_path / "data"))
    other = DataFolder(tmp_path / "other")
    (tmp_path / "short.txt").write_text("short")
    binarize([tmp_path / "short.txt"], other.path, "train", CONFIG, store="text", progress=False)
    for name in ("bin", "idx"):
        shutil.copy(other.shards("train")[0] / f"pieces.{name}", data.shards("train")[0])
    with pytest.raises(UserError, match=r"pixel.idx and .*pieces.bin do not belong together"):
        rendered_rows(data)


def test_memory_holds_no_patches(both):
    stored, rendered = both
    held = [value for value in vars(rendered).values() if isinstance(value, np.ndarray)]
    assert sum(array.nbytes for array in held) <= 16 * (len(stored) + 1)


def test_what_is_read_ahead_is_what_examples_are_made_of(folder, monkeypatch):
    """Of every stream, stored and rendered: blocks and pairs read no row that was not asked for before."""
    there = {}

    def prefetch(self, start, stop):
        there.setdefault(id(self), set()).update(range(start, stop))

    def rows(self, start, stop):
        if there:
            assert set(range(start, stop)) <= there[id(self)]
        return read(self, start, stop)

    read = IndexedRows.rows
    monkeypatch.setattr(IndexedRows, "prefetch", prefetch)
    monkeypatch.setattr(IndexedRows, "rows", rows)
    stored, rendered, tokens = folder.open("train", PIXEL, 256), rendered_rows(folder), folder.open("train", TEXT)
    datasets = [BlockDataset(stored, "patches", 50, mode) for mode in ("none", "eos", "complete_doc")]
    datasets += [BlockDataset(rendered, "patches", 50), BlockDataset(tokens, "tokens", 32)]
    for strips in (stored, rendered):
        columns = folder.open("train", COLUMNS, 2)
        datasets.append(PairDataset(strips, tokens, columns, folder.dictionary(), 16, 30))
    for dataset in datasets:
        assert dataset.supports_prefetch
        for part in (range(len(dataset) // 3, len(dataset) // 2), range(len(dataset) - 3, len(dataset))):
            there.clear()
            dataset.prefetch(part)
            for i in part:
                dataset[i]
