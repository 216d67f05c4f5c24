"""What commands answer to bad input: one line that says what to do, and nothing lost or half written."""

import json
import os
import re
import shutil
import signal
import time
from functools import partial
from pathlib import Path

import pytest
from fairseq_runs import train
from hydra_runs import PRETRAINING, hydra_train
from processes import Command, in_a_group
from refusals import refusal, script
from toy_corpus import ROOT, TOY_TRAINING, documents

from pixelgpt_fairseq.cli import render_corpus
from pixelgpt_fairseq.data.data_folder import DataFolder
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.preprocessing import shards
from pixelgpt_fairseq.preprocessing.binarize import binarize
from pixelgpt_fairseq.rendering import RendererConfig, default_fonts

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # Hydra's, of fairseq's ways


@pytest.fixture
def render(tmp_path):
    """render_corpus.py with arguments, into a folder of its own; returns the line with which it refuses."""
    main = script("render_corpus")

    def refused(*arguments, destdir=tmp_path / "data"):
        was_there = destdir.exists()
        line = refusal(main, "--destdir", destdir, *arguments)
        assert destdir.exists() == was_there
        return line

    return refused


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text("\n\n".join(documents(20)))
    return path


@pytest.fixture
def damaged(toy_data, tmp_path):
    """A copy of the toy data, to be damaged."""
    return DataFolder(shutil.copytree(toy_data, tmp_path / "damaged"))


# Rendering: input files


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("tokenizer", [[], ["--train-tokenizer", 300]])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        (b"", "empty"),
        (b" \n\t\n\n", "no text: only white space"),
        (
            b"fine\n\nbad \xff\n",
            "line 3: byte 0xff is not UTF-8: mend the file, convert it (such as with `iconv -f ENCODING -t UTF-8`), or "
            "pass --encoding-errors replace",
        ),
    ],
)
def test_input_without_text_is_named(render, corpus, tmp_path, content, message, tokenizer, workers):
    bad = tmp_path / "bad.txt"
    if content is not None:
        bad.write_bytes(content)
    line = render("--input", corpus, bad, *tokenizer, "--workers", workers)
    assert line.replace("bad.txt, line", "bad.txt: line") == f"{bad}: {message}"


def test_a_folder_without_text_is_no_input(render, tmp_path):
    assert render("--input", tmp_path).startswith(f"{tmp_path}: no files in it whose names end in .txt, ")


def test_bytes_that_are_not_utf8_can_be_replaced(tmp_path):
    bad = tmp_path / "bad.txt"
    bad.write_bytes(b"some \xff text\n" * 3)
    script("render_corpus")(
        ["--input", str(bad), "--destdir", str(tmp_path / "data"), "--encoding-errors", "replace", "--max-missing", "1"]
    )
    assert DataFolder(tmp_path / "data").manifest("train")["documents"] == 1


# Rendering: fonts, tokenizers, the destination


def test_fonts_that_cannot_draw_are_named(render, corpus, tmp_path):
    assert "none.ttf: no such font file" in render("--input", corpus, "--font", tmp_path / "none.ttf")
    assert f"{corpus}: cannot" in render("--input", corpus, "--font", corpus)
    assert f"{tmp_path}: cannot read this font: Is a directory" in render("--input", corpus, "--font", tmp_path)


def test_characters_that_no_font_has_are_counted_by_script(render, tmp_path):
    text = tmp_path / "chinese.txt"
    text.write_text("中文" * 60 + " and some English")
    line = render("--input", text, "--font", default_fonts()[0].path)
    assert line == (
        "no glyph in KurintoSans-Rg.ttf for CJK: 120 characters (中 文): add a font with --font, or allow more with "
        "--max-missing"
    )


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--tokenizer", "corpus.txt", "corpus.txt: neither a SentencePiece model nor"),
        ("--tokenizer", "none.model", "none.model: no such file"),
        ("--train-tokenizer", 90_000, "tokenizer of 90,000 tokens cannot be trained on this text: it has enough for"),
        ("--train-tokenizer", 0, "--train-tokenizer 0: at least 1"),
        ("--workers", 0, "--workers 0: at least 1"),
        ("--max-missing", 2, "--max-missing 2.0: a share, from 0 to 1"),
        ("--font-size", 0, "font_size: must be a number not below 1"),
        ("--max-patches", 1, "max_patches: must be a number not below 2"),
    ],
)
def test_bad_options_of_rendering(render, corpus, monkeypatch, option, value, message):
    monkeypatch.chdir(corpus.parent)
    assert message in render("--input", corpus, option, value)


