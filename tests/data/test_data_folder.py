import json
import shutil

import pytest

from pixelgpt_fairseq.data.data_folder import DataFolder, settings_differences
from pixelgpt_fairseq.data.tokens import train_tokenizer
from pixelgpt_fairseq.errors import UserError


@pytest.fixture
def folder(toy_data, tmp_path):
    """A copy to damage."""
    return DataFolder(shutil.copytree(toy_data, tmp_path / "data"))


def edit_manifest(folder, split="train", **changes):
    path = folder.manifest_path(split)
    manifest = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: value for name, value in manifest.items() if value is not ...}))


def test_splits_and_their_files(folder):
    assert folder.splits() == ["train", "valid"]
    assert folder.first_split() == "train"
    names = {path.name for path in folder.split_files("valid")}
    assert names == {
        *("pixel.bin", "pixel.idx", "text.bin", "text.idx"),
        *("columns.bin", "columns.idx", "shard.json", "valid.manifest.json"),
    }
    assert folder.has("train", "text")
    assert not folder.has("test", "text")


def test_a_text_file_of_the_user_is_no_file_of_the_split(folder):
    (folder.path / "test.txt").write_text("his corpus")
    assert folder.split_files("test") == []


def test_manifest_tells_what_is_there(folder):
    manifest = folder.manifest("train")
    strips, texts = folder.open("train", "pixel", manifest["patch_values"]), folder.open("train", "text")
    assert manifest["patches"] == strips.sizes.sum()
    assert manifest["tokens"] == texts.sizes.sum()
    assert manifest["documents"] == (strips.sizes == 0).sum()
    assert manifest["pieces"] == (strips.sizes > 0).sum()
    assert manifest["tokenizer_sha256"] == folder.tokenizer().sha256
    assert manifest["renderer"]["fonts"][0]["sha256"]


def test_absent_folder_and_split_say_what_to_do(folder, tmp_path):
    with pytest.raises(UserError, match=r"nowhere: no such folder: render a corpus into it"):
        DataFolder(tmp_path / "nowhere").manifest("train")
    with pytest.raises(
        UserError, match=r"test.manifest.json: absent: .* not to its end \(whole splits: train, valid\)"
    ):
        folder.manifest("test")
    folder.manifest_path("train").unlink()
    assert folder.first_split() == "valid"
    with pytest.raises(
        UserError, match=r"train.manifest.json: absent: split train was not rendered, or not to its end"
    ):
        folder.manifest("train")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not JSON"),
        (b"{bad", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[]", "not a manifest"),
        (b"{}", "not a manifest"),
        (b'{"version": 1}', "version 1, this program reads 2: render the data again"),
        (b'{"version": 2, "files": 3}', "damaged: files"),
    ],
)
def test_damaged_manifest_is_named(folder, content, message):
    folder.manifest_path("train").write_bytes(content)
    with pytest.raises(UserError, match=rf"train\.manifest\.json: {message}"):
        folder.manifest("train")


@pytest.mark.parametrize("name", ["files", "shards", "checksums", "patch_values", "renderer", "tokenizer_sha256"])
def test_manifest_that_lacks_something_is_named(folder, name):
    edit_manifest(folder, **{name: ...})
    with pytest.raises(UserError, match=rf"train\.manifest\.json: damaged: {name} is absent"):
        folder.manifest("train")


def test_manifest_of_an_unknown_renderer_is_named(folder):
    edit_manifest(folder, renderer={"fonts": [{"name": "a.ttf"}], "backend": "chisel"})
    with pytest.raises(UserError, match=r"train\.manifest\.json: backend: 'chisel' is not available"):
        folder.settings("train")


@pytest.mark.parametrize("name", ["pixel.bin", "text.idx", "columns.bin"])
def test_file_that_is_shorter_than_the_manifest_says_is_named(folder, name):
    path = folder.shards("train")[0] / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=rf"{name}: truncated or damaged .*: render this split again"):
        folder.manifest("train")
    path.unlink()
    with pytest.raises(UserError, match=rf"{name}: truncated or damaged \(0 bytes"):
        folder.manifest("train")


def test_another_tokenizer_in_the_folder_is_refused(folder):
    other = train_tokenizer(iter(["some other text " * 50]), 270)
    (folder.path / "tokenizer.model").write_bytes(other.serialized)
    with pytest.raises(UserError, match=r"tokenizer.model: not the tokenizer that split train was binarized with"):
        folder.manifest("train")
    with pytest.raises(UserError, match=r"tokenizer.model has 270 tokens, dict.txt 400"):
        folder.dictionary()


def test_dictionary_is_the_tokenizers(folder):
    dictionary, tokenizer = folder.dictionary(), folder.tokenizer()
    assert dictionary.symbols == [tokenizer.model.id_to_piece(i) for i in range(len(tokenizer))]
    path = folder.path / "dict.txt"
    path.write_text(path.read_text().replace("▁the 1", "▁teh 1"))
    with pytest.raises(UserError, match=r"dict.txt, line \d+: '▁teh 1', but tokenizer.model has '▁the 1'"):
        folder.dictionary()


@pytest.mark.parametrize("name", ["dict.txt", "tokenizer.model"])
def test_dictionary_and_tokenizer_come_together(folder, name):
    (folder.path / name).unlink()
    with pytest.raises(UserError, match=rf"{name}: no such file"):
        folder.dictionary()


def test_pixels_alone_have_no_dictionary(folder):
    for name in ("dict.txt", "tokenizer.model"):
        (folder.path / name).unlink()
    assert folder.dictionary() is None
    assert folder.tokenizer() is None


def test_settings_do_not_differ_by_where_fonts_lie(folder):
    ours, theirs = folder.settings("train"), folder.settings("train")
    theirs["renderer"]["fonts"][0]["path"] = "/another/machine/font.ttf"
    assert settings_differences(ours, theirs) == []
    theirs["renderer"]["font_size"] = 10
    theirs["renderer"]["fonts"][0]["sha256"] = "f" * 64
    theirs["tokenizer_sha256"] = None
    differences = settings_differences(ours, theirs)
    assert [line.split(":")[0] for line in differences] == ["font 1", "font_size", "tokenizer (SHA-256)"]


def test_renderer_settings_are_read_where_the_fonts_are_not(folder):
    path = folder.path / "text_renderer_config.json"
    settings = json.loads(path.read_text())
    settings["fonts"][0] |= {"name": "gone.ttf", "path": "/gone.ttf"}
    path.write_text(json.dumps(settings))
    with pytest.raises(UserError, match=r"text_renderer_config.json: font gone.ttf .* is missing"):
        folder.renderer_config()
    assert folder.renderer_config(locate_fonts=False).fonts[0].name == "gone.ttf"
    path.unlink()
    with pytest.raises(UserError, match=r"no text_renderer_config.json: is this a folder of rendered data"):
        folder.renderer_config()
