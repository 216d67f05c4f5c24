"""HatemojiBuild's CSV files, in one or in three, to splits of a data folder."""

import csv

import pytest
from refusals import refusal

from pixelgpt_fairseq.cli.render_glue import main
from pixelgpt_fairseq.data.data_folder import DataFolder
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.sources import hatemoji
from pixelgpt_fairseq.sources.examples import Example

ROWS = {
    "train": [("I love you, all of you", "0"), ("they are the worst, send them away", "1")],
    "validation": [("what a day", "0"), ("none of them should be here", "1"), ("fine, thanks", "0")],
    "test": [("you again", "1")],
}


def write(path, rows):
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["entry_id", "text", "type", "label_gold", "split"])
        writer.writerows((i, text, "none", label, split) for i, (text, label, split) in enumerate(rows))
    return path


@pytest.fixture
def one_file(tmp_path):
    return write(tmp_path / "HatemojiBuild.csv", [(*row, split) for split in ROWS for row in ROWS[split]])


@pytest.fixture
def folder(tmp_path):
    for split, rows in ROWS.items():
        write(tmp_path / f"{split}.csv", [(*row, split) for row in rows])
    return tmp_path


@pytest.mark.parametrize("form", ["one_file", "folder"])
def test_both_forms_give_the_same_splits(form, request):
    path = request.getfixturevalue(form)
    found = {split: list(hatemoji.read_source(source)) for split, source in hatemoji.find_sources(path).items()}
    assert found == {
        {"validation": "valid"}.get(split, split): [Example((text,), int(label)) for text, label in rows]
        for split, rows in ROWS.items()
    }


def test_it_is_rendered_as_a_task_of_its_name(one_file, tmp_path):
    main(["--hatemoji", str(one_file), "--destdir", str(tmp_path / "data")])
    folder = DataFolder(tmp_path / "data")
    assert folder.splits() == ["test", "train", "valid"]
    manifest = folder.manifest("valid")
    assert (manifest["task"]["name"], manifest["examples"], manifest["labeled"]) == ("hatemoji", 3, True)


def test_labels_may_be_words(tmp_path):
    path = write(tmp_path / "a.csv", [("a", "hateful", "train"), ("b", "not hateful", "train"), ("c", "1.0", "train")])
    (source,) = hatemoji.find_sources(path).values()
    assert [example.label for example in hatemoji.read_source(source)] == [1, 0, 1]


def test_what_is_not_hatemojibuild_is_named(tmp_path, one_file):
    with pytest.raises(UserError, match="no such file or folder"):
        hatemoji.find_sources(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no files such as train\.csv"):
        hatemoji.find_sources(tmp_path / "empty")
    other = write(tmp_path / "other.csv", [("a", "1", "fold1")])
    with pytest.raises(UserError, match="names no train, validation or test"):
        hatemoji.find_sources(other)
    other.write_text("text,label_gold\na,1\n")
    with pytest.raises(UserError, match="split"):
        hatemoji.find_sources(other)
    line = refusal(main, "--hatemoji", one_file, "--splits", "dev", "--destdir", tmp_path / "data")
    assert line == f"--splits dev: {one_file} has train, valid, test"
    assert "name --glue-dir" in refusal(main, "--hatemoji", one_file, "--task", "rte", "--destdir", tmp_path / "data")
