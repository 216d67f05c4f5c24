"""A corpus makes the same split in every format, and a rendering of it that was interrupted goes on."""

import io
import itertools
import json
import sys
import types

import pytest
from compressed_files import compressed
from skips import needs_pyarrow, pyarrow
from toy_corpus import documents

from pixelgpt_fairseq.cli.render_corpus import main
from pixelgpt_fairseq.data.data_folder import DataFolder
from pixelgpt_fairseq.preprocessing import binarize as binarizing
from pixelgpt_fairseq.preprocessing import shards

BAD_ROWS = 2


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(shards, "SHARD_CHARACTERS", 700)


@pytest.fixture(scope="module")
def texts():
    return documents(40)


@pytest.fixture
def standard_input(monkeypatch):
    """Gives a file on standard input, again each time that it is called."""

    def give(path):
        monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(path.read_bytes())))

    return give


def write(path, texts):
    """Write texts as the suffix says; with bad rows where there are rows."""
    if ".parquet" in path.name:
        from pyarrow import parquet

        file = io.BytesIO()
        table = pyarrow.table({"n": range(len(texts) + BAD_ROWS), "body": [None, *texts, None]})
        parquet.write_table(table, file, row_group_size=4)
        return compressed(path, file.getvalue())
    if ".jsonl" in path.name:
        rows = [{"n": 1}, *({"body": text} for text in texts), {"n": 2}]
        return compressed(path, "".join(json.dumps(row) + "\n" for row in rows).encode())
    return compressed(path, "\n\n".join(texts).encode())


def render(paths, folder, rows, *options):
    more = ["--text-field", "body", "--skip-bad-rows"] if rows else []
    main(["--input", *map(str, paths), "--destdir", str(folder), "--store", "both", *more, *options])
    return DataFolder(folder)


def contents(folder):
    """The streams; the manifest tells how they were made."""
    files = (path for path in folder.path.rglob("*") if path.suffix in (".bin", ".idx"))
    return {str(path.relative_to(folder.path)): path.read_bytes() for path in files}


@pytest.mark.parametrize(
    "suffix",
    [
        *(".txt", ".txt.xz", ".jsonl", ".jsonl.zst"),
        *(pytest.param(suffix, marks=needs_pyarrow) for suffix in (".parquet", ".parquet.gz")),
    ],
)
@pytest.mark.parametrize("piped", [False, True])
def test_every_format_makes_the_same_split_interrupted_or_not(
    tmp_path, monkeypatch, capsys, texts, standard_input, suffix, piped
):
    plain = [write(tmp_path / f"{i}.txt", part) for i, part in enumerate((texts[:15], texts[15:]))]
    whole = contents(render(plain, tmp_path / "whole", False))
    paths = [write(tmp_path / f"{i}{suffix}", part) for i, part in enumerate((texts[:15], texts[15:]))]
    rows = "txt" not in suffix
    given = [paths[0], "-"] if piped else paths

    def render_it():
        standard_input(paths[1])
        return render(given, tmp_path / "data", rows)

    read_passages = binarizing.read_passages
    for number in (12, 9, 14):
        with monkeypatch.context() as patch:
            patch.setattr(binarizing, "read_passages", interrupted(read_passages, number))
            with pytest.raises(SystemExit) as ended:
                render_it()
        assert ended.value.code == 130
    capsys.readouterr()
    folder = render_it()
    printed = capsys.readouterr()
    assert "going on after" in printed.err
    assert contents(folder) == whole
    if rows:
        assert f"{2 * BAD_ROWS} rows skipped" in printed.out
        assert folder.manifest("train")["bad_rows"] == 2 * BAD_ROWS


def interrupted(read_passages, number):
    """read_passages, with Ctrl-C pressed after so many passages."""

    def read(*args, **options):
        yield from itertools.islice(read_passages(*args, **options), number)
        raise KeyboardInterrupt

    return read


@pytest.mark.parametrize("workers", ["1", "2"])
def test_ids_are_written_beside_the_data_and_listed(tmp_path, texts, workers):
    rows = [{"body": f"{text} {text}" * 9, "meta": {"id": f"id {i}\n"}} for i, text in enumerate(texts)]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    plain = write(tmp_path / "b.txt", texts[:3])
    folder = render([path, plain], tmp_path / "data", True, "--id-field", "meta.id", "--workers", workers)
    without = render([path, plain], tmp_path / "without", True)
    manifest = folder.manifest("train")
    ids = []
    for shard in folder.shards("train"):
        if (shard / "ids.txt").exists():
            assert f"train.shards/{shard.name}/ids.txt" in manifest["checksums"]
            ids += (shard / "ids.txt").read_text().split("\n")[:-1]
    assert [found.strip() for found in ids if found] == [f"id {i}" for i in range(len(texts))]
    assert contents(folder) == contents(without)
    assert not list(without.path.rglob("ids.txt"))
    assert manifest["documents"] == len(texts) + 3
