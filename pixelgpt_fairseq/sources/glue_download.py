"""Downloads GLUE's public files into the folders that :mod:`pixelgpt_fairseq.sources.glue` reads.

Downloads are bounded in size and checked. Only the needed files are extracted from an archive, by name, so that its
paths cannot lead outside the folder.
"""

import http.client
import shutil
import urllib.error
import urllib.parse
import urllib.request
import zipfile
import zlib
from pathlib import Path

from tqdm import tqdm

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.sources.glue import GLUE_TASKS
from pixelgpt_fairseq.storage.files import check_absent, move, scratch_folder

BASE_URL = "https://dl.fbaipublicfiles.com"
_ARCHIVES = {
    "cola": "glue/data/CoLA.zip",
    "sst2": "glue/data/SST-2.zip",
    "stsb": "glue/data/STS-B.zip",
    "qqp": "glue/data/QQP-clean.zip",
    "mnli": "glue/data/MNLI.zip",
    "qnli": "glue/data/QNLIv2.zip",
    "rte": "glue/data/RTE.zip",
    "wnli": "glue/data/WNLI.zip",
}
_DIAGNOSTIC = ("glue/data/AX.tsv", "AX/AX.tsv")  # comes with MNLI
# MRPC is Microsoft's and in no archive of GLUE's: GLUE cuts its training file in two by a list of pairs.
_MRPC = {
    "train": "senteval/senteval_data/msr_paraphrase_train.txt",
    "test": "senteval/senteval_data/msr_paraphrase_test.txt",
    "dev ids": "glue/data/mrpc_dev_ids.tsv",
}
MAX_BYTES = 1 << 30  # of a file, packed or not; the largest there is, MNLI's, has a third of it
_BLOCK = 1 << 20
_TIMEOUT = 60  # seconds without a byte
_NO_NETWORK = (
    "this needs the internet, or a mirror named with --base-url; GLUE folders from another machine do as well: "
    "name them with pixelgpt render-glue --glue-dir"
)


def download(task, destdir, base_url=BASE_URL, overwrite=False, progress=True) -> list[Path]:
    """Fetch the files of a task.

    Args:
        task: ``rte``, say.
        destdir: the GLUE folder, made if absent: gets ``RTE/train.tsv`` and so on.
        base_url: where the paths of GLUE's files begin.
        overwrite: replace files that are there.
        progress: show a bar.

    Returns:
        The files, which are all there or, if anything is wrong, none of them.

    Raises:
        UserError: if files are there already, the server cannot be reached, or what it sends is not what it should be.
    """
    destdir, names = Path(destdir), files_of(task)
    for name in names:
        check_absent(destdir / name, "another --destdir", overwrite)
    try:
        destdir.mkdir(parents=True, exist_ok=True)
        with scratch_folder(destdir / task) as partial:
            _fetch(task, base_url, partial, progress)
            for name in names:
                (destdir / name).parent.mkdir(exist_ok=True)
            for name in names:
                move(partial / name, destdir / name)
    except OSError as error:
        raise UserError(f"{error.filename or destdir}: {error.strerror or error}") from None
    return [destdir / name for name in names]


def files_of(task) -> list[str]:
    """Names of a task's files in a GLUE folder."""
    return [source.files[0] for source in GLUE_TASKS[task][1]]


def _fetch(task, base_url, folder, progress):
    """Put the files of a task into *folder*, under the names that they have in a GLUE folder."""
    for name in files_of(task):
        (folder / name).parent.mkdir(exist_ok=True)
    if task == "mrpc":
        parts = {part: folder / Path(path).name for part, path in _MRPC.items()}
        for part, path in _MRPC.items():
            _get(base_url, path, parts[part], progress)
        _cut_mrpc(parts, folder / "MRPC")
        return
    archive = folder / "archive.zip"
    url = _get(base_url, _ARCHIVES[task], archive, progress)
    names = files_of(task)
    if task == "mnli":
        names.remove(_DIAGNOSTIC[1])
        _get(base_url, _DIAGNOSTIC[0], folder / _DIAGNOSTIC[1], progress)
    _unpack(url, archive, names, folder)
    archive.unlink()


