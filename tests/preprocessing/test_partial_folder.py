"""The folder of a split's unfinished files: no link is followed, nothing of others is removed, nothing stays behind."""

import json
import multiprocessing
import os
import signal

import numpy as np
import pytest

from pixelgpt_fairseq.data.data_folder import DataFolder
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.preprocessing import partial_folder as partial_folders
from pixelgpt_fairseq.preprocessing.binarize import binarize
from pixelgpt_fairseq.preprocessing.binarize_examples import binarize_examples
from pixelgpt_fairseq.preprocessing.partial_folder import check_destination, partial_folder, partial_path
from pixelgpt_fairseq.rendering import RendererConfig
from pixelgpt_fairseq.sources.examples import Example, SentenceTask

CONFIG = RendererConfig(max_patches=40)
TASK = SentenceTask("toy", ("no", "yes"), ("accuracy",), "accuracy")


@pytest.fixture
def data(tmp_path):
    return DataFolder(tmp_path / "data")


@pytest.fixture(params=["corpus", "examples"])
def render(request, tmp_path, data):
    """Renders the split train of a corpus or of examples."""
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("one\n\ntwo")

    def corpus_split(**options):
        binarize([corpus], data.path, "train", CONFIG, progress=False, **options)

    def example_split(**options):
        binarize_examples([Example(("one",), 1)], data.path, "train", TASK, CONFIG, progress=False, **options)

    return corpus_split if request.param == "corpus" else example_split


@pytest.fixture
def precious(tmp_path):
    """A file of the user's, in a folder of its own."""
    path = tmp_path / "precious" / "tokenizer.model"  # a name that this program uses, too
    path.parent.mkdir()
    path.write_text("precious")
    return path


def test_a_link_in_the_place_of_the_hidden_folder_is_not_followed(render, data, precious):
    data.path.mkdir()
    link = partial_path(data, "train")
    link.symlink_to(precious.parent)
    with pytest.raises(UserError, match=r"\.train\.partial: a symbolic link, where this program makes a folder"):
        render()
    assert link.is_symlink()
    assert precious.read_text() == "precious"
    assert list(precious.parent.iterdir()) == [precious]


def test_a_file_in_the_place_of_the_hidden_folder(render, data):
    data.path.mkdir()
    partial_path(data, "train").write_text("precious")
    with pytest.raises(UserError, match=r"\.train\.partial: not a folder, where .* move it away"):
        render()
    assert partial_path(data, "train").read_text() == "precious"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: (path / "notes.txt").write_text("notes"), "notes.txt: a file that this program did not write"),
        (lambda path: (path / "tokenizer.model").mkdir(), "tokenizer.model: a folder that this program did not write"),
        (lambda path: (path / "other").mkdir(), "other: a folder that this program did not write"),
        (lambda path: (path / "shards" / "notes.txt").write_text("x"), "notes.txt: a file that this program did not"),
    ],
)
def test_what_others_put_into_the_hidden_folder_is_not_removed(render, data, make, message):
    path = partial_path(data, "train")
    path.mkdir(parents=True)
    (path / "shards" / ".00001.7-ab.partial").mkdir(parents=True)  # of a run that was killed
    (path / "shards" / ".00001.7-ab.partial" / "pixel.sizes").touch()
    make(path)
    before = sorted(path.iterdir())
    with pytest.raises(UserError, match=rf"{message}.*: move it out of \.train\.partial"):
        render()
    assert sorted(path.iterdir()) == before


@pytest.mark.parametrize(
    "name", ["tokenizer.model", "shards", "00000.stretch", "shards/00000/pixel.bin", "shards/00001"]
)
def test_links_in_the_hidden_folder_are_not_followed(render, data, precious, name):
    path = partial_path(data, "train")
    path.mkdir(parents=True)
    (path / name).parent.mkdir(parents=True, exist_ok=True)
    (path / name).symlink_to(precious)
    with pytest.raises(UserError, match=rf"{name}: a symbolic link that this program did not write"):
        render()
    assert precious.read_text() == "precious"


def test_links_that_appear_while_it_runs_are_not_followed(render, data, precious, monkeypatch):
    def linked(path):
        (path / "shards").symlink_to(precious.parent)

    monkeypatch.setattr(partial_folders, "_check_own", linked)
    monkeypatch.setattr(partial_folders, "clear", lambda path: None)
    with pytest.raises(UserError, match="shards: a symbolic link"):
        render()
    assert precious.read_text() == "precious"


def test_what_appears_in_the_hidden_folder_while_it_is_used_is_not_removed(data):
    with partial_folder(data, "train") as path:
        (path / "notes.txt").write_text("notes")
        (path / "tokenizer.model").write_text("ours")
    assert [file.name for file in path.iterdir()] == ["notes.txt"]


