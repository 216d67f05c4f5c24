import functools
import http.server
import io
import shutil
import threading
import zipfile

import pytest
from refusals import refusal, script
from toy_glue import write_glue, write_tsv

from pixelgpt_fairseq.data.data_folder import DataFolder
from pixelgpt_fairseq.sources import glue_download
from pixelgpt_fairseq.sources.glue_download import files_of

main = script("download_glue")


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def send_header(self, name, value):
        if name == "Content-Length" and self.path.endswith("SST-2.zip"):  # promises more than it sends
            value = str(int(value) + 10)
        super().send_header(name, value)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A folder with what GLUE's server has of some tasks, and its address."""
    folder = tmp_path_factory.mktemp("server")
    glue, data = write_glue(folder / "source"), folder / "glue" / "data"
    shutil.copy(glue / "diagnostic" / "diagnostic.tsv", write_tsv(data / "AX.tsv"))
    for name in ("RTE", "MNLI", "SST-2"):
        with zipfile.ZipFile(data / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as packed:
            packed.writestr(f"{name}/original/README", "not needed")
            packed.writestr("../escaped.tsv", "outside")
            for path in (glue / name).iterdir():
                packed.write(path, f"{name}/{path.name}")
    with zipfile.ZipFile(data / "WNLI.zip", "w") as packed:
        packed.write(glue / "RTE" / "train.tsv", "WNLI/train.tsv")
    with zipfile.ZipFile(data / "STS-B.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("STS-B/train.tsv", "0")
        packed.writestr("STS-B/dev.tsv", bytes(1_000_000))
    (data / "CoLA.zip").write_bytes((data / "RTE.zip").read_bytes()[:3000])
    (data / "QNLIv2.zip").write_bytes(_with_a_wrong_byte(glue / "RTE"))
    header = ("\ufeffQuality", "#1 ID", "#2 ID", "#1 String", "#2 String")
    rows = [(i % 2, 100 + i, 200 + i, f'He said "{i}', f"{i}, he said") for i in range(10)]
    senteval = folder / "senteval" / "senteval_data"
    write_tsv(senteval / "msr_paraphrase_train.txt", header, *rows)
    write_tsv(senteval / "msr_paraphrase_test.txt", header, *rows[:3])
    write_tsv(data / "mrpc_dev_ids.tsv", *(row[1:3] for row in rows[3:6]))
    handler = functools.partial(Handler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield folder, f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def _with_a_wrong_byte(folder):
    """An archive whose contents do not fit their checksum."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:  # stored as it is
        for path in folder.iterdir():
            packed.write(path, f"QNLI/{path.name}")
    content = bytearray(archive.getvalue())
    place = content.index((folder / "train.tsv").read_bytes()) + 50
    content[place] ^= 1
    return bytes(content)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def get(server, tmp_path):
    """download_glue.py with tasks and options, into a folder of its own."""

    def run(*arguments):
        main(["--destdir", str(tmp_path / "GLUE"), "--base-url", server[1], *arguments])
        return tmp_path / "GLUE"

    return run


@pytest.fixture
def refused(server, tmp_path):
    """The line with which download_glue.py refuses, which must leave no file behind."""

    def run(task, *options):
        line = refusal(main, "--destdir", tmp_path / "GLUE", "--base-url", server[1], "--tasks", task, *options)
        assert not [path for path in tmp_path.rglob("*") if path.is_file()]
        return line.removeprefix(f"{server[1]}/")

    return run


def test_a_task_is_unpacked_as_render_glue_reads_it(server, get, tmp_path, capsys):
    glue = get("--tasks", "rte", "mnli")
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == sorted(
        f"GLUE/{name}" for task in ("rte", "mnli") for name in files_of(task)
    )
    for name in ("RTE/train.tsv", "MNLI/test_mismatched.tsv"):
        assert (glue / name).read_bytes() == (server[0] / "source" / name).read_bytes()
    assert f"{glue / 'RTE'}: train.tsv, dev.tsv, test.tsv, " in capsys.readouterr().out
    script("render_glue")(["--glue-dir", str(glue), "--task", "mnli", "--destdir", str(tmp_path / "data")])
    assert "ax" in DataFolder(tmp_path / "data").splits()


def test_mrpc_is_cut_by_glues_list(get):
    glue = get("--tasks", "mrpc")
    header, *dev = (glue / "MRPC" / "dev.tsv").read_text(encoding="utf-8").splitlines()
    assert header == "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String"
    assert dev == [f'{i % 2}\t{100 + i}\t{200 + i}\tHe said "{i}\t{i}, he said' for i in (3, 4, 5)]
    assert len((glue / "MRPC" / "train.tsv").read_text().splitlines()) == 1 + 7
    header, *test = (glue / "MRPC" / "test.tsv").read_text().splitlines()
    assert header == "index\t#1 ID\t#2 ID\t#1 String\t#2 String"
    assert test[1] == '1\t101\t201\tHe said "1\t1, he said'
    assert sorted(path.name for path in glue.rglob("*")) == ["MRPC", "dev.tsv", "test.tsv", "train.tsv"]


def test_files_that_are_there_are_replaced_only_when_asked(get, tmp_path):
    mine = write_tsv(tmp_path / "GLUE" / "RTE" / "dev.tsv", ("mine",))
    other = write_tsv(tmp_path / "GLUE" / "RTE" / "notes.tsv", ("mine",))
    with pytest.raises(SystemExit, match=r"RTE/dev\.tsv: already there: choose another --destdir, or pass --overwrite"):
        get("--tasks", "rte")
    assert mine.read_text() == "mine\n"
    get("--tasks", "rte", "--overwrite")
    assert mine.read_text() != "mine\n"
    assert other.read_text() == "mine\n"


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("qqp", "glue/data/QQP-clean.zip: the server answers 404 File not found: name a mirror with --base-url"),
        ("cola", "glue/data/CoLA.zip: not a whole zip archive (File is not a zip file): start again"),
        ("qnli", "glue/data/QNLIv2.zip: not a whole zip archive (Bad CRC-32 for file 'QNLI/train.tsv'): start again"),
        ("wnli", "glue/data/WNLI.zip: holds no WNLI/dev.tsv: not an archive of GLUE's"),
    ],
)
def test_what_is_not_glues_is_told_in_one_line_and_leaves_nothing(refused, task, message):
    assert refused(task) == message


def test_a_download_that_breaks_off_is_told_in_one_line(refused):
    line = refused("sst2")
    assert line.startswith("glue/data/SST-2.zip: broken off ")
    assert line.endswith(": start again")


@pytest.mark.parametrize(
    ("task", "most", "message"),
    [
        ("rte", 500, "RTE.zip: more than 500 bytes: not a file of GLUE's"),
        ("stsb", 100_000, "STS-B.zip: STS-B/dev.tsv would have 1,000,000 bytes: not a file of GLUE's"),
    ],
)
def test_sizes_are_bounded_packed_and_unpacked(refused, monkeypatch, task, most, message):
    monkeypatch.setattr(glue_download, "MAX_BYTES", most)
    assert refused(task) == f"glue/data/{message}"


def test_without_a_network_it_is_said_what_to_do(tmp_path):
    options = ["--destdir", tmp_path, "--base-url", "http://127.0.0.1:9", "--tasks", "rte"]
    line = refusal(main, *options)
    assert line.startswith("http://127.0.0.1:9/glue/data/RTE.zip: cannot be reached (")
    assert line.endswith("name them with pixelgpt render-glue --glue-dir")
    line = refusal(main, "--destdir", tmp_path, "--base-url", "file:///etc", "--tasks", "rte")
    assert line == "--base-url file:///etc: an address that begins with https:// or http://"
    assert not list(tmp_path.iterdir())
