"""What is told of a corpus before it is read."""

import json

import pytest
from compressed_files import compressed

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.sources.corpus_checks import check_inputs
from pixelgpt_fairseq.sources.row_documents import Fields


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
    "content",
    [
        "".join(json.dumps(ROW) + "\n" for _ in range(30)),
        json.dumps(ROW),
        "\n" + json.dumps(ROW) + "\n\n" + json.dumps(ROW),
        json.dumps({"text": "word " * 300_000}),
    ],
    ids=["lines", "one", "blank lines", "a long line"],
)
@pytest.mark.parametrize("suffix", [".txt", ".xz"])
def test_json_lines_are_known_by_their_contents_and_their_text_is_there(tmp_path, content, suffix, caplog):
    path = compressed(tmp_path / f"corpus{suffix}", content.encode())
    check_inputs([path])
    assert not caplog.messages
    if len(content) < 1000:
        with pytest.raises(UserError, match=rf"corpus{suffix}: no field 'body': it has 'url', 'text', 'n': name one "):
            check_inputs([path], fields=Fields("body"))


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("name", ["corpus.txt", "corpus.json"])
def test_a_json_array_is_refused_with_the_way_out(tmp_path, indent, name):
    path = write(tmp_path, json.dumps([ROW, ROW], indent=indent), name)
    with pytest.raises(UserError, match=rf"{name}: a JSON array; .* an object on each line: .* `jq -c '.\[\]'`"):
        check_inputs([path])


def test_what_a_name_says_wrongly_is_told(tmp_path):
    path = write(tmp_path, json.dumps(ROW, indent=1), "a.json")
    with pytest.raises(UserError, match=r"a.json: not JSON: .*; what is read are JSON lines, .* `jq -c \.`"):
        check_inputs([path])
    path = write(tmp_path, "A text", "a.jsonl")
    with pytest.raises(UserError, match=r"a.jsonl: not JSON lines, as its name says: give it a name that ends in .txt"):
        check_inputs([path])
    path = write(tmp_path, "A text", "a.parquet")
    with pytest.raises(UserError, match=r"a.parquet: its name says Parquet, but it does not begin as such a file"):
        check_inputs([path])


def test_a_text_has_no_fields(tmp_path):
    with pytest.raises(UserError, match=r"corpus.txt: a text, which has no fields: leave out --text-field"):
        check_inputs([write(tmp_path, "A text")], fields=Fields("body"))


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
