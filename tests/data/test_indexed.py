import pickle

import numpy as np
import pytest
import torch
from fairseq.data.indexed_dataset import MMapIndexedDataset, MMapIndexedDatasetBuilder

from pixelgpt_fairseq.data.indexed import IndexedRows, IndexedWriter, check_index
from pixelgpt_fairseq.errors import UserError

ITEMS = [[1, 2, 3, 4], [], [5, 6], []]


def write(prefix, items=ITEMS, dtype=np.uint16):
    writer = IndexedWriter(prefix, dtype)
    for item in items:
        writer.add(np.array(item))
    writer.close()
    return prefix


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64])
def test_files_are_byte_for_byte_those_of_fairseqs_builder(tmp_path, dtype):
    write(tmp_path / "ours", dtype=dtype)
    builder = MMapIndexedDatasetBuilder(tmp_path / "theirs.bin", dtype=dtype)
    for item in ITEMS:
        builder.add_item(torch.tensor(item))
    builder.finalize(tmp_path / "theirs.idx")
    for kind in ("bin", "idx"):
        assert (tmp_path / f"ours.{kind}").read_bytes() == (tmp_path / f"theirs.{kind}").read_bytes()


def test_fairseqs_own_reader_reads_them(tmp_path):
    found = MMapIndexedDataset(str(write(tmp_path / "ours")))
    assert [found[i].tolist() for i in range(len(found))] == ITEMS


def test_an_empty_file_pair_is_one(tmp_path):
    rows = IndexedRows(write(tmp_path / "none", []))
    assert len(rows) == 0
    assert rows.rows(0, 0).tolist() == []


def test_rows_within_and_across_items(tmp_path):
    rows = IndexedRows(write(tmp_path / "a", dtype=np.uint8), row_width=2)
    assert rows.sizes.tolist() == [2, 0, 1, 0]
    assert rows.rows(1, 3).tolist() == [[3, 4], [5, 6]]
    assert rows[0].dtype == torch.uint8
    assert rows[1].shape == (0, 2)
    tokens = IndexedRows(tmp_path / "a")
    assert tokens[2].tolist() == [5, 6]
    assert tokens[2].dtype == torch.int64


def test_what_is_read_is_not_the_file_itself(tmp_path):
    rows = IndexedRows(write(tmp_path / "a", dtype=np.uint8), row_width=2)
    rows[0][:] = 0
    assert rows[0].tolist() == [[1, 2], [3, 4]]


def test_travels_to_workers_as_a_path(tmp_path):
    rows = IndexedRows(write(tmp_path / "a"))
    pickled = pickle.dumps(rows)
    assert len(pickled) < 500
    assert pickle.loads(pickled)[0].tolist() == ITEMS[0]


@pytest.mark.parametrize("kind", ["bin", "idx"])
def test_a_file_cut_anywhere_is_refused(tmp_path, kind):
    path = write(tmp_path / "a").with_suffix(f".{kind}")
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(UserError, match=rf"a\.{kind}: .*render this split again"):
            check_index(tmp_path / "a")
    path.write_bytes(content + b"x")
    with pytest.raises(UserError, match=rf"a\.{kind}: truncated or damaged"):
        check_index(tmp_path / "a")
    path.unlink()
    with pytest.raises(UserError, match=rf"a\.{kind}: no such file"):
        check_index(tmp_path / "a")


@pytest.mark.parametrize(("position", "value"), [(0, 65), (9, 2), (17, 77), (26, 3), (29, 255)])
def test_a_damaged_index_is_refused_without_noise(tmp_path, position, value, recwarn):
    path = write(tmp_path / "a").with_suffix(".idx")
    content = bytearray(path.read_bytes())
    content[position] = value  # magic, version, type, first length (small, then negative)
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.(idx|bin): .*render this split again"):
        IndexedRows(tmp_path / "a")
    assert not recwarn.list  # such as an exception ignored in a destructor


def test_items_that_are_not_whole_rows_are_refused(tmp_path):
    write(tmp_path / "a", [[1, 2, 3]])
    with pytest.raises(UserError, match="not whole rows of 2"):
        IndexedRows(tmp_path / "a", row_width=2)
