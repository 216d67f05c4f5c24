import os
import resource
import sys

import numpy as np
import pytest
from fairseq.data.indexed_dataset import MMapIndexedDataset
from processes import Command
from toy_corpus import documents

from pixelgpt_fairseq.data.data_folder import DataFolder
from pixelgpt_fairseq.data.streams import COLUMNS, PIXEL, TEXT
from pixelgpt_fairseq.data.tokens import train_tokenizer
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.preprocessing import binarize as binarizing
from pixelgpt_fairseq.preprocessing import chunks, shards
from pixelgpt_fairseq.preprocessing.binarize import binarize
from pixelgpt_fairseq.preprocessing.partial_folder import partial_folder
from pixelgpt_fairseq.rendering import RendererConfig, TextRenderer
from pixelgpt_fairseq.sources import passages as sources
from pixelgpt_fairseq.storage import files, locks

CONFIG = RendererConfig(max_patches=40)  # shorter than most of the documents
PATCH_VALUES = 256
BOS, EOS = 1, 2


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(iter(documents()), 400)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    path = tmp_path_factory.mktemp("corpus") / "corpus.txt"
    path.write_text("\n\n".join(documents()))
    return path


@pytest.fixture(scope="module")
def folder(corpus, tokenizer):
    binarize([corpus], corpus.parent / "data", "train", CONFIG, tokenizer, progress=False)
    return DataFolder(corpus.parent / "data")


def by_document(rows):
    """The items of each document; an empty one ends it."""
    found = [[]]
    for i, size in enumerate(rows.sizes):
        if size:
            found[-1].append(rows[i].numpy())
        else:
            found.append([])
    assert found.pop() == []
    return found


def contents(path):
    """The files of a folder, but not what an unfinished run keeps in a hidden one."""
    files = (file for file in path.rglob("*") if file.is_file() and ".partial" not in str(file.relative_to(path)))
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


def ink(pixels):
    return (255 - pixels.astype(int)).sum(axis=0)


def test_strips_are_the_renderers_drawings(folder):
    renderer = TextRenderer(CONFIG)
    for text, strips in zip(documents(), by_document(folder.open("train", PIXEL, PATCH_VALUES)), strict=True):
        spans = list(renderer.cut(text))
        assert len(spans) == len(strips)
        for (start, end), strip in zip(spans, strips, strict=True):
            drawn = renderer(text[start:end]).patches()
            assert len(drawn) <= CONFIG.max_patches
            # The separator stands at the end of the document alone.
            assert np.array_equal(strip, drawn if strip is strips[-1] else drawn[:-1])


def test_long_documents_are_cut_at_spaces_and_nothing_is_lost():
    renderer = TextRenderer(CONFIG)
    for text in documents():
        assert " ".join(text[start:end] for start, end in renderer.cut(text)) == text


def test_tokens_are_sentencepieces_own(folder, tokenizer):
    for text, pieces in zip(documents(), by_document(folder.open("train", TEXT)), strict=True):
        assert np.concatenate(pieces).tolist() == [BOS, *tokenizer.model.encode(text), EOS]


def test_columns_point_at_the_pixels_of_each_word(folder, tokenizer):
    renderer = TextRenderer(CONFIG)
    columns = by_document(folder.open("train", COLUMNS, 2))
    compared = 0
    for text, pieces in zip(documents(), columns, strict=True):
        for (start, end), spans in zip(renderer.cut(text), pieces, strict=True):
            part = text[start:end]
            full = ink(renderer(part).pixels)[:-16]
            starts = tokenizer.encode(part)[1].tolist()
            lefts = spans[start == 0 :, 0].tolist()
            # The first tokens of words: that of a word's space, where it is a token of its own, shows the word too.
            words = [
                (at, left) for i, (at, left) in enumerate(zip(starts, lefts, strict=False)) if at not in starts[:i]
            ]
            for at, left in words[1:40:2]:
                if part[at - 1] != " ":
                    continue
                before = ink(renderer(part[:at].rstrip()).pixels)[:-16]
                last = np.flatnonzero(before).max()
                assert last < left  # what comes before the word is drawn before it
                assert full[: last + 1].tolist() == before[: last + 1].tolist()
                assert full[last + 1 : left].sum() == 0
                assert full[left] > 0
                compared += 1
    assert compared > 200


