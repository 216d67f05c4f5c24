import itertools
import random

import pytest
from compressed_files import SUFFIXES, compressed

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.sources.corpus import read_passages


def write(folder, content):
    path = folder / "corpus.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def texts(path, **options):
    return [passage.text for passage in read_passages([path], **options)]


def test_lines_up_to_an_empty_line_are_a_document(tmp_path):
    path = write(tmp_path, "one\n  two \n\n \t\nthree\n")
    assert texts(path) == ["one two", "three"]


def test_every_line_is_a_document_on_request(tmp_path):
    path = write(tmp_path, "one\n\n  two \nthree")
    assert texts(path, documents="line") == ["one", "two", "three"]


def test_spaces_inside_a_line_stay_and_control_characters_become_spaces(tmp_path):
    path = write(tmp_path, "a  b\tc\x07d\r\n")
    assert texts(path) == ["a  b c d"]


def test_byte_order_mark_is_no_text(tmp_path):
    assert texts(write(tmp_path, b"\xef\xbb\xbfone\n")) == ["one"]


def test_documents_do_not_go_on_in_the_next_file(tmp_path):
    first, second = tmp_path / "a.txt", tmp_path / "b.txt"
    first.write_text("one")
    second.write_text("two")
    assert [passage.text for passage in read_passages([first, second])] == ["one", "two"]


@pytest.mark.parametrize("documents", ["blank-line", "line"])
@pytest.mark.parametrize("limit", [7, 16, 50])
def test_long_documents_arrive_whole_in_several_passages(tmp_path, monkeypatch, documents, limit):
    numbers = random.Random(limit)
    words = ["a", "word", "słowo", "日本語", "x" * 6]
    lines = [" ".join(numbers.choices(words, k=numbers.randrange(30))) for _ in range(100)]
    path = write(tmp_path, "\n".join(lines))
    whole = texts(path, documents=documents)
    monkeypatch.setattr("pixelgpt_fairseq.sources.passages.MAX_PASSAGE_CHARACTERS", limit)
    passages = list(read_passages([path], documents))
    joined = []
    for passage in passages:
        assert len(passage.text) <= 2 * limit
        if passage.starts_document:
            joined.append("")
        joined[-1] += passage.text.replace(" ", "")
    assert joined == [text.replace(" ", "") for text in whole]
    assert sum(passage.ends_document for passage in passages) == len(whole)


def test_a_cut_never_splits_a_character(tmp_path, monkeypatch):
    monkeypatch.setattr("pixelgpt_fairseq.sources.passages.MAX_PASSAGE_CHARACTERS", 10)
    passages = list(read_passages([write(tmp_path, "日本語" * 20)]))
    assert "".join(passage.text for passage in passages) == "日本語" * 20


def test_memory_does_not_grow_with_the_line(tmp_path, monkeypatch):
    monkeypatch.setattr("pixelgpt_fairseq.sources.passages.MAX_PASSAGE_CHARACTERS", 1000)
    path = write(tmp_path, "word " * 100_000)
    assert max(len(passage.text) for passage in read_passages([path])) <= 2000


def test_invalid_utf8_names_file_and_line(tmp_path):
    path = write(tmp_path, b"fine\nbad \xff\n")
    with pytest.raises(UserError, match=r"corpus.txt, line 2: byte 0xff"):
        list(read_passages([path]))
    (passage,) = read_passages([path], encoding_errors="replace")
    assert passage[:3] == ("fine bad \ufffd", True, True)


CORPUS = "one\n  two \n\nthree words here\n" + "日本語 long " * 60 + "\n\n\n  four\n" + " " * 200 + "\nfive"


@pytest.mark.parametrize("documents", ["blank-line", "line"])
@pytest.mark.parametrize("limit", [16, 50, 1 << 20])
@pytest.mark.parametrize("suffix", [".txt", *SUFFIXES])
def test_reading_goes_on_after_any_passage(tmp_path, monkeypatch, documents, limit, suffix):
    monkeypatch.setattr("pixelgpt_fairseq.sources.passages.MAX_PASSAGE_CHARACTERS", limit)
    encoding = "utf-16" if limit == 50 else "utf-8"
    paths = [compressed(tmp_path / f"{name}{suffix}", (CORPUS + name).encode(encoding)) for name in "abc"]
    whole = [passage[:3] for passage in read_passages(paths, documents)]
    assert len(whole) > 9
    for number, passage in enumerate(read_passages(paths, documents)):
        after = list(read_passages(paths, documents, start=passage.after))
        assert [later[:3] for later in after] == whole[number + 1 :]


def test_errors_after_going_on_name_the_line_of_the_file(tmp_path):
    path = write(tmp_path, b"one\n\ntwo\n\nbad \xff\n")
    second = list(itertools.islice(read_passages([path]), 2))[-1]
    with pytest.raises(UserError, match=r"corpus.txt, line 5: byte 0xff"):
        list(read_passages([path], start=second.after))
