"""Fetching what others published, from a server on this machine."""

import os
import subprocess
import sys

import pytest
from skips import needs_hub
from toy_hub import hub

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.storage.hub import NotOnHub, fetch, is_hub_name

__all__ = ["hub"]
LARGE = os.urandom(300_000)
FILES = ["config.json", "*.safetensors"]


@pytest.fixture
def published(hub, tmp_path):
    """A hub that has owner/name."""
    folder = tmp_path / "published"
    (folder / "runs").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(LARGE)
    (folder / "runs" / "optimizer.pt").write_bytes(LARGE)
    hub.add("owner/name", folder)
    hub.add("owner/data", folder, "dataset")
    return hub


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@needs_hub
@pytest.mark.parametrize(("name", "kind"), [("owner/name", "model"), ("owner/data", "dataset")])
def test_what_is_asked_for_is_fetched_once(published, name, kind):
    folder = fetch(name, FILES, kind)
    assert names(folder) == ["config.json", "model.safetensors"]
    assert (folder / "model.safetensors").read_bytes() == LARGE
    published.asked.clear()
    assert fetch(name, FILES, kind) == folder
    assert not [request for request in published.asked if request[0] == "GET"]


def requests(hub, path):
    return [wanted for method, asked, wanted in hub.asked if (method, asked) == ("GET", path)]


@needs_hub
def test_a_download_that_was_broken_off_goes_on(published, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1 << 16)  # what is written at a time
    published.break_off["model.safetensors"] = iter([200_000])
    folder = fetch("owner/name", FILES)
    assert (folder / "model.safetensors").read_bytes() == LARGE
    assert requests(published, "model.safetensors") == [None, f"bytes={200_000 >> 16 << 16}-"]


@needs_hub
def test_a_download_that_cannot_be_finished_is_told_and_done_by_the_same_command(published, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    published.break_off["model.safetensors"] = iter([0] * 20)
    with pytest.raises(UserError, match=r"^owner/name: .* cannot be fetched from .*: peer closed .*: check the net"):
        fetch("owner/name", FILES)
    published.break_off.clear()
    assert (fetch("owner/name", FILES) / "model.safetensors").read_bytes() == LARGE
    assert len(requests(published, "config.json")) == 1


@needs_hub
@pytest.mark.parametrize("path", ["model.safetensors", "config.json"])
def test_a_wrong_checksum_is_told_and_nothing_of_it_stays(published, path):
    published.damaged.add(path)
    for _ in range(2):
        with pytest.raises(UserError, match=rf"^owner/name: {path} has another checksum than the hub says, and was "):
            fetch("owner/name", FILES)
    published.damaged.clear()
    assert (fetch("owner/name", FILES) / "model.safetensors").read_bytes() == LARGE


@needs_hub
def test_without_a_network_it_is_one_line_unless_the_cache_has_it(published):
    from huggingface_hub import constants

    fetch("owner/data", FILES, "dataset")
    published.shutdown()
    address = constants.ENDPOINT
    port = int(address.rpartition(":")[2])
    constants.ENDPOINT = address.replace(str(port), "9")  # nobody listens there
    assert names(fetch("owner/data", FILES, "dataset")) == ["config.json", "model.safetensors"]
    with pytest.raises(UserError) as error:
        fetch("owner/name", FILES)
    message = str(error.value)
    assert message.startswith("owner/name: no such file or folder, and it cannot be fetched from http://127.0.0.1:9: ")
    assert "check the network (or HF_ENDPOINT)" in message
    assert "\n" not in message


@needs_hub
def test_what_the_hub_does_not_have_is_told(published):
    with pytest.raises(NotOnHub, match=r"^owner/none: no such file or folder, and the hub has no model of this name"):
        fetch("owner/none", FILES)
    with pytest.raises(
        NotOnHub, match=r"^owner/name: .* the hub has no data set of this name for you: .*hf auth login"
    ):
        fetch("owner/name", FILES, "dataset")


@needs_hub
def test_the_environment_says_where_the_hub_and_the_cache_are(published):
    code = "import sys; from pixelgpt_fairseq.storage.hub import fetch; print(fetch('owner/name', ['config.json']))"
    environment = {**os.environ, **published.environment, "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(published.environment["HF_HUB_CACHE"])


def test_what_is_here_wins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert is_hub_name("owner/name")
    (tmp_path / "owner").mkdir()
    assert not is_hub_name("owner/name")  # a mistake in the name of something in this folder
    for name in ("name", "a/b/c", "../name", "/owner/name", "runs/checkpoint_best.pt", "own er/name", "https://a/b"):
        assert not is_hub_name(name)


def test_without_the_package_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"^owner/name: nothing here has this name; fetching it needs .*'\.\[hub\]'"):
        fetch("owner/name", FILES)
