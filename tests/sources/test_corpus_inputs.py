"""What may be named as a corpus."""

import pytest

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.sources.corpus_inputs import find_inputs


@pytest.fixture
def folder(tmp_path):
    """A folder of files, some of which are no corpus."""
    for name in ("b/2.jsonl", "b/10.JSONL.GZ", "a.txt", "c.parquet", "wiki_00.bz2", "LICENSE", "README.md", "n.npy"):
        path = tmp_path / "corpus" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    for name in (".cache/a.txt", "_SUCCESS", ".hidden.txt", "_temporary/a.txt"):
        path = tmp_path / "corpus" / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return tmp_path / "corpus"


def relative(folder, paths):
    return [path.removeprefix(f"{folder}/") for path in paths]


def test_a_folder_means_the_files_in_it_that_a_corpus_may_be_of(folder, caplog):
    found = find_inputs([folder])
    assert relative(folder, found) == ["a.txt", "b/10.JSONL.GZ", "b/2.jsonl", "c.parquet", "wiki_00.bz2"]
    (message,) = caplog.messages
    assert (
        f"{folder}: left out 3 files whose names do not say text, JSON lines or Parquet, such as {folder}/" in message
    )


def test_files_without_an_ending_are_taken_where_none_has_one(tmp_path):
    for name in ("AA/wiki_01", "AA/wiki_00", "AB/wiki_00", "notes.md"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert relative(tmp_path, find_inputs([tmp_path])) == ["AA/wiki_00", "AA/wiki_01", "AB/wiki_00"]


def test_patterns_and_files_in_the_order_given(folder):
    found = find_inputs([folder / "c.parquet", "-", f"{folder}/**/*.json*", folder / "a.txt"])
    assert relative(folder, found) == ["c.parquet", "-", "b/2.jsonl", "a.txt"]


def test_a_file_whose_name_is_a_pattern_is_that_file(tmp_path):
    path = tmp_path / "a[1].txt"
    path.touch()
    assert find_inputs([path]) == [str(path)]


def test_what_is_not_there_is_told(tmp_path):
    (tmp_path / "a.md").touch()
    for name, message in (
        ("none.txt", "none.txt: no such file"),
        ("*.json", r"\*.json: no file matches this pattern"),
        ("", r"no files in it whose names end in .txt, .* nor without any ending"),
    ):
        with pytest.raises(UserError, match=message):
            find_inputs([tmp_path / name])
    with pytest.raises(UserError, match="standard input is named twice"):
        find_inputs(["-", "-"])