def _get(base_url, path, target, progress) -> str:
    """Fetch a file; returns its URL.

    Raises:
        UserError: if it cannot be downloaded completely and within the size limit.
    """
    url = f"{base_url.rstrip('/')}/{path}"
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise UserError(f"--base-url {base_url}: an address that begins with https:// or http://")
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT) as answer, open(target, "wb") as file:
            expected = answer.headers.get("Content-Length")
            total, received = int(expected) if expected and expected.isdigit() else None, 0
            with tqdm(total=total, unit="B", unit_scale=True, desc=Path(path).name, disable=not progress) as bar:
                for block in iter(lambda: answer.read(_BLOCK), b""):
                    received += len(block)
                    if max(received, total or 0) > MAX_BYTES:
                        raise UserError(f"{url}: more than {MAX_BYTES:,} bytes: not a file of GLUE's")
                    file.write(block)
                    bar.update(len(block))
    except urllib.error.HTTPError as error:
        raise UserError(
            f"{url}: the server answers {error.code} {error.reason}: name a mirror with --base-url"
        ) from None
    except urllib.error.URLError as error:
        raise UserError(f"{url}: cannot be reached ({error.reason}): {_NO_NETWORK}") from None
    except (TimeoutError, ConnectionError, http.client.HTTPException) as error:
        raise UserError(f"{url}: broken off ({error or type(error).__name__}): start again") from None
    if total is not None and received != total:
        raise UserError(f"{url}: broken off after {received:,} of {total:,} bytes: start again")
    return url


def _unpack(url, archive, names, folder):
    """Take the files *names* from an archive; what else it holds stays there."""
    try:
        with zipfile.ZipFile(archive) as packed:
            held = {info.filename: info for info in packed.infolist()}
            for name in names:
                if name not in held:
                    raise UserError(f"{url}: holds no {name}: not an archive of GLUE's")
                if held[name].file_size > MAX_BYTES:
                    raise UserError(f"{url}: {name} would have {held[name].file_size:,} bytes: not a file of GLUE's")
                with packed.open(held[name]) as source, open(folder / name, "wb") as target:
                    shutil.copyfileobj(source, target, _BLOCK)  # no longer than said, and its checksum is checked
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise UserError(f"{url}: not a whole zip archive ({error}): start again") from None


def _cut_mrpc(parts, folder):
    """Write MRPC's three files as GLUE has them: pairs of the list go to dev.tsv, tests lose their labels."""
    chosen = {tuple(row[:2]) for row in _rows(parts["dev ids"])}
    header, *pairs = _rows(parts["train"])
    _, *tests = _rows(parts["test"])
    for row in (header, *pairs, *tests):
        if len(row) != 5:
            raise UserError(f"{_MRPC['train']}, {_MRPC['test']}: a row of {len(row)} columns instead of 5: not MRPC")
    dev = [row for row in pairs if tuple(row[1:3]) in chosen]
    if not dev or len(dev) == len(pairs):
        raise UserError(f"{_MRPC['dev ids']}: the pairs that it lists are {len(dev)} of {len(pairs)} of MRPC's")
    _write(folder / "train.tsv", [header, *(row for row in pairs if tuple(row[1:3]) not in chosen)])
    _write(folder / "dev.tsv", [header, *dev])
    numbered = ([str(number), *row[1:]] for number, row in enumerate(tests))
    _write(folder / "test.tsv", [["index", *header[1:]], *numbered])
    for path in parts.values():
        path.unlink()


def _rows(path):
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path.name}: byte {error.start}: not UTF-8: not a file of MRPC") from None
    return [line.rstrip("\r").split("\t") for line in text.split("\n") if line.strip()] or [[]]


def _write(path, rows):
    path.write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8", newline="\n")