def test_fairseqs_reader_reads_the_files(folder):
    tokens = MMapIndexedDataset(str(folder.prefixes("train", TEXT)[0]))
    assert tokens[0][0] == BOS
    assert MMapIndexedDataset(str(folder.prefixes("train", PIXEL)[0]))._index.dtype == np.uint8


def test_a_document_longer_than_memory_would_hold_is_one_document(tmp_path, corpus, tokenizer, monkeypatch):
    """Passages of a few words give the same document: bos and eos at its ends, one separator."""
    path = tmp_path / "corpus.txt"
    path.write_text(" ".join(documents(10)))
    monkeypatch.setattr("pixelgpt_fairseq.sources.passages.MAX_PASSAGE_CHARACTERS", 500)
    summary = binarize([path], tmp_path / "data", "train", CONFIG, tokenizer, progress=False)
    assert summary.counts.documents == 1
    data = DataFolder(tmp_path / "data")
    (strips,), (pieces,) = by_document(data.open("train", PIXEL, PATCH_VALUES)), by_document(data.open("train", TEXT))
    assert tokenizer.model.decode(np.concatenate(pieces).tolist()) == path.read_text()
    assert np.concatenate(pieces).tolist().count(BOS) == np.concatenate(pieces).tolist().count(EOS) == 1
    black = (np.concatenate(strips) == 0).all(axis=1)
    assert np.flatnonzero(black).tolist() == [len(black) - 1]


@pytest.mark.parametrize("workers", [2, 3])
def test_the_result_does_not_depend_on_the_number_of_workers(corpus, tokenizer, tmp_path, workers, monkeypatch):
    monkeypatch.setattr(shards, "SHARD_CHARACTERS", 1000)
    for number in (1, workers):
        binarize([corpus], tmp_path / str(number), "train", CONFIG, tokenizer, workers=number, progress=False)
    assert contents(tmp_path / "1") == contents(tmp_path / str(workers))


def test_the_streams_do_not_depend_on_the_shards(corpus, tokenizer, tmp_path, monkeypatch, folder):
    monkeypatch.setattr(shards, "SHARD_CHARACTERS", 100)
    binarize([corpus], tmp_path / "data", "train", CONFIG, tokenizer, progress=False)
    data = DataFolder(tmp_path / "data")
    assert len(data.shards("train")) > 30
    assert len(folder.shards("train")) == 1
    for stream, width in ((PIXEL, PATCH_VALUES), (TEXT, 1), (COLUMNS, 2)):
        parted, whole = data.open("train", stream, width), folder.open("train", stream, width)
        assert parted.sizes.tolist() == whole.sizes.tolist()
        assert parted.rows(0, whole.num_rows).equal(whole.rows(0, whole.num_rows))
        assert parted.rows(7, 1000).equal(whole.rows(7, 1000))
        for i in np.flatnonzero(whole.sizes)[::7]:
            assert parted[i].equal(whole[i])
            assert parted.starts_document(i) == whole.starts_document(i)
            assert parted.ends_document(i) == whole.ends_document(i)
            assert parted.first_row(i) == whole.first_row(i)


def test_pixels_alone(corpus, tmp_path, folder):
    summary = binarize([corpus], tmp_path / "data", "train", CONFIG, progress=False)
    assert summary.counts.tokens == 0
    assert DataFolder(tmp_path / "data").dictionary() is None
    (ours,), (theirs,) = DataFolder(tmp_path / "data").prefixes("train", PIXEL), folder.prefixes("train", PIXEL)
    assert ours.with_suffix(".bin").read_bytes() == theirs.with_suffix(".bin").read_bytes()


