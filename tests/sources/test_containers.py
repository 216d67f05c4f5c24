"""Files that are not plain text in UTF-8: what is decoded, and what is told of the rest."""

import codecs
import io
import lzma
import random
import sys
import tarfile
import tracemalloc
import zipfile

import pytest
from backports import zstd
from compressed_files import SUFFIXES, compressed

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.sources import sequential
from pixelgpt_fairseq.sources.compression import text_suffix
from pixelgpt_fairseq.sources.containers import open_text
from pixelgpt_fairseq.sources.corpus import read_passages
from pixelgpt_fairseq.sources.corpus_checks import check_inputs
from pixelgpt_fairseq.sources.tables import read_rows

TEXT = "Ein Text: язык, 语言 😀\n\nof two documents\n"


def texts(path, **options):
    return [passage.text for passage in read_passages([path], **options)]


def random_bytes(length=5000):
    return random.Random(1).randbytes(length)


# Compression


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", ["corpus{}", "corpus.txt"])
def test_compressed_files_are_text_whatever_their_name(tmp_path, suffix, name):
    content = "\n\n".join(["one", "two " * 5000, "three"]).encode()
    path = compressed(tmp_path / f"corpus{suffix}", content)
    path.write_bytes(path.read_bytes() + compressed(tmp_path / f"more{suffix}", b"\n\nfour").read_bytes())
    path = path.rename(tmp_path / name.format(suffix))
    assert texts(path) == ["one", ("two " * 5000).strip(), "three", "four"]


def test_streams_of_xz_may_be_padded_and_of_the_older_format(tmp_path):
    path = tmp_path / "corpus.xz"
    path.write_bytes(lzma.compress(b"one\n\n") + bytes(8) + lzma.compress(b"two") + bytes(4))
    assert texts(path) == ["one", "two"]
    path.write_bytes(lzma.compress(b"three", format=lzma.FORMAT_ALONE))
    assert texts(path) == ["three"]


def cut(content):
    return content[: len(content) // 2]


def flip(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0x55]) + content[middle + 1 :]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("damage", [cut, flip, lambda content: content + b"something else"])
def test_damaged_compressed_files_are_named(tmp_path, suffix, damage):
    numbers = random.Random(1)
    content = "\n\n".join(f"{numbers.getrandbits(64)}" for _ in range(5000)).encode()
    path = compressed(tmp_path / f"corpus{suffix}", content)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=rf"corpus{suffix}: damaged, or cut short: .*: fetch it again$"):
        list(read_passages([path]))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_name_that_is_wrong_is_told(tmp_path, suffix):
    path = tmp_path / f"corpus{suffix}"
    path.write_text(TEXT, encoding="utf-8")
    with pytest.raises(UserError, match=rf"corpus{suffix}: its name says \w+, but it is plain text: take the suffix"):
        check_inputs([path])
    path.write_bytes(random_bytes())
    with pytest.raises(UserError, match=rf"corpus{suffix}: its name says \w+, but it is neither .*: fetch it again"):
        check_inputs([path])
    other = compressed(tmp_path / f"corpus{SUFFIXES[SUFFIXES.index(suffix) - 1]}", TEXT.encode())
    assert texts(other.rename(path)) == ["Ein Text: язык, 语言 😀", "of two documents"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_decompression_bomb_takes_no_memory(tmp_path, suffix):
    block = b"a" * (1 << 20)
    path = compressed(tmp_path / f"corpus{suffix}", block)
    path.write_bytes(path.read_bytes() * 32)  # 32 MiB in one line
    tracemalloc.start()
    length = sum(len(passage.text) for passage in read_passages([path]))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert length == 32 << 20
    assert peak < 16 << 20


def test_streams_that_ask_for_much_memory_are_refused(tmp_path):
    path = tmp_path / "corpus.zst"
    compressor = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 30})
    path.write_bytes(compressor.compress(b"text\n") + compressor.flush())
    with pytest.raises(UserError, match=r"corpus.zst: .* too much memory"):
        list(read_passages([path]))
    path = tmp_path / "corpus.xz"
    content = bytearray(lzma.compress(b"text\n", format=lzma.FORMAT_ALONE))
    content[1:5] = (1 << 30).to_bytes(4, "little")  # the size of its dictionary
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"corpus.xz: .*emory usage limit"):
        list(read_passages([path]))


def test_without_the_zstd_package_it_is_named(tmp_path, monkeypatch):
    path = compressed(tmp_path / "corpus.zst", b"text")
    monkeypatch.setitem(sys.modules, "backports.zstd", None)
    monkeypatch.delattr("backports.zstd", raising=False)
    with pytest.raises(UserError, match=r"corpus.zst: to read zstd, run `pip install backports.zstd`"):
        check_inputs([path])


def test_the_suffix_of_a_text_is_that_before_its_compression():
    names = ("a.csv", "A.CSV.XZ", "a.b.tsv.gz", "a.gz", "a")
    assert [text_suffix(name) for name in names] == [".csv", ".csv", ".tsv", "", ""]


# Encodings


ENCODINGS = ("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be")


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("mark", [False, True])
def test_every_unicode_encoding_is_read(tmp_path, encoding, mark):
    path = tmp_path / "corpus.txt"
    path.write_text(("\ufeff" if mark and encoding[-3:] in ("-le", "-be") else "") + TEXT, encoding=encoding)
    assert texts(path) == ["Ein Text: язык, 语言 😀", "of two documents"]


