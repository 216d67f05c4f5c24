"""Rendered data where it is published: in folders on the hub, or in an archive there or here."""

import tarfile

import pytest
from skips import needs_hub
from toy_hub import hub
from toy_released import ROWS, row, write_rows

from pixelgpt_fairseq.cli.render_glue import main
from pixelgpt_fairseq.data.data_folder import DataFolder
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.sources.published_data import local_released

__all__ = ["hub"]


@pytest.fixture
def released(tmp_path, monkeypatch):
    """A folder with two splits of RTE and one of WNLI."""
    folder = tmp_path / "rendered_glue"
    for name in ("rte-train", "rte-validation", "wnli-train"):
        write_rows(folder / name, [row(*values) for values in ROWS])
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return folder


def archive(released, name="rendered_glue.tar", mode="w"):
    path = released.parent / "archive" / name
    path.parent.mkdir()
    with tarfile.open(path, mode) as file:
        file.add(released, released.name)
        for bad in ("/outside/rte-train/part-00001.gz", "../../rte-train/part-00002.gz"):
            member = tarfile.TarInfo(bad)
            file.addfile(member)
        link = tarfile.TarInfo("rte-train/part-00003.gz")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        file.addfile(link)
    return path


def render(released):
    main(["--released", str(released), "--task", "rte", "--destdir", "data"])
    return {split: DataFolder("data").manifest(split)["examples"] for split in ("train", "valid")}


@needs_hub
@pytest.mark.parametrize("kind", ["dataset", "model"])
@pytest.mark.parametrize("packed", [False, True])
def test_it_is_fetched_and_no_other_task_with_it(released, hub, kind, packed):
    hub.add("owner/rendered_GLUE", archive(released).parent if packed else released.parent, kind)
    assert render("owner/rendered_GLUE") == {"train": 3, "valid": 3}
    fetched = {path for method, path, _ in hub.asked if method == "GET"}
    assert not any("wnli" in path for path in fetched)


@needs_hub
def test_a_repository_without_it_is_told(released, hub, tmp_path):
    (tmp_path / "empty").mkdir()
    hub.add("owner/none", tmp_path / "empty", "dataset")
    with pytest.raises(SystemExit) as ended:
        render("owner/none")
    assert "owner/none/rte-train: no such folder (split train of rte)" in str(ended.value)


@pytest.mark.parametrize(("name", "mode"), [("rendered_glue.tar", "w"), ("rendered_glue.tar.gz", "w:gz")])
def test_an_archive_here_is_unpacked_and_nothing_leaves_its_folder(released, name, mode):
    path = archive(released, name, mode)
    folder = local_released(path, "rte", ["train", "valid"])
    files = sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file() or file.is_symlink())
    assert files == [
        *(f"rte-train/part-0000{number}.gz" for number in range(3)),
        "rte-validation/part-00000.gz",
    ]
    assert not any(file.is_symlink() for file in folder.rglob("*"))
    assert not (released.parent.parent / "rte-train").exists()
    with tarfile.open(path) as file:
        assert len(file.getmembers()) > 5


def test_what_is_no_archive_is_told(tmp_path):
    path = tmp_path / "rendered_glue.tar"
    path.write_bytes(b"not one" * 1000)
    with pytest.raises(UserError, match=r"rendered_glue.tar: not a tar archive, or damaged"):
        local_released(path, "rte", ["train"])
    with pytest.raises(UserError, match=r"^--released .*/none: no such folder"):
        local_released(tmp_path / "none", "rte", ["train"])