def test_a_data_folder_may_be_a_link(render, data, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    data.path.symlink_to(scratch)
    render()
    render(overwrite=True)
    assert data.path.is_symlink()
    assert DataFolder(scratch).manifest("train")["files"]
    assert not partial_path(data, "train").exists()


def kill_in(monkeypatch, function, render):
    """Render in a process that is killed when it calls *function*, of a module of preprocessing."""

    def killed():
        name = f"pixelgpt_fairseq.preprocessing.{function}"
        monkeypatch.setattr(name, lambda *args: os.kill(os.getpid(), signal.SIGKILL))
        render()

    process = multiprocessing.get_context("fork").Process(target=killed)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


@pytest.mark.parametrize("again", ["train", "valid"])
def test_a_kill_after_the_last_renaming_leaves_nothing_for_ever(data, tmp_path, monkeypatch, again):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("one\n\ntwo")

    def render(split="train"):
        binarize([corpus], data.path, split, CONFIG, progress=False)

    kill_in(monkeypatch, "partial_folder.clear", render)
    data.manifest("train")
    assert partial_path(data, "train").exists()
    if again == "train":
        with pytest.raises(UserError, match=r"train\.manifest\.json: already there"):
            render()
    else:
        render("valid")
    assert not partial_path(data, "train").exists()


def test_what_an_unfinished_replacement_of_a_split_has_done_is_kept(data, tmp_path, monkeypatch):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("one\n\ntwo")
    binarize([corpus], data.path, "train", CONFIG, progress=False)
    corpus.write_text("one\n\ntwo\n\nthree")

    def replace():
        return binarize([corpus], data.path, "train", CONFIG, overwrite=True, progress=False)

    kill_in(monkeypatch, "binarize.stage", replace)
    kept = sorted(partial_path(data, "train").rglob("*"))
    with pytest.raises(UserError, match="already there"):
        check_destination(data, "train", overwrite=False)
    assert sorted(partial_path(data, "train").rglob("*")) == kept
    assert replace().resumed.documents == 3


def test_everything_is_on_the_disk_before_the_manifest_has_its_name(render, data, monkeypatch):
    synced, fsync, replace = [], os.fsync, os.replace

    def sync(descriptor):
        fsync(descriptor)
        synced.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))

    def replaced(source, target):
        name = os.path.basename(target)
        if os.path.dirname(target) == str(data.path):
            assert ("shards" if name == "train.shards" else name) in synced  # its contents
            assert {"pixel.bin", "pixel.idx"} <= set(synced)
        if name == "train.manifest.json" and os.path.dirname(target) == str(data.path):
            assert synced[-1] == "data"  # the names of all other files
        replace(source, target)
        synced.append(f"renamed {name}")

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", replaced)
    render()
    assert synced[-1] == "data"


@pytest.mark.parametrize(
    "name", ["../precious/tokenizer.model", "/etc/hostname", "a/b", "..", "", "train.shards/../00000/pixel.bin"]
)
def test_a_manifest_names_files_beside_it_only(render, data, precious, name):
    render()
    path = data.manifest_path("train")
    manifest = json.loads(path.read_text())
    manifest["files"][name] = 0
    path.write_text(json.dumps(manifest))
    with pytest.raises(UserError) as refusal:
        data.manifest("train")
    line = f"{path}: damaged: {name!r} is no name of a file of a shard: render this split again"
    assert str(refusal.value) == line


def test_a_staged_manifest_moves_no_files_of_others(data, precious):
    """Whoever can write into a data folder could leave one there."""
    partial = partial_path(data, "train")
    partial.mkdir(parents=True)
    (partial / "train.manifest.json").write_text(json.dumps({"files": {"../../precious/tokenizer.model": 8}}))
    with pytest.raises(UserError, match="is no name of a file of a shard"):
        partial_folders.move_into_place(data, partial, "train")
    assert precious.read_text() == "precious"


@pytest.mark.parametrize("size", ["8", None, -1, True, 1.5])
def test_a_manifest_of_bad_sizes_is_refused(render, data, size):
    render()
    path = data.manifest_path("train")
    manifest = json.loads(path.read_text())
    manifest["files"]["train.shards/00000/pixel.bin"] = size
    path.write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=r"is no size of train\.shards/00000/pixel\.bin: render this split again"):
        data.manifest("train")


def test_settings_of_the_users_are_not_replaced(render, data):
    """Such as those of a released model, in whose folder the data is to lie."""
    data.path.mkdir()
    own = data.path / "text_renderer_config.json"
    own.write_text('{"font_file": "GoNotoCurrent.ttf"}')
    with pytest.raises(UserError, match=r"text_renderer_config\.json: already there, of other contents: choose"):
        render()
    assert own.read_text() == '{"font_file": "GoNotoCurrent.ttf"}'
    render(overwrite=True)
    assert data.renderer_config() == CONFIG


def test_labels_are_written(data):
    binarize_examples([Example(("one",), 1)], data.path, "train", TASK, CONFIG, progress=False)
    assert np.load(data.labels_path("train")).tolist() == [1]
