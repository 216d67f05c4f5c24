"""Standard input as a file: its beginning can be read again, the rest once, or all of it after it was kept."""

import io
import types

import pytest

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.sources import standard_input
from pixelgpt_fairseq.sources.standard_input import keep_standard_input, open_input

CONTENT = bytes(range(256)) * 2000


@pytest.fixture(autouse=True)
def given(monkeypatch):
    """Gives bytes on standard input."""

    def give(content):
        monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=io.BytesIO(content)))

    give(CONTENT)
    return give


def test_every_look_begins_anew():
    for _ in range(3):
        with open_input("-") as file:
            assert file.peek(100)[:100] == CONTENT[:100]
            assert file.read(300_000) == CONTENT[:300_000]
            assert file.tell() == 300_000
            file.seek(5)
            assert file.read(2) == CONTENT[5:7]
    with open_input("-") as file:
        assert file.read() == CONTENT


def test_what_is_not_kept_is_read_once_in_little_memory(monkeypatch):
    monkeypatch.setattr(standard_input, "KEPT_BYTES", 100_000)
    with open_input("-") as file:
        assert file.read() == CONTENT
    with pytest.raises(UserError, match="standard input can be read only once: write it to a file"), open_input("-"):
        pass
    assert len(standard_input._opened._kept.getbuffer()) <= 100_000


def test_going_forward_reads(monkeypatch):
    monkeypatch.setattr(standard_input, "KEPT_BYTES", 100_000)
    with open_input("-") as file:
        file.seek(400_000)
        assert file.read() == CONTENT[400_000:]


def test_all_of_it_can_be_kept(monkeypatch):
    monkeypatch.setattr(standard_input, "KEPT_BYTES", 100_000)
    with open_input("-") as file:
        file.read(10)
    keep_standard_input()
    for _ in range(2):
        with open_input("-") as file:
            assert file.seek(-5, io.SEEK_END) == len(CONTENT) - 5
            assert file.read() == CONTENT[-5:]
            file.seek(0)
            assert file.read() == CONTENT


def test_other_files_and_a_closed_standard_input(monkeypatch, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"other")
    with open_input(path) as file:
        assert file.read() == b"other"
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(UserError, match="standard input is closed: name files instead of -"), open_input("-"):
        pass
