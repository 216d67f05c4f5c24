"""Shards are whole or absent: a run that is ended, by whatever, goes on and comes to the same bytes."""

import contextlib
import itertools
import json
import multiprocessing
import os
import random
import resource
import signal
import sys
import zlib
from pathlib import Path

import pytest
from toy_corpus import documents

import pixelgpt_fairseq
from pixelgpt_fairseq.cli.check_data import main as check_data
from pixelgpt_fairseq.data.data_folder import DataFolder
from pixelgpt_fairseq.data.indexed import IndexedRows
from pixelgpt_fairseq.data.tokens import train_tokenizer
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.preprocessing import binarize as binarizing
from pixelgpt_fairseq.preprocessing import shards
from pixelgpt_fairseq.preprocessing.binarize import binarize
from pixelgpt_fairseq.preprocessing.partial_folder import WORK_FILE, finished_shards, partial_path
from pixelgpt_fairseq.rendering import RendererConfig

CONFIG = RendererConfig(max_patches=40)
FORK = multiprocessing.get_context("fork")  # a process that is to be killed need not import everything first
STRETCH = 700  # characters
PACKAGE = str(Path(pixelgpt_fairseq.__file__).parent)
FULL = OSError(28, "No space left on device")


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(shards, "SHARD_CHARACTERS", STRETCH)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(iter(documents()), 400)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Two files, the first of which ends within a stretch; a document longer than a stretch."""
    folder = tmp_path_factory.mktemp("corpus")
    texts = documents(25)
    for name, part in (("a", texts[:10]), ("b", [*texts[10:20], " ".join(texts[10:20]), *texts[20:]])):
        (folder / f"{name}.txt").write_text("\n\n".join(part))
    return [folder / "a.txt", folder / "b.txt"]


@pytest.fixture(scope="module")
def render(inputs, tokenizer):
    """binarize with these settings."""

    def run(destdir, **changes):
        options = {"inputs": inputs, "config": CONFIG, "tokenizer": tokenizer, "store": "both", "progress": False}
        return binarize(destdir=destdir, split="train", **{**options, **changes})

    return run


@pytest.fixture(scope="module")
def whole(render, tmp_path_factory):
    """The files of a run that nothing ended, and the number of its shards."""
    data = tmp_path_factory.mktemp("whole") / "data"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "SHARD_CHARACTERS", STRETCH)
        rendered = count_made(patch)
        render(data)
    return contents(data), len(rendered)


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data"


def contents(path):
    assert not list(path.glob(".*")), "an unfinished folder is left"
    assert not [file for file in path.rglob("*") if "partial" in file.name or "stretch" in file.name]
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def count_made(monkeypatch):
    """A list that grows with every shard that is made in this process."""
    rendered, make = [], shards.ShardMaker._make

    def counted(self, stretch, folder):
        rendered.append(stretch.number)
        return make(self, stretch, folder)

    monkeypatch.setattr(shards.ShardMaker, "_make", counted)
    return rendered


def interrupt_after(monkeypatch, number):
    """Let Ctrl-C end the run when *number* shards are finished."""
    make, count = shards.ShardMaker._make, iter(range(number))

    def interrupted(*args):
        if next(count, None) is None:
            raise KeyboardInterrupt
        return make(*args)

    monkeypatch.setattr(shards.ShardMaker, "_make", interrupted)


@pytest.fixture
def unfinished(render, tmp_path, monkeypatch, data):
    """The hidden folder of a run of which three shards were finished."""
    with monkeypatch.context() as patch:
        interrupt_after(patch, 3)
        with pytest.raises(KeyboardInterrupt):
            render(data)
    return partial_path(DataFolder(data), "train")


def test_finished_shards_are_not_made_again(render, whole, unfinished, monkeypatch, data):
    files, total = whole
    assert total > 6
    rendered = count_made(monkeypatch)
    summary = render(data)
    assert rendered == list(range(3, total))
    assert 0 < summary.resumed.pieces < summary.counts.pieces
    assert contents(unfinished.parent) == files


def test_a_run_says_what_it_keeps_and_what_it_found(render, tmp_path, monkeypatch, capsys, data):
    with monkeypatch.context() as patch:
        interrupt_after(patch, 2)
        with pytest.raises(
            KeyboardInterrupt, match=r"train\.partial keeps what is finished: the same command goes on "
        ):
            render(data, progress=True)
    assert "keeps what is finished" not in capsys.readouterr().err  # the command says it
    found = render(data, progress=True).resumed.documents
    assert f"train: going on after {found:,} documents that are rendered already" in capsys.readouterr().err


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_killed_anywhere_it_comes_to_the_same_bytes(render, whole, tmp_path, workers):
    numbers, total = random.Random(workers), count_steps(render, tmp_path / "counted", workers)
    for attempt in range(2):
        data = DataFolder(tmp_path / f"{attempt}")
        for _ in range(3):
            end_by_sigkill(killed_at(render, numbers.randrange(total)), data.path, workers=workers)
        render(data.path, workers=workers, overwrite=bool(data.splits()))
        assert contents(data.path) == whole[0]


def test_a_worker_killed_anywhere_is_missed_by_one_shard_alone(render, whole, tmp_path, monkeypatch):
    """The only worker is this process: what is killed is killed within a shard, too."""
    total = count_steps(render, tmp_path / "counted", 1)
    data = DataFolder(tmp_path / "data")
    assert end_by_sigkill(killed_at(render, total * 2 // 3), data.path) == -signal.SIGKILL
    kept = finished_shards(partial_path(data, "train"))
    assert len(kept) > 1
    made = count_made(monkeypatch)
    render(data.path)
    assert made == [number for number in range(whole[1]) if number not in kept]
    assert contents(data.path) == whole[0]


def count_steps(render, path, workers):
    """The steps of a whole run; see :func:`killed_at`."""
    steps = 0

    def step():
        nonlocal steps
        steps += 1

    with each_step(step):
        render(path, workers=workers)
    return steps


def killed_at(function, step):
    """*function*, in whose process step number *step* is the last.

    A step is a call or a return in this package's own code. Unlike seconds, steps come in the same order on machines
    that are slow, fast or busy with other work.
    """

    def killed(*args, **options):
        remaining = step

        def count():
            nonlocal remaining
            remaining -= 1
            if remaining < 0:
                os.kill(os.getpid(), signal.SIGKILL)

        with each_step(count):
            function(*args, **options)

    return killed


@contextlib.contextmanager
def each_step(function):
    """Call *function* at each step of this process, but not of its workers."""
    process = os.getpid()

    def profile(frame, event, arg):
        if frame.f_code.co_filename.startswith(PACKAGE) and os.getpid() == process:
            function()

    sys.setprofile(profile)
    try:
        yield
    finally:
        sys.setprofile(None)


def end_by_sigkill(function, *args, **options):
    """Call *function* in a process that kills itself; returns its exit code."""
    process = FORK.Process(target=function, args=args, kwargs=options)
    process.start()
    process.join()
    return process.exitcode


def test_killed_between_any_two_changes_of_files_it_comes_to_the_same_bytes(render, whole, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        changes = count_changes(patch)
        render(tmp_path / "counted")
    for last in range(0, len(changes), len(changes) // 17):
        data = DataFolder(tmp_path / f"{last}")

        def killed(data=data, last=last):
            count_changes(monkeypatch, last)
            render(data.path)

        assert end_by_sigkill(killed) == -signal.SIGKILL
        render(data.path, overwrite=bool(data.splits()))
        assert contents(data.path) == whole[0]


def count_changes(monkeypatch, last=None):
    """A list that grows with each call by which files are moved, removed or brought to the disk.

    Before call number *last*, this process is killed.
    """
    calls = []

    def counted(function, name):
        def call(*args, **kwargs):
            if len(calls) == last:
                os.kill(os.getpid(), signal.SIGKILL)
            calls.append(name)
            return function(*args, **kwargs)

        return call

    for name in ("replace", "fsync", "unlink", "rmdir"):
        monkeypatch.setattr(os, name, counted(getattr(os, name), name))
    return calls


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_ends_it_and_with_more_room_it_goes_on(render, whole, tmp_path, workers, monkeypatch, data):
    files, _ = whole
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    largest = max(map(len, files.values()))
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest // 2, limits[1]))
    try:
        with pytest.raises(UserError, match=r"File too large$"):
            render(data, workers=workers)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    summary = render(data, workers=workers)
    assert summary.resumed.pieces > 0
    assert contents(data) == files


@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_no_space_left_anywhere(render, whole, tmp_path, where, monkeypatch, data):
    files, _ = whole
    function, count = getattr(os, where), iter(range(10**6))

    def full(*args):
        if next(count) > (40 if where == "fsync" else 5):
            raise FULL
        return function(*args)

    with monkeypatch.context() as patch:
        patch.setattr(os, where, full)
        with pytest.raises(UserError, match=r"No space left on device$"):
            render(data)
    assert render(data).resumed.pieces > 0
    assert contents(data) == files


def test_a_worker_that_dies_takes_nothing_finished_with_it(render, whole, tmp_path, monkeypatch, data):
    make = shards.ShardMaker._make

    def die(self, stretch, folder):
        if stretch.number == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return make(self, stretch, folder)

    with monkeypatch.context() as patch:
        patch.setattr(shards.ShardMaker, "_make", die)
        with pytest.raises(UserError, match="a worker process died"):
            render(data, workers=2)
    render(data)
    assert contents(data) == whole[0]


def flip(content):
    return content[:40] + bytes([content[40] ^ 1]) + content[41:]


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        *itertools.product(
            ["shard.json", "pixel.bin", "text.idx"], [lambda content: b"", lambda content: content[:-9], None]
        ),
        ("shard.json", flip),
    ],
)
def test_a_damaged_shard_is_told_and_made_again(render, whole, unfinished, capsys, name, damage, monkeypatch, data):
    path = unfinished / "shards" / "00001" / name
    path.write_bytes(damage(path.read_bytes())) if damage else path.unlink()
    made = count_made(monkeypatch)
    render(data, progress=True)
    assert f"{path.parent}: damaged: making this shard again" in capsys.readouterr().err
    assert made == [1, *range(3, whole[1])]
    assert contents(unfinished.parent) == whole[0]


@pytest.mark.parametrize("damage", [lambda content: b"", lambda content: content[:-9], flip, None])
def test_shards_of_which_nobody_knows_what_they_are_made_from_are_not_used(
    render, whole, unfinished, capsys, damage, monkeypatch, data
):
    path = unfinished / WORK_FILE
    path.write_bytes(damage(path.read_bytes())) if damage else path.unlink()
    made = count_made(monkeypatch)
    render(data, progress=True)
    assert f"{unfinished}: what an unfinished run left is of no use (damaged): starting over" in capsys.readouterr().err
    assert len(made) == whole[1]
    assert contents(unfinished.parent) == whole[0]


def test_leftovers_of_something_else_are_told_and_not_used(render, whole, unfinished, capsys, data):
    content = json.dumps([1, 2]).encode()
    (unfinished / WORK_FILE).write_bytes(b"%08x\n%s\n" % (zlib.crc32(content), content))
    render(data, progress=True)
    assert "is of no use (damaged)" in capsys.readouterr().err
    assert contents(unfinished.parent) == whole[0]


def test_a_byte_that_changed_afterwards_is_found_by_its_checksum(render, data):
    render(data)
    folder = DataFolder(data)
    folder.check_contents("train")
    path = folder.shards("train")[2] / "pixel.bin"
    path.write_bytes(flip(path.read_bytes()))
    folder.manifest("train")
    with pytest.raises(UserError, match=r"train\.shards/00002/pixel\.bin: damaged: its checksum"):
        folder.check_contents("train")


def test_stretches_grow_with_what_was_read_before():
    """So a terabyte makes some ten thousand shards, and what is added at the end changes none before it."""
    total = number = 0
    while total < 10**12:
        total += max(1 << 20, shards.stretch_length(total))
        number += 1
    assert 5_000 < number < 15_000
    assert shards.stretch_length(0) == STRETCH


def test_documents_are_never_cut_by_a_shard(render, data):
    render(data)
    folder = DataFolder(data)
    for stream in ("pixel", "text", "columns"):
        for prefix in folder.prefixes("train", stream):
            assert IndexedRows(prefix).sizes[-1] == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"config": RendererConfig(max_patches=40, font_size=10)}, "font_size: 10 against 8"),
        ({"config": RendererConfig(max_patches=41)}, "max_patches: 41 against 40"),
        ({"tokenizer": None}, "tokenizer: none against SHA-256"),
        ({"documents": "line"}, "documents: line against blank-line"),
        ({"store": "text"}, "store: text against both"),
        ({"encoding_errors": "replace"}, "encoding_errors: replace against fail"),
    ],
)
def test_an_unfinished_run_of_other_settings_is_not_thrown_away_unasked(
    render, unfinished, changes, message, capsys, data
):
    kept = sorted(unfinished.rglob("*"))
    with pytest.raises(UserError, match=rf"documents of an unfinished run .*\({message}.*--overwrite to start over"):
        render(data, **changes)
    assert sorted(unfinished.rglob("*")) == kept
    render(data, **changes, overwrite=True, progress=True)
    assert f"({message}" in capsys.readouterr().err
    assert DataFolder(unfinished.parent).manifest("train")["pieces"] > 0


def test_inputs_that_changed_are_noticed(render, inputs, unfinished, tmp_path, data):
    with pytest.raises(UserError, match=r"other --input"):
        render(data, inputs=inputs[::-1])
    status = inputs[0].stat()
    os.utime(inputs[0], ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    try:
        with pytest.raises(UserError, match=r"a\.txt has changed since"):
            render(data)
    finally:
        os.utime(inputs[0], ns=(status.st_atime_ns, status.st_mtime_ns))


def test_inputs_that_were_not_reached_may_change(render, inputs, tmp_path, monkeypatch, data):
    bad, more = tmp_path / "bad.txt", tmp_path / "more.txt"
    bad.write_bytes(b"bad \xff")
    more.write_text("more text")
    with pytest.raises(UserError, match=r"bad.txt, line 1: byte 0xff"):
        render(data, inputs=[*inputs, bad])
    bad.write_text("mended")
    assert render(data, inputs=[*inputs, bad, more]).resumed.pieces > 0
    render(tmp_path / "expected", inputs=[*inputs, bad, more])
    assert contents(data) == contents(tmp_path / "expected")


def test_a_tokenizer_is_trained_once(render, tmp_path, monkeypatch, data):
    with monkeypatch.context() as patch:
        interrupt_after(patch, 3)
        with pytest.raises(KeyboardInterrupt):
            render(data, tokenizer=380)
    monkeypatch.setattr(binarizing, "train_tokenizer", None)
    assert render(data, tokenizer=380).resumed.pieces > 0
    assert len(DataFolder(data).tokenizer()) == 380
    with pytest.raises(UserError, match="already there"):
        render(data, tokenizer=380)


def test_check_data_names_what_is_damaged(render, data, capsys):
    render(data)
    check_data([str(data)])
    assert f"{data}, train: " in capsys.readouterr().out
    path = DataFolder(data).shards("train")[1] / "text.bin"
    path.write_bytes(flip(path.read_bytes()))
    with pytest.raises(SystemExit, match=r"train\.shards/00001/text\.bin: damaged: its checksum"):
        check_data([str(data)])


def test_damaged_shards_of_a_finished_split_are_made_again_and_no_others(render, whole, data, monkeypatch, capsys):
    render(data)
    found = DataFolder(data).shards("train")
    (found[2] / "pixel.bin").write_bytes(flip((found[2] / "pixel.bin").read_bytes()))
    (found[3] / "shard.json").write_bytes(b"")
    for path in found[5].iterdir():
        path.unlink()
    found[5].rmdir()
    made = count_made(monkeypatch)
    summary = render(data, repair=True, progress=True)
    assert made == [2, 3, 5]
    assert summary.repaired == ["00002", "00003", "00005"]
    told = capsys.readouterr().err
    assert "00002/pixel.bin: damaged: its checksum is not the one in the manifest: render this split again, or" in told
    assert "00005/pixel.idx: damaged: No such file or directory" in told
    assert contents(data) == whole[0]
    assert render(data, repair=True).repaired == []
    assert made == [2, 3, 5]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_shard_is_repaired_by_its_own_bytes_alone(render, whole, data, inputs, tmp_path, workers):
    render(data)
    path = DataFolder(data).shards("train")[4] / "text.bin"
    path.write_bytes(flip(path.read_bytes()))
    before = contents(data)
    for other in ([inputs[1], inputs[0]], inputs[:1]):  # other text, and too little
        with pytest.raises(UserError, match=r"train\.shards/00004: made again, it is not what it was: the input"):
            render(data, inputs=other, repair=True, workers=workers)
    with pytest.raises(UserError, match="00004: made again, it is not what it was"):
        render(data, store="text", repair=True, workers=workers)
    with pytest.raises(UserError, match="font_size"):
        render(data, config=RendererConfig(max_patches=40, font_size=10), repair=True)
    assert contents(data) == before
    assert render(data, repair=True, workers=workers).repaired == ["00004"]
    assert contents(data) == whole[0]
