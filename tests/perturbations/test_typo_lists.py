"""Lists of misspellings, and files that are none."""

import pytest

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.perturbations import read_typos


def written(tmp_path, content):
    path = tmp_path / "typos.txt"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_a_list_is_read_in_lower_case_with_the_lines_of_a_word_joined(tmp_path):
    path = written(tmp_path, "\ufeffReceive recieve receve\r\n\ndon't dont\nreceive recive recieve\n")
    assert read_typos(path) == {"receive": ("recieve", "receve", "recive"), "don't": ("dont",)}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "empty"),
        ("\n \n", "empty"),
        ("fine fien\nalone\n", "line 2: 'alone' without a misspelling"),
        ("same same\n", "line 1: 'same' without a misspelling"),
        (b"fine fien\n\xff\xfe\x00\x01 x\n", "line 2: not text in UTF-8"),
        ('{"receive": ["recieve"]}\n', "line 1: '{\"receive\":' is not a word"),
    ],
)
def test_a_file_that_is_none_is_refused_with_its_line(tmp_path, content, problem):
    path = written(tmp_path, content)
    with pytest.raises(UserError) as refusal:
        read_typos(path)
    assert f"--typos {path}" in str(refusal.value)
    assert problem in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_file_that_is_absent_or_a_folder_is_named(tmp_path):
    with pytest.raises(UserError, match="nothing: No such file"):
        read_typos(tmp_path / "nothing")
    with pytest.raises(UserError, match="Is a directory"):
        read_typos(tmp_path)
