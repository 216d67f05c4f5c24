"""Prose out of the files of a Debian package: HTML, plain text, fortunes, dictionaries of dictd, manuals."""

import gzip
import re
import shutil
import subprocess
from html.parser import HTMLParser

from pixelgpt_fairseq.errors import UserError

SHORTEST, LONGEST = 3, 60  # words of a sentence
MOST_CHARACTERS = 400  # of a sentence: some 200 patches
LETTERS = 0.9  # share of letters and spaces among the characters of a sentence; of code and tables it is smaller
MOST_BYTES = 50_000_000  # of a file: no documentation is larger
_PARAGRAPHS = {"p", "li", "dd", "dt", "td", "div", "blockquote", "h1", "h2", "h3", "h4"}
_NOT_PROSE = {"script", "style", "pre", "head", "nav"}
_ROFF_ESCAPES = (
    (r"\\f(\[\w*\]|\(..|.)", ""),
    (r"\\s[-+]?\d+", ""),
    (r"\\\((?:aq|cq|oq)", "'"),
    (r"\\\(..|\\[&|^%/,]", ""),
)


def fetch(package, folder):
    """Download a Debian package by apt-get and unpack it below *folder*, without installing it.

    Returns:
        (Path, str): the folder with its files, and its version; None if apt does not offer the package.

    Raises:
        UserError: if this machine has no apt-get or no dpkg-deb.
    """
    for program in ("apt-get", "dpkg-deb"):
        if shutil.which(program) is None:
            raise UserError(f"{program}: not found: packages are fetched by Debian's or Ubuntu's; leave --packages out")
    subprocess.run(["apt-get", "download", package], cwd=folder, capture_output=True)
    archive = next(folder.glob(f"{package}_*.deb"), None)
    if archive is None:
        return None
    unpacked = folder / package
    subprocess.run(["dpkg-deb", "-x", archive, unpacked], check=True)
    version = subprocess.run(["dpkg-deb", "-f", archive, "Version"], check=True, capture_output=True, text=True)
    archive.unlink()
    return unpacked, version.stdout.strip()


def license_of(unpacked, package):
    """The licenses that an unpacked package's copyright file names."""
    path = unpacked / f"usr/share/doc/{package}/copyright"
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    named = re.findall(r"^License: *(\S.*?) *$", text, re.MULTILINE) or re.findall(r"common-licenses/([\w.-]*\w)", text)
    return ", ".join(dict.fromkeys(named)) or f"see its file {path.relative_to(unpacked)}"


def sentences_of(unpacked):
    """Yield the sentences of all files of an unpacked package, in the order of their names."""
    for path in sorted(unpacked.rglob("*")):
        if path.is_symlink() or not path.is_file() or re.match("changelog|copyright|NEWS", path.name):
            continue
        for paragraph in paragraphs(path):
            yield from split_sentences(paragraph)


def paragraphs(path):
    """Yield the paragraphs of a file; none of a kind of file that holds no prose."""
    name = path.name.removesuffix(".gz")
    if name.endswith((".html", ".htm", ".xhtml")):
        parser = _Paragraphs()
        parser.feed(read_text(path))
        parser.close()
        yield from parser.paragraphs
    elif name.endswith(".dict.dz"):  # senses, in which examples stand in quotation marks
        text = re.sub(r"\[[^][]*\]|[{}]", "", read_text(path))
        for sense in re.split(r"\n(?=\S)|\n\s+(?:\w{1,3} )?\d+: ", text):
            yield from re.split(r'[;"]', sense)
    elif re.search(r"/man/(\w+/)?man\d/", str(path)):
        yield from _manual(read_text(path))
    elif name.endswith((".txt", ".text")) or (path.parent.name == "fortunes" and not path.suffix):
        yield from re.split(r"\n\s*\n|\n%\n", read_text(path))


def read_text(path):
    """The text of a file, gzip or not; empty if it is too large. What is not UTF-8 becomes a replacement character."""
    with (gzip.open if path.suffix in (".gz", ".dz") else open)(path, "rb") as file:
        content = file.read(MOST_BYTES + 1)
    return "" if len(content) > MOST_BYTES else content.decode("utf-8", errors="replace")


class _Paragraphs(HTMLParser):
    """Gathers the text between the tags of paragraphs."""

    def __init__(self):
        super().__init__()
        self.paragraphs, self.parts, self.hidden = [], [], 0

    def handle_starttag(self, tag, attrs):
        if tag in _PARAGRAPHS:
            self.end_paragraph()
        self.hidden += tag in _NOT_PROSE

    def handle_endtag(self, tag):
        if tag in _PARAGRAPHS:
            self.end_paragraph()
        self.hidden = max(0, self.hidden - (tag in _NOT_PROSE))

    def handle_data(self, data):
        if not self.hidden:
            self.parts.append(data)

    def close(self):
        super().close()
        self.end_paragraph()

    def end_paragraph(self):
        """Keep what was gathered."""
        self.paragraphs.append("".join(self.parts))
        self.parts = []


def _manual(text):
    """Yield the paragraphs of a manual page: runs of lines that are no requests to the typesetter."""
    for pattern, replacement in _ROFF_ESCAPES:
        text = re.sub(pattern, replacement, text)
    yield from re.split(r"\n(?:[.'].*\n?)+", text.replace("\\-", "-").replace("\\e", "\\"))


def split_sentences(paragraph):
    """Yield the sentences of a paragraph that are prose."""
    text = " ".join(paragraph.split())
    for sentence in re.split(r"(?<=[.!?])\s+(?=[^\W\d_a-zà-ÿ])", text):
        if is_prose(sentence):
            yield sentence


def is_prose(sentence):
    """Whether a sentence is words, and neither code, a table nor a list."""
    if not SHORTEST <= len(sentence.split()) <= LONGEST or len(sentence) > MOST_CHARACTERS or "�" in sentence:
        return False
    letters = sum(character.isalpha() or character == " " for character in sentence)
    return letters >= LETTERS * len(sentence) and not re.search(r"https?:|[<>{}\\|=_@#]", sentence)
