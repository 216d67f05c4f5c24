"""Files and folders are whole or absent, whoever writes beside, and no name leads a writer elsewhere."""

import os
import stat

import pytest

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.storage.files import check_absent, read_json, whole_file, whole_folder, write_whole


def full(*args):
    raise OSError(28, "No space left on device")


@pytest.fixture
def calls(monkeypatch):
    """What brings files to the disk and renames them, in order: ("fsync" or "replace", name)."""
    found, fsync, replace = [], os.fsync, os.replace

    def synced(descriptor):
        found.append(("fsync", os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}"))))
        fsync(descriptor)

    def replaced(source, target):
        found.append(("replace", os.path.basename(target)))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    return found


@pytest.mark.parametrize("name", ["replace", "fsync"])
def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch, name):
    path = tmp_path / "a.txt"
    write_whole(path, "one")
    monkeypatch.setattr(os, name, full)
    with pytest.raises(UserError, match=r"a\.txt: cannot write: No space left on device$"):
        write_whole(path, "two")
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]
    assert path.read_text() == "one"


def test_a_writer_that_fails_leaves_nothing(tmp_path):
    def interrupted_file():
        with whole_file(tmp_path / "a.txt") as file:
            file.write(b"half")
            raise KeyboardInterrupt

    def interrupted_folder():
        with whole_folder(tmp_path / "b") as folder:
            (folder / "c").write_text("half")
            raise KeyboardInterrupt

    for write in (interrupted_file, interrupted_folder):
        with pytest.raises(KeyboardInterrupt):
            write()
    assert list(tmp_path.iterdir()) == []


def test_two_writers_of_one_file_do_not_mix(tmp_path):
    path = tmp_path / "a.txt"
    with whole_file(path) as first, whole_file(path) as second:
        first.write(b"first" * 9)
        second.write(b"second")
    assert path.read_bytes() == b"first" * 9
    assert list(tmp_path.iterdir()) == [path]


def test_contents_are_on_the_disk_before_the_name(tmp_path, calls):
    write_whole(tmp_path / "a.txt", "one")
    (kind, temporary), *rest = calls
    assert kind == "fsync"
    assert temporary.startswith(".a.txt.")
    assert rest == [("replace", "a.txt"), ("fsync", tmp_path.name)]
    calls.clear()
    with whole_folder(tmp_path / "b") as folder:
        (folder / "c").write_text("c")
        (folder / "d").mkdir()
        (folder / "d" / "e").write_text("e")
    assert calls == [
        *(("fsync", name) for name in ("c", "d", "e", folder.name)),
        ("replace", "b"),
        ("fsync", tmp_path.name),
    ]


def test_files_have_the_rights_that_the_user_chose(tmp_path):
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "a.txt", "one")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o640


def test_the_target_of_a_link_is_not_written(tmp_path):
    precious, link = tmp_path / "precious", tmp_path / "link"
    precious.write_text("precious")
    link.symlink_to(precious)
    write_whole(link, "new")
    assert precious.read_text() == "precious"
    assert link.read_text() == "new"
    assert not link.is_symlink()


def test_a_link_to_an_empty_folder_stays_and_the_folder_is_filled(tmp_path):
    scratch, link = tmp_path / "scratch", tmp_path / "link"
    scratch.mkdir()
    link.symlink_to(scratch)
    with whole_folder(link) as folder:
        (folder / "a").write_text("one")
    assert link.is_symlink()
    assert (scratch / "a").read_text() == "one"


def test_a_folder_that_was_filled_meanwhile_is_not_replaced(tmp_path):
    path = tmp_path / "a"

    def write():
        with whole_folder(path) as folder:
            (folder / "b").write_text("mine")
            path.mkdir()
            (path / "b").write_text("theirs")

    with pytest.raises(UserError, match=r"a: cannot write: Directory not empty"):
        write()
    assert (path / "b").read_text() == "theirs"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["x" * 255, "语" * 85])
def test_the_longest_names_can_be_written(tmp_path, name):
    write_whole(tmp_path / name, "one")
    assert (tmp_path / name).read_text() == "one"


def test_what_is_there_is_told_with_what_to_do(tmp_path):
    path, folder, link = tmp_path / "a.txt", tmp_path / "b", tmp_path / "link"
    check_absent(path, "another --output", overwrite=False)
    path.touch()
    with pytest.raises(UserError, match=r"a.txt: already there: choose another --output, or pass --overwrite$"):
        check_absent(path, "another --output", overwrite=False)
    check_absent(path, "another --output", overwrite=True)
    with pytest.raises(UserError, match=r"a.txt: already there: choose another name, or remove it first$"):
        check_absent(path, "another name")
    link.symlink_to("nothing")
    with pytest.raises(UserError, match="link: already there"):
        check_absent(link, "another --output", overwrite=False)
    folder.mkdir()
    with pytest.raises(UserError, match="b: a folder, where a file is to be written"):
        check_absent(folder, "another --output", overwrite=True)
    check_absent(folder, "another folder", folder=True)
    (folder / "c").touch()
    for there in (folder, path):
        with pytest.raises(UserError, match="already there: choose another folder, or remove it first"):
            check_absent(there, "another folder", folder=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        (b"{", "not JSON: "),
        (b"\xff", "not JSON: "),
        (b"[" * 100_000, "not JSON: "),
        (b"[1]", "holds no JSON object"),
    ],
)
def test_json_that_cannot_be_read_is_named(tmp_path, content, message):
    path = tmp_path / "a.json"
    if content:
        path.write_bytes(content)
    with pytest.raises(UserError, match=rf"a\.json: {message}"):
        read_json(path, dict)
    path.write_text('{"a": 1}')
    assert read_json(path, dict) == {"a": 1}
