"""What is told of a corpus before it is read."""

import json

import pytest
from compressed_files import compressed

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.sources.corpus_checks import check_inputs


def write(folder, content, name="corpus.txt"):
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


@pytest.mark.parametrize(("content", "message"), [(None, "no such file"), ("", "empty")])
def test_missing_and_empty_inputs_are_named(tmp_path, content, message):
    path = tmp_path / "corpus.txt"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=f"corpus.txt: {message}"):
        check_inputs([path])


ROW = {"url": "a", "text": "A text\n", "n": 1}


@pytest.mark.parametrize(
    ("content", "keys"),
    [
        ("".join(json.dumps(ROW) + "\n" for _ in range(30)), " (with url, text, n)"),
        (json.dumps(ROW), " (with url, text, n)"),
        ("\n" + json.dumps(ROW) + "\n\n" + json.dumps(ROW), " (with url, text, n)"),
        (json.dumps([ROW, ROW]), ""),
        (json.dumps([ROW, ROW], indent=1), ""),
        (json.dumps({"text": "word " * 300_000}), ""),
    ],
    ids=["lines", "one", "blank lines", "array", "indented array", "a long line"],
)
@pytest.mark.parametrize("suffix", [".txt", ".xz"])
def test_json_is_refused_with_the_way_out(tmp_path, content, keys, suffix):
    path = compressed(tmp_path / f"corpus{suffix}", content.encode())
    with pytest.raises(UserError) as error:
        check_inputs([path])
    assert f"corpus{suffix}: this is JSON{keys}, and would be drawn with all its braces: " in str(error.value)
    assert "`jq -r '.text + \"\\n\"'`" in str(error.value)


@pytest.mark.parametrize(
    "content",
    ["{ a brace\nand more", '{"a": 1\nmore', "[1] a note\n[2] another", "[]", "{}\n{}", "5\n6", '"a"\n"b"'],
)
def test_texts_with_braces_are_texts(tmp_path, content, caplog):
    check_inputs([write(tmp_path, content)])
    assert not [record for record in caplog.records if "JSON" not in record.message]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ('{"name": "a package",\n "version": 1}', "JSON"),
        ('{"one": "object"}\nand then a text', "JSON"),
        ("<!DOCTYPE html>\n<p>Text", "markup"),
        ('<?xml version="1.0"?>\n<a/>', "markup"),
    ],
)
def test_marks_that_are_drawn_are_told(tmp_path, content, what, caplog):
    check_inputs([write(tmp_path, content)])
    assert [f"corpus.txt: this looks like {what}, which is drawn as it stands" in line for line in caplog.messages] == [
        True
    ]


def test_one_sentence_a_line_is_told(tmp_path, caplog):
    path = write(tmp_path, "A sentence.\n" * 150)
    check_inputs([path], "line")
    check_inputs([write(tmp_path, "A sentence.\n" * 50, "short.txt")])
    check_inputs([write(tmp_path, "A sentence.\nAnother.\n\n" * 150, "stories.txt")])
    check_inputs([write(tmp_path, "A sentence.\n" * 150, f"{i}.txt") for i in range(20)])
    assert not caplog.messages
    check_inputs([path])
    (message,) = caplog.messages
    assert "corpus.txt: the first 150 lines are 1 document" in message
    assert "pass --documents line" in message


def test_of_a_large_file_the_beginning_tells(tmp_path, caplog):
    check_inputs([write(tmp_path, "\ufeff\n\n" + "A long sentence of many words.\n" * 50_000)])
    (message,) = caplog.messages
    assert "lines are 1 document" in message
