import gzip

import pytest

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.sources.translations import read_parallel, read_table


def test_two_columns_of_a_table(tmp_path):
    (tmp_path / "a.csv").write_text('sw,en,x\nhabari,"news, hello",1\n  paka\x07 , cat ,2\n', encoding="utf-8")
    assert list(read_table(tmp_path / "a.csv", ("sw", "en"))) == [("habari", "news, hello"), ("paka", "cat")]
    (tmp_path / "a.tsv").write_text("cat\tpaka\n", encoding="utf-8")
    assert list(read_table(tmp_path / "a.tsv", (2, 1))) == [("paka", "cat")]


def test_two_parallel_files(tmp_path):
    with gzip.open(tmp_path / "a.sw.gz", "wt", encoding="utf-8") as file:
        file.write("habari\r\n\npaka\n")
    (tmp_path / "a.en").write_text("news\n\ncat", encoding="utf-16")
    assert list(read_parallel(tmp_path / "a.sw.gz", tmp_path / "a.en")) == [("habari", "news"), ("paka", "cat")]


def test_files_of_different_lengths_are_named(tmp_path):
    (tmp_path / "a.sw").write_text("habari\npaka\nmbwa\n")
    (tmp_path / "a.en").write_text("news\ncat\n")
    for paths, shorter in ((("a.sw", "a.en"), "a.en"), (("a.en", "a.sw"), "a.en")):
        with pytest.raises(UserError, match=rf"{shorter} has 2 lines, .*a\.sw has more: the two are not parallel"):
            list(read_parallel(*(tmp_path / path for path in paths)))


def test_bad_rows_are_named_or_passed_over(tmp_path):
    (tmp_path / "a.tsv").write_text("sw\ten\nhabari\tnews\npaka\t \nmbwa\n")
    with pytest.raises(UserError, match=r"a\.tsv, line 3: empty text \(column en\): mend it, or pass --skip-bad-rows"):
        list(read_table(tmp_path / "a.tsv", ("sw", "en")))
    errors = []
    assert list(read_table(tmp_path / "a.tsv", ("sw", "en"), errors.append)) == [("habari", "news")]
    assert len(errors) == 2
    (tmp_path / "a.sw").write_text("habari\npaka\n")
    (tmp_path / "a.en").write_text("\ncat\n")
    with pytest.raises(UserError, match=r"a\.en, line 1: empty, but that of the other file is not"):
        list(read_parallel(tmp_path / "a.sw", tmp_path / "a.en"))
    assert list(read_parallel(tmp_path / "a.sw", tmp_path / "a.en", errors.append)) == [("paka", "cat")]
    with pytest.raises(UserError, match=r"absent: no such file"):
        list(read_parallel(tmp_path / "a.sw", tmp_path / "absent"))
