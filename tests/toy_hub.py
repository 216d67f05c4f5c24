"""A server that speaks the few calls of the Hugging Face hub by which files are fetched."""

import contextlib
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE = (".safetensors", ".gz", ".tar")  # kept by LFS, known by SHA-256; others by git's SHA-1


class Hub:
    """What the server has, and what it was asked.

    Attributes:
        repositories: (kind, name) -> path -> content.
        damaged: paths of which other bytes are sent than those that the checksum is of.
        break_off: path -> iterator: after how many bytes each answer is broken off.
        asked: (method, path, range or None) of every request for a file.
    """

    def __init__(self):
        self.repositories, self.damaged, self.break_off, self.asked = {}, set(), {}, []

    def add(self, name, folder, kind="model"):
        """Publish the files of a folder."""
        self.repositories[kind, name] = {
            str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
        }


def _checksum(path, content):
    if path.endswith(LARGE):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self._answer(body=False)

    def do_GET(self):
        self._answer(body=True)

    def _answer(self, body):
        parts = urlsplit(self.path).path.strip("/").split("/")
        if parts[0] == "api":
            kind, name, call = parts[1].removesuffix("s"), "/".join(parts[2:4]), parts[4]
            files = self.server.hub.repositories.get((kind, name))
            if files is None:
                return self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
            found = {"id": name, "sha": COMMIT, "siblings": [{"rfilename": path} for path in files]}
            return self._send(200, json.dumps(self._tree(files) if call == "tree" else found).encode())
        kind = "dataset" if parts[0] == "datasets" else "model"
        parts = parts[kind == "dataset" :]
        files = self.server.hub.repositories.get((kind, "/".join(parts[:2])), {})
        path = "/".join(parts[4:])
        if path not in files:
            return self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
        return self._send_file(path, files[path], body)

    def _tree(self, files):
        entries = []
        for path, content in files.items():
            entry = {"type": "file", "path": path, "size": len(content), "oid": _checksum("", content)}
            if path.endswith(LARGE):
                entry["lfs"] = {"oid": _checksum(path, content), "size": len(content), "pointerSize": 130}
            entries.append(entry)
        return entries

    def _send_file(self, path, content, body):
        hub, wanted = self.server.hub, self.headers.get("Range")
        hub.asked.append((self.command, path, wanted))
        headers = {"ETag": f'"{_checksum(path, content)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if path in hub.damaged:
            content = bytes(255 - byte for byte in content)
        if not body:
            return self._send(200, content, headers, body=False)
        begin = int(wanted.removeprefix("bytes=").partition("-")[0]) if wanted else 0
        if wanted:
            headers["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        return self._send(
            206 if wanted else 200, content[begin:], headers, next(hub.break_off.get(path, iter(())), None)
        )

    def _send(self, status, content, headers=(), most=None, body=True):
        self.send_response(status)
        for key, value in {**dict(headers), "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            if body:
                self.wfile.write(content[:most])
        if most is not None:
            self.close_connection = True

    def log_message(self, *args):
        pass


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub at which the package that fetches looks, with an empty cache."""
    pytest.importorskip("huggingface_hub")
    from huggingface_hub import constants

    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.hub = Hub()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    server.hub.environment = {"HF_ENDPOINT": address, "HF_HUB_CACHE": str(tmp_path / "hub")}
    server.hub.shutdown = server.shutdown
    # What the environment variables set when the package is imported.
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    yield server.hub
    server.shutdown()
    server.server_close()