def test_a_split_that_is_there_is_refused_before_anything_else(render, corpus, toy_data):
    line = render("--input", corpus, "--split", "valid", destdir=toy_data)
    assert line.endswith("valid.manifest.json: already there: choose another --destdir or --split, or pass --overwrite")


def test_other_settings_than_those_of_the_folders_splits(render, corpus, toy_data):
    line = render("--input", corpus, "--split", "test", "--font-size", 10, destdir=toy_data)
    assert "split train has other settings: font_size: 10 against 8: leave out what differs" in line
    line = render("--input", corpus, "--split", "test", "--train-tokenizer", 350, destdir=toy_data)
    assert "split train is there with its own tokenizer: leave out --train-tokenizer" in line
    assert not DataFolder(toy_data).split_files("test")


@pytest.mark.parametrize("destination", ["corpus.txt", "corpus.txt/data", "/proc/data"])
def test_a_destination_that_cannot_be_written(render, corpus, destination):
    line = render("--input", corpus, destdir=corpus.parent / destination)
    assert line.startswith(f"{corpus.parent / destination}")
    assert corpus.read_text() == "\n\n".join(documents(20))


# Rendering: what ends it in the middle


@pytest.mark.parametrize(
    ("number", "workers", "status"), [(signal.SIGINT, 2, 130), (signal.SIGKILL, 2, -9), (signal.SIGINT, 1, 130)]
)
def test_an_interrupted_rendering_leaves_nothing_that_looks_finished(tmp_path, number, workers, status):
    text, data = tmp_path / "corpus.txt", tmp_path / "data"
    text.write_text(("\n\n".join(documents()) + "\n\n") * 300)
    command = Command(partial(in_a_group, render_corpus.main), "--workers", workers, "--input", text, "--destdir", data)
    process = command.process
    while not list(data.glob(".train.partial/shards/.000*/*.bin")):
        assert process.is_alive()
        time.sleep(0.01)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.kill()
    ended, output = command.end(30)
    assert ended == status
    assert "Traceback" not in output
    if number == signal.SIGINT:
        *before, last = output.splitlines()
        assert last.startswith("interrupted: ")
        assert not [line for line in before if "finished" in line]  # one line, and it tells what is there
        assert ("keeps what is finished" in last) == data.exists()
    with pytest.raises(UserError):
        DataFolder(data).manifest("train")
    assert not data.exists() or [path.name for path in data.iterdir()] == [".train.partial"]
    deadline = time.monotonic() + 20
    while _living(process.pid):  # the workers
        assert time.monotonic() < deadline
        time.sleep(0.05)
    short = tmp_path / "short.txt"
    short.write_text("enough for this")
    binarize([short], data, "train", RendererConfig(), overwrite=True, progress=False)
    assert not (data / ".train.partial").exists()
    DataFolder(data).manifest("train")


