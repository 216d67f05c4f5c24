"""A rendering that is ended, by whatever, goes on and comes to the same bytes; nothing finished is done again."""

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
from pixelgpt_fairseq.data.data_folder import DataFolder
from pixelgpt_fairseq.data.tokens import train_tokenizer
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.preprocessing import binarize as binarizing
from pixelgpt_fairseq.preprocessing import chunks, resumption
from pixelgpt_fairseq.preprocessing.binarize import binarize
from pixelgpt_fairseq.preprocessing.partial_folder import partial_path
from pixelgpt_fairseq.rendering import RendererConfig

CONFIG = RendererConfig(max_patches=40)
FORK = multiprocessing.get_context("fork")  # a process that is to be killed need not import everything first
CHUNK = 700  # characters
PACKAGE = str(Path(pixelgpt_fairseq.__file__).parent)
FULL = OSError(28, "No space left on device")


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_CHARACTERS", CHUNK)
    monkeypatch.setattr(binarizing, "RECORD_EVERY", 0)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(iter(documents()), 400)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Two files, the first of which ends within a chunk; a document longer than chunks."""
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
    """The files of a run that nothing ended, and the number of its chunks."""
    data = tmp_path_factory.mktemp("whole") / "data"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "CHUNK_CHARACTERS", CHUNK)
        rendered = count_chunks(patch)
        render(data)
    return contents(data), len(rendered)


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data"


def contents(path):
    assert all(file.is_file() for file in path.iterdir()), "an unfinished folder is left"
    return {file.name: file.read_bytes() for file in path.iterdir()}


def count_chunks(monkeypatch):
    """A list that grows with every chunk that is rendered in this process."""
    rendered, binarize_chunk = [], chunks._Worker.binarize

    def counted(self, passages, prefix):
        rendered.append(prefix)
        return binarize_chunk(self, passages, prefix)

    monkeypatch.setattr(chunks._Worker, "binarize", counted)
    return rendered


def interrupt_after(monkeypatch, number):
    """Let Ctrl-C end the run when *number* chunks are finished."""
    move_in, count = chunks.StreamWriter.move_in, iter(range(number))

    def moved(*args):
        if next(count, None) is None:
            raise KeyboardInterrupt
        move_in(*args)

    monkeypatch.setattr(chunks.StreamWriter, "move_in", moved)


@pytest.fixture
def unfinished(render, tmp_path, monkeypatch, data):
    """The hidden folder of a run of which three chunks were finished."""
    with monkeypatch.context() as patch:
        interrupt_after(patch, 3)
        with pytest.raises(KeyboardInterrupt):
            render(data)
    return partial_path(DataFolder(data), "train")


def test_finished_chunks_are_not_rendered_again(render, whole, unfinished, monkeypatch, data):
    files, total = whole
    assert total > 6
    rendered = count_chunks(monkeypatch)
    summary = render(data)
    assert len(rendered) == total - 3
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


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_anywhere_it_comes_to_the_same_bytes(render, whole, tmp_path, monkeypatch, workers):
    numbers, total, between = random.Random(workers), *count_steps(monkeypatch, render, tmp_path / "counted", workers)
    for attempt in range(3):
        data = DataFolder(tmp_path / f"{attempt}")
        # The first run is killed after it has recorded one part at least, the others anywhere from beginning to end.
        killed = killed_at(render, numbers.randrange(between), after=numbers.randrange(1, whole[1]))
        assert end_by_sigkill(killed, data.path, workers=workers) == -signal.SIGKILL
        assert (partial_path(data, "train") / resumption.PROGRESS_FILE).exists()
        for _ in range(2):
            end_by_sigkill(killed_at(render, numbers.randrange(total)), data.path, workers=workers)
        render(data.path, workers=workers, overwrite=bool(data.splits()))
        assert contents(data.path) == whole[0]


def count_steps(monkeypatch, render, path, workers):
    """The steps of a whole run, and those between two records of how far it is; see :func:`killed_at`."""
    steps, recorded = 0, []

    def step():
        nonlocal steps
        steps += 1

    with monkeypatch.context() as patch:
        save = binarizing.save_progress
        patch.setattr(binarizing, "save_progress", lambda *args: (save(*args), recorded.append(steps)))
        with each_step(step):
            render(path, workers=workers)
    return steps, min(later - earlier for earlier, later in itertools.pairwise(recorded))


def killed_at(function, step, after=0):
    """*function*, in whose process step number *step* after *after* records is the last.

    A step is a call or a return in this package's own code. Unlike seconds, steps come in the same order on machines
    that are slow, fast or busy with other work.
    """

    def killed(*args, **options):
        save, remaining, records = binarizing.save_progress, step, 0

        def saved(*args):
            nonlocal records
            save(*args)
            records += 1

        def count():
            nonlocal remaining
            remaining -= records >= after
            if remaining < 0:
                os.kill(os.getpid(), signal.SIGKILL)

        binarizing.save_progress = saved
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
    for last in range(0, len(changes), len(changes) // 11):
        data = DataFolder(tmp_path / f"{last}")

        def killed(data=data, last=last):
            count_changes(monkeypatch, last)
            render(data.path)

        assert end_by_sigkill(killed) == -signal.SIGKILL
        render(data.path)
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

    for name in ("replace", "fsync", "remove"):
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


@pytest.mark.parametrize("where", ["copyfileobj", "fsync", "replace"])
def test_no_space_left_anywhere(render, whole, tmp_path, where, monkeypatch, data):
    files, _ = whole
    module = chunks.IndexedWriter.append.__globals__["shutil"] if where == "copyfileobj" else os
    function, count = getattr(module, where), iter(range(10**6))

    def full(*args):
        if next(count) > 20:
            raise FULL
        return function(*args)

    with monkeypatch.context() as patch:
        patch.setattr(module, where, full)
        with pytest.raises(UserError, match=r"No space left on device$"):
            render(data)
    assert render(data).resumed.pieces > 0
    assert contents(data) == files


def test_a_worker_that_dies_takes_nothing_finished_with_it(render, whole, tmp_path, monkeypatch, data):
    binarize_chunk = chunks._Worker.binarize

    def die(self, passages, prefix):
        if prefix.name == "000005":
            os.kill(os.getpid(), signal.SIGKILL)
        return binarize_chunk(self, passages, prefix)

    with monkeypatch.context() as patch:
        patch.setattr(chunks._Worker, "binarize", die)
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
            [resumption.PROGRESS_FILE, resumption.WORK_FILE, "train.pixel.bin", "train.text.sizes"],
            [lambda content: b"", lambda content: content[:-9], None],
        ),
        (resumption.PROGRESS_FILE, flip),
        (resumption.WORK_FILE, flip),
    ],
)
def test_damaged_leftovers_are_told_and_not_used(render, whole, unfinished, capsys, name, damage, monkeypatch, data):
    path = unfinished / name
    path.write_bytes(damage(path.read_bytes())) if damage else path.unlink()
    rendered = count_chunks(monkeypatch)
    render(data, progress=True)
    if damage or name != resumption.PROGRESS_FILE:
        assert f"{unfinished}: what an unfinished run left is of no use (damaged): starting over" in (
            capsys.readouterr().err
        )
    assert len(rendered) == whole[1]
    assert contents(unfinished.parent) == whole[0]


def test_leftovers_of_something_else_are_told_and_not_used(render, whole, unfinished, capsys, data):
    content = json.dumps([1, 2]).encode()
    (unfinished / resumption.PROGRESS_FILE).write_bytes(b"%08x\n%s\n" % (zlib.crc32(content), content))
    render(data, progress=True)
    assert "is of no use (damaged)" in capsys.readouterr().err
    assert contents(unfinished.parent) == whole[0]


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
    kept = contents(unfinished)
    with pytest.raises(UserError, match=rf"documents of an unfinished run .*\({message}.*--overwrite to start over"):
        render(data, **changes)
    assert contents(unfinished) == kept
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