def test_offsets_in_decoded_text_are_those_of_its_utf8(tmp_path, monkeypatch):
    monkeypatch.setattr(sequential, "READ_BYTES", 7)
    path = tmp_path / "corpus.txt"
    path.write_text(TEXT * 9, encoding="utf-16-le")
    whole = (TEXT * 9).encode()
    with open_text(path) as (file, _):
        for offset in (0, 40, 3, len(whole), 100, 5000):
            assert file.seek(offset) == min(offset, len(whole))
            assert file.read() == whole[offset:]


def test_damaged_utf16_is_told_or_replaced(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_bytes("one\n".encode("utf-16") + b"\x3d\xd8" + "two".encode("utf-16-le"))
    with pytest.raises(UserError, match=r"corpus.txt: not UTF-16-LE, as its beginning is: .*--encoding-errors replace"):
        texts(path)
    assert texts(path, encoding_errors="replace") == ["one \ufffdtwo"]


@pytest.mark.parametrize("errors", ["fail", "replace"])
@pytest.mark.parametrize("content", ["текст на языке " * 40, "语言可以被看作图像" * 40], ids=["russian", "chinese"])
def test_text_of_other_encodings_is_never_drawn_as_signs_of_replacement(tmp_path, content, errors):
    path = tmp_path / "corpus.txt"
    path.write_text(content, encoding="gb18030" if content[0] == "语" else "cp1251")
    with pytest.raises(UserError, match=r"corpus.txt: not text in UTF-8: .*iconv"):
        texts(path, encoding_errors=errors)


def test_a_text_with_some_bad_bytes_is_one(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_bytes("Où est le café préféré de l'élève ?\n".encode("latin-1") * 5000)
    assert texts(path, encoding_errors="replace")[0].startswith("O\ufffd est le caf\ufffd")
    path.write_bytes(b"a\0b\0\n" + b"words and words\n" * 100)
    assert texts(path)[0].startswith("a b words")


@pytest.mark.parametrize("before", [0, 1_000_000])
@pytest.mark.parametrize("after", [0, 1_000_000])
def test_bytes_that_are_no_text_are_found_wherever_they_are(tmp_path, before, after):
    path = tmp_path / "corpus.txt"
    line = b"a line of text\n"
    path.write_bytes(line * (before // len(line)) + random_bytes(100_000) + line * (after // len(line)))
    with pytest.raises(UserError, match=r"corpus.txt.*: not text in UTF-8"):
        texts(path, encoding_errors="replace")


# Other formats


def zipped():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.txt", TEXT)
    return file.getvalue()


def tarred():
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.txt"))
    return file.getvalue()


FOREIGN = {
    "a ZIP archive or an office document": zipped(),
    "a tar archive": tarred(),
    "a 7z archive": b"7z\xbc\xaf\x27\x1c\0\x04" + random_bytes(),
    "an Arrow file": b"ARROW1\0\0" + random_bytes(),
    "a PDF": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj",
    "a rich text file": rb"{\rtf1\ansi text}",
    "a picture": b"\x89PNG\r\n\x1a\n" + random_bytes(),
    "an lz4 file": b"\x04\x22\x4d\x18" + random_bytes(),
}


@pytest.mark.parametrize("errors", ["fail", "replace"])
@pytest.mark.parametrize("what", FOREIGN)
@pytest.mark.parametrize("suffix", [".txt", ".gz", ".xz"])
def test_what_is_no_text_is_named(tmp_path, what, suffix, errors):
    path = compressed(tmp_path / f"corpus{suffix}", FOREIGN[what])
    with pytest.raises(UserError, match=rf"corpus{suffix}: this is {what}, not text: "):
        texts(path, encoding_errors=errors)


@pytest.mark.parametrize("suffix", ["", *SUFFIXES])
def test_tables_are_read_in_every_container_and_encoding(tmp_path, suffix):
    content = "text,label\nein Text: 语言 😀,1\n"
    for encoding in ("utf-8", "utf-16"):
        path = compressed(tmp_path / f"a.csv{suffix}", content.encode(encoding))
        assert [row.values for row in read_rows(path, ["text", "label"])] == [("ein Text: 语言 😀", "1")]
    for what, content in (*FOREIGN.items(), ("a Parquet file", b"PAR1\x15\x04\x15" + random_bytes())):
        path = compressed(tmp_path / f"b.tsv{suffix}", content)
        with pytest.raises(UserError, match=rf"b.tsv{suffix}: this is {what}, not text"):
            list(read_rows(path, ["text"]))


def test_compressed_twice_is_told(tmp_path):
    once = compressed(tmp_path / "corpus.gz", TEXT.encode())
    with pytest.raises(UserError, match=r"corpus.xz: gzip within xz: decompress it once"):
        check_inputs([compressed(tmp_path / "corpus.xz", once.read_bytes())])


@pytest.mark.parametrize("start", ["ORCHESTRAS play.", "PAR1 is a word", "BZh9 is none", "PK", "Rar!", "{ a brace"])
def test_a_text_may_begin_as_it_likes(tmp_path, start):
    path = tmp_path / "corpus.txt"
    path.write_text(start + "\nand a second line\n")
    check_inputs([path])
    assert texts(path) == [f"{start} and a second line"]


def test_a_file_of_a_mark_alone_is_empty(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_bytes(codecs.BOM_UTF16_LE)
    with pytest.raises(UserError, match=r"corpus.txt: no text: only white space"):
        texts(path)