def test_summary_counts_what_is_written(corpus, tokenizer, tmp_path):
    summary = binarize([corpus], tmp_path / "data", "train", CONFIG, tokenizer, progress=False)
    data = DataFolder(tmp_path / "data")
    assert summary.counts.documents == len(documents())
    assert summary.counts.patches == data.open("train", PIXEL, PATCH_VALUES).sizes.sum()
    assert summary.counts.characters == sum(map(len, documents()))
    assert summary.bytes == sum(file.stat().st_size for file in data.split_files("train"))
    assert [path.name for path in summary.files] == [path.name for path in data.split_files("train")]


def test_a_split_that_is_there_is_not_touched(corpus, tokenizer, tmp_path):
    data = tmp_path / "data"
    binarize([corpus], data, "train", CONFIG, tokenizer, progress=False)
    kept = contents(data)
    with pytest.raises(UserError, match=r"train.manifest.json: already there: .* or pass --overwrite"):
        binarize([corpus], data, "train", CONFIG, tokenizer, progress=False)
    assert contents(data) == kept


def test_overwriting_replaces_the_split_and_nothing_else(corpus, tokenizer, tmp_path):
    data = tmp_path / "data"
    binarize([corpus], data, "train", CONFIG, tokenizer, progress=False)
    (data / "train.txt").write_text("the user's own")
    short = tmp_path / "short.txt"
    short.write_text("short")
    binarize([short], data, "train", CONFIG, overwrite=True, progress=False)
    assert DataFolder(data).manifest("train")["documents"] == 1
    assert not DataFolder(data).has("train", TEXT)
    assert (data / "train.txt").read_text() == "the user's own"


def failing_after(calls, error, function):
    """*function*, but its call number *calls* + 1 raises *error*."""
    count = iter(range(1000))

    def wrapped(*args, **kwargs):
        if next(count) == calls:
            raise error
        return function(*args, **kwargs)

    return wrapped


FULL = OSError(28, "No space left on device")