def _living(group):
    """Processes of a process group that still run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, in_group = path.read_text().rpartition(")")[2].split()[:3]
        except OSError:  # gone meanwhile
            continue
        if int(in_group) == group and state != "Z":
            found.append(path)
    return found


def test_a_worker_that_dies_is_told_in_one_line(render, corpus, tmp_path, monkeypatch):
    def die(self, stretch):
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(shards.ShardMaker, "__call__", die)
    assert (
        render("--input", corpus, "--workers", 2) == "a worker process died: if memory ran out, choose fewer --workers"
    )


# Training: the data folder


def test_data_folders_that_are_none(fairseq, tmp_path, damaged):
    assert "nowhere: no such folder: render a corpus into it" in fairseq(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "train.manifest.json: absent" in fairseq(tmp_path / "empty")
    assert "nowhere: no such folder" in fairseq(f"{damaged.path}:{tmp_path / 'nowhere'}")
    damaged.manifest_path("valid").unlink()
    assert "valid.manifest.json: absent: split valid was not rendered, or not to its end" in fairseq(damaged.path)


def test_text_asked_of_pixels_alone(fairseq, toy_data, tmp_path):
    for split in ("train", "valid"):
        binarize([toy_data.parent / f"{split}.txt"], tmp_path / "data", split, RendererConfig(), progress=False)
    line = fairseq(tmp_path / "data", "--modalities", "text")
    assert line.endswith(
        "no text (modalities asked for: text): it was rendered without a tokenizer; render it with "
        "--tokenizer or --train-tokenizer"
    )


@pytest.mark.parametrize("name", ["pixel.bin", "pixel.idx", "text.bin", "text.idx", "columns.bin", "columns.idx"])
@pytest.mark.parametrize("manifest_agrees", [False, True])
def test_truncated_files(fairseq, damaged, name, manifest_agrees):
    path = damaged.shards("train")[0] / name
    path.write_bytes(path.read_bytes()[:-8])
    if manifest_agrees:
        manifest = json.loads(damaged.manifest_path("train").read_text())
        manifest["files"][f"train.shards/00000/{name}"] -= 8
        damaged.manifest_path("train").write_text(json.dumps(manifest))
    line = fairseq(damaged.path, "--modalities", "text,pixel,pair")
    assert f"{path}: truncated or damaged" in line
    assert re.search("render this split again(, or give --repair to make its damaged shards alone)?$", line)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("train.manifest.json", "train.manifest.json: not JSON"),
        ("dict.txt", "tokenizer.model has 400 tokens, dict.txt 1: the tokenizer is not the one"),
        ("tokenizer.model", "tokenizer.model: not the tokenizer that split train was binarized with"),
    ],
)
def test_damaged_small_files(fairseq, damaged, name, message):
    (damaged.path / name).write_bytes(b"damaged\n")
    assert message in fairseq(damaged.path)


def test_splits_made_in_different_ways(fairseq, damaged):
    manifest = json.loads(damaged.manifest_path("valid").read_text())
    manifest["renderer"]["font_size"] = 10
    damaged.manifest_path("valid").write_text(json.dumps(manifest))
    line = fairseq(damaged.path)
    assert "split valid was binarized with other settings than" in line
    assert "font_size: 10 against 8" in line


# Training: options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--modalities text,sound", "--modalities text,sound: 'sound' is none of text, pixel, pair"),
        ("--modalities text,text", "--modalities text,text: a modality is named twice"),
        ("--modality-weights 1,2", "--modality-weights 1,2: 2 weights for 3 modalities (text,pixel,pair)"),
        ("--modality-weights 1,x,2", "--modality-weights 1,x,2: not numbers joined by commas"),
        ("--modality-weights 1,0,2", "weights must be positive; leave a modality out instead"),
        ("--max-position-embeddings 63", "--tokens-per-sample 64 need 64 positions, the model has 63"),
        (
            "--pair-patches 50 --pair-tokens 50 --max-position-embeddings 64",
            "--pair-patches 50 and --pair-tokens 50 need 100 positions, the model has 64",
        ),
        ("--pair-patches 1", "a pair of 1 patches and 63 tokens holds nothing"),
        ("--modalities pixel --tokens-per-sample 1", "a block of 1 patches holds nothing to predict"),
        (
            "--modalities pixel --tokens-per-sample 9000 --max-position-embeddings 9000",
            "train.shards/00000/pixel.bin: too little for one block of 9,000 patches: it holds",
        ),
        ("--max-tokens 63", "--max-tokens 63 is less than one example of 64 positions"),
        ("--num-attention-heads 5", "--hidden-size 48 is not divisible by --num-attention-heads 5"),
        (
            "--num-attention-heads 4 --num-key-value-heads 3",
            "--num-attention-heads 4 is not divisible by --num-key-value-heads 3",
        ),
    ],
)
def test_options_that_cannot_be(fairseq, toy_data, options, message):
    assert message in fairseq(toy_data, *options.split())


def test_no_data_folder(tmp_path, capsys):
    with pytest.raises(SystemExit) as ending:
        train(*TOY_TRAINING)
    assert ending.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith("error: the following arguments are required: data")
    options = [f"hydra.run.dir={tmp_path}", f"common.user_dir={ROOT}/pixelgpt_fairseq"]
    assert refusal(lambda *_: hydra_train(PRETRAINING, "dualgpt_tiny", *options)).startswith("no data folder: ")
