"""How well a model reads lines from their pictures, by the number of words."""

from types import SimpleNamespace

import pytest
from naive import small_model
from refusals import refusal, script

import pixelgpt_fairseq
from pixelgpt_fairseq.checkpoints.released import save_released
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.evaluation.transcription import (
    ReadingRow,
    numbered_lines,
    reading_table,
    tabulate_reading,
    transcribe,
)

LINES = ["a word", "one", "two  words", "three of them", "a much longer line than all others here"]


@pytest.fixture(scope="module")
def loaded(checkpoint):
    return pixelgpt_fairseq.load(checkpoint)


def test_mistakes_are_counted_by_the_number_of_words(loaded, monkeypatch):
    read = {"a word": "a ward ", "two words": "two\nwords", "one": "", "three of them": "three of them"}

    def generate_text(strips, max_tokens, modality, beam):
        assert (max_tokens, modality, beam, len(strips) <= 2) == (9, "pixel", 3, True)
        known = {loaded.renderer(" ".join(line.split())).pixels.tobytes(): " ".join(line.split()) for line in LINES}
        return [SimpleNamespace(text=read.get(known[strip.pixels.tobytes()], "all others")) for strip in strips]

    monkeypatch.setattr(loaded, "generate_text", generate_text)
    found = transcribe(loaded, list(enumerate(LINES, 1)), 9, 3, batch_size=2)
    assert [(line.text, line.read, line.edits) for line in found] == [
        ("a word", "a ward", 1),
        ("one", "", 3),
        ("two words", "two words", 0),
        ("three of them", "three of them", 0),
        ("a much longer line than all others here", "all others", 29),
    ]
    rows = tabulate_reading(found, most_words=3)
    assert rows == [
        ReadingRow("1", 1, 0, 3, 3),
        ReadingRow("2", 2, 1, 1, 15),
        ReadingRow("3", 1, 1, 0, 13),
        ReadingRow("4+", 1, 0, 29, 39),
        ReadingRow("all", 5, 2, 33, 70),
    ]
    assert reading_table(rows[1:2]).splitlines()[2] == "| 2 | 2 | 50.0 % | 6.67 % |"


def test_lines_are_read_as_generate_text_reads_each_alone(loaded):
    lines = LINES[:4]
    found = transcribe(loaded, list(enumerate(lines, 1)), 5, batch_size=3)
    alone = [loaded.generate_text(" ".join(line.split()), 5, "pixel").text for line in lines]
    assert [line.read for line in found] == [" ".join(text.split()) for text in alone]


def test_the_script_prints_a_table_and_writes_every_line(checkpoint, tmp_path, capsys):
    (tmp_path / "lines").write_text("\n".join([LINES[1], "", *LINES[2:]]) + "\n")
    given = ["--checkpoint", checkpoint, "--input", tmp_path / "lines", "--lines", 3, "--max-tokens", 3]
    given += ["--output", tmp_path / "out.tsv"]
    script("evaluate_reading")([str(each) for each in given])
    printed = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[:2] for line in printed[2:]] == [["| 1", "1"], ["| 2", "1"], ["| 3", "1"], ["| all", "3"]]
    rows = [line.split("\t") for line in (tmp_path / "out.tsv").read_text().splitlines()]
    assert [row[0] for row in rows] == ["text", "one", "two words", "three of them"]
    assert "already there" in refusal(script("evaluate_reading"), *given)


def test_bad_input_is_one_line(loaded, checkpoint, tmp_path):
    save_released(small_model(uses_patches=False), tmp_path / "text")
    (tmp_path / "blank").write_text("\n \n")
    (tmp_path / "long").write_text("short\n\n" + "word " * 60 + "\n")
    refusals = [
        ([checkpoint, "--input", tmp_path / "nowhere"], "nowhere"),
        ([checkpoint, "--input", tmp_path / "blank"], "blank: no lines of text"),
        ([checkpoint, "--input", tmp_path / "long"], "long, line 3: a strip of"),
        ([checkpoint, "--input", tmp_path / "long", "--batch-size", 0], "--batch-size 0: at least 1"),
        ([tmp_path / "text", "--input", tmp_path / "long"], "reads no patches"),
    ]
    for arguments, message in refusals:
        assert message in refusal(script("evaluate_reading"), "--checkpoint", *arguments), arguments
    with pytest.raises(UserError, match="no lines"):
        numbered_lines(tmp_path / "long", 0)