@pytest.mark.parametrize("what", ["invalid text", "no space for a file", "no space for the manifest", "file too large"])
def test_a_failing_run_leaves_the_old_split_whole(corpus, tokenizer, tmp_path, what, monkeypatch):
    data, path = tmp_path / "data", tmp_path / "corpus.txt"
    binarize([corpus], data, "train", CONFIG, tokenizer, progress=False)
    kept = contents(data)
    path.write_bytes(corpus.read_bytes() + (b"\n\xff\n" if what == "invalid text" else b""))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    if what == "no space for a file":
        monkeypatch.setattr(chunks.IndexedWriter, "add", failing_after(50, FULL, chunks.IndexedWriter.add))
    if what == "no space for the manifest":
        monkeypatch.setattr("pixelgpt_fairseq.storage.files.move", failing_after(3, FULL, files.move))
    if what == "file too large":
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(UserError, match=r"line \d+: byte 0xff|No space left on device$|File too large$"):
            binarize([path], data, "train", CONFIG, tokenizer, overwrite=True, progress=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert contents(data) == kept


def test_a_failing_run_leaves_no_folder_behind(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_bytes(b"text \xff")
    with pytest.raises(UserError, match="line 1: byte 0xff"):
        binarize([path], tmp_path / "data", "train", CONFIG, progress=False)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("moved", range(5))
def test_no_moment_of_moving_in_looks_finished_and_each_can_be_gone_on_from(
    corpus, tokenizer, tmp_path, monkeypatch, moved, folder
):
    data = DataFolder(tmp_path / "data")
    binarize([corpus], data.path, "train", RendererConfig(max_patches=9), tokenizer, progress=False)
    old = contents(data.path)
    move = binarizing.move_into_place

    def interrupted(*args):
        monkeypatch.setattr(os, "replace", failing_after(moved, KeyboardInterrupt(), os.replace))
        move(*args)

    monkeypatch.setattr(binarizing, "move_into_place", interrupted)
    with pytest.raises(KeyboardInterrupt):
        binarize([corpus], data.path, "train", CONFIG, tokenizer, overwrite=True, progress=False)
    assert contents(data.path) != old
    with pytest.raises(UserError, match="not rendered, or not to its end"):
        data.manifest("train")
    monkeypatch.undo()
    monkeypatch.setattr(binarizing, "stretches", None)  # all is rendered, nothing is to be overwritten
    binarize([corpus], data.path, "train", CONFIG, tokenizer, progress=False)
    data.manifest("train")
    assert contents(data.path) == contents(folder.path)
    assert not (data.path / ".train.partial").exists()


def test_two_runs_do_not_write_the_same_split(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "WAIT", 0)
    folder = DataFolder(tmp_path / "data")
    with (
        partial_folder(folder, "train"),
        pytest.raises(UserError, match=r"train.partial: another run is writing this split"),
    ):
        binarize([corpus], folder.path, "train", CONFIG, progress=False)
    binarize([corpus], folder.path, "train", CONFIG, progress=False)


def test_splits_share_their_settings(corpus, tokenizer, tmp_path, folder):
    def add(config=CONFIG, tokenizer=tokenizer):
        binarize([corpus], folder.path, "test", config, tokenizer, progress=False)

    with pytest.raises(UserError, match=r"split train has other settings: font_size: 10 against 8: leave out"):
        add(RendererConfig(max_patches=40, font_size=10))
    with pytest.raises(UserError, match=r"tokenizer \(SHA-256\): none against \w+: pass --tokenizer .*tokenizer.model"):
        add(tokenizer=None)
    with pytest.raises(UserError, match=r"tokenizer \(SHA-256\): \w+ against \w+: pass --tokenizer"):
        add(tokenizer=train_tokenizer(iter(documents()), 390))
    assert folder.split_files("test") == []


def test_a_tokenizer_of_the_users_is_not_replaced(corpus, tokenizer, tmp_path):
    own = tmp_path / "tokenizer.model"
    own.write_bytes(b"his")
    with pytest.raises(UserError, match=r"tokenizer.model: already there, another tokenizer"):
        binarize([corpus], tmp_path, "train", CONFIG, tokenizer, progress=False)
    assert own.read_bytes() == b"his"


def test_characters_without_a_glyph_are_counted_by_script(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text("\U00012000 words " * 20)
    with pytest.raises(UserError, match=r"no glyph in Kurinto.* for Cuneiform: 20 characters .*--max-missing"):
        binarize([path], tmp_path / "data", "train", CONFIG, progress=False)
    summary = binarize([path], tmp_path / "data", "train", CONFIG, max_missing=0.5, progress=False)
    assert summary.missing[0].startswith("Cuneiform: 20 characters")
    assert DataFolder(tmp_path / "data").manifest("train")["missing_characters"] == {"Cuneiform": 20}


def print_memory():
    """Render each file of the command line; print the most memory, in MB, that this process has had after each."""
    shards.SHARD_CHARACTERS, sources.MAX_PASSAGE_CHARACTERS = 1 << 16, 1 << 15
    for path in sys.argv[1:]:
        binarize([path], path + ".data", "train", RendererConfig(), progress=False)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


def test_memory_does_not_grow_with_the_corpus(tmp_path):
    text = " ".join(documents())
    text *= 100_000 // len(text)
    (tmp_path / "a").write_text(f"{text}\n\n" + "short\n\n" * 1_000)
    (tmp_path / "b").write_text(f"{text} " * 10 + "\n\n" + "short\n\n" * 10_000)
    first, second = map(int, Command(print_memory, tmp_path / "a", tmp_path / "b").wait().split())
    # The strips of b take 70 MB, with which it would grow if all of them were held.
    assert sum(file.stat().st_size for file in DataFolder(tmp_path / "b.data").split_files("train")) > 70 << 20
    assert second - first < 25
