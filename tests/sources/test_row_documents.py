"""Rows of JSON lines and Parquet as documents: long ones, bad ones, and going on after any of them."""

import io
import itertools
import json
import random
import sys
import tracemalloc
import types

import pytest
from compressed_files import SUFFIXES, compressed
from skips import needs_pyarrow, pyarrow

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.sources import row_documents
from pixelgpt_fairseq.sources.bad_rows import SkippedRows
from pixelgpt_fairseq.sources.corpus import read_passages
from pixelgpt_fairseq.sources.corpus_checks import check_inputs
from pixelgpt_fairseq.sources.passages import Position
from pixelgpt_fairseq.sources.row_documents import Fields

FORMATS = ["json", pytest.param("parquet", marks=needs_pyarrow)]
LIMIT = "pixelgpt_fairseq.sources.passages.MAX_PASSAGE_CHARACTERS"


def write(path, rows, **options):
    """Write rows (dicts, or for JSON also bytes) in the format that the path names; compressed if it names that."""
    if ".parquet" in path.name:
        from pyarrow import parquet

        file = io.BytesIO()
        table = rows if isinstance(rows, pyarrow.Table) else pyarrow.Table.from_pylist(rows)
        parquet.write_table(table, file, **{"row_group_size": 3, **options})
        return compressed(path, file.getvalue())
    return compressed(path, b"\n".join(row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows))


def texts(paths, **options):
    return [passage.text for passage in read_passages(paths, **options)]


@pytest.fixture
def standard_input(monkeypatch):
    """Gives bytes on standard input."""

    def give(content):
        monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=io.BytesIO(content)))

    return give


def long_rows():
    numbers = random.Random(1)
    words = ["a", "word", "słowo", "日本語", "x" * 6, "\n", "\t"]
    return [{"text": " ".join(numbers.choices(words, k=numbers.randrange(1, 60))) + " end", "n": i} for i in range(12)]


@pytest.mark.parametrize("limit", [40, 1 << 20])
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("suffix", ["", *SUFFIXES])
def test_reading_goes_on_after_any_passage(tmp_path, monkeypatch, kind, suffix, limit):
    paths = [write(tmp_path / f"{name}.{kind}{suffix}", [{"text": name}, *long_rows()]) for name in "ab"]
    complete = texts(paths)
    monkeypatch.setattr(LIMIT, limit)
    whole = list(read_passages(paths))
    assert len(whole) > 30 if limit < 100 else len(whole) == len(complete)
    assert sum(passage.ends_document for passage in whole) == sum(p.starts_document for p in whole) == len(complete)
    joined = "".join(("\n" if p.starts_document else "") + p.text.replace(" ", "") for p in whole)
    assert joined.split("\n")[1:] == [text.replace(" ", "") for text in complete]
    assert max(len(passage.text) for passage in whole) <= limit
    for number, passage in list(enumerate(whole))[:: 5 if suffix else 1]:
        position = Position(*json.loads(json.dumps(passage.after)))
        assert [p[:3] for p in read_passages(paths, start=position)] == [p[:3] for p in whole[number + 1 :]]


BAD = {
    "line 2: no field 'text': it has 'url'": {"url": "a"},
    "line 2: 'text' is null, not a text": {"text": None},
    "line 2: 'text' is 5, not a text": {"text": 5},
    "line 2: 'text' is a list, not a text": {"text": ["a"]},
    "line 2: not a JSON object": [1],
    "line 2: not JSON: ": b'{"text": "cut sho',
    "line 2: not JSON: Exceeds": b'{"text": "a", "n": ' + b"1" * 5000 + b"}",
    "line 2: not JSON: maximum recursion": b'{"text": "a", "n": ' + b"[" * 200_000,
    "line 2: byte 0xe9 is not UTF-8": b'{"text": "\xe9"}',
    "line 2: 'text' holds half a character": b'{"text": "a \\ud83d b"}',
    "line 2: longer than 400,000 bytes": {"text": "word " * 100_000},
}


@pytest.mark.parametrize("message", BAD)
def test_bad_rows_are_named_and_skipped_on_request(tmp_path, monkeypatch, message):
    monkeypatch.setattr(row_documents, "MAX_ROW_BYTES", 400_000)
    path = write(tmp_path / "a.jsonl", [{"text": "one"}, BAD[message], {"text": " \n"}, b"", {"text": "two"}])
    with pytest.raises(UserError) as error:
        texts([path])
    assert str(error.value).startswith(f"{path}, {message}")
    assert str(error.value).endswith(": mend it, or pass --skip-bad-rows")
    assert "\n" not in str(error.value)
    skipped = SkippedRows()
    assert texts([path], on_bad_row=skipped) == ["one", "two"]
    assert skipped.count == 1
    assert str(skipped.first[0]).startswith(f"{path}, {message}")


def test_bad_rows_are_counted_once_when_reading_goes_on(tmp_path):
    bad = {"url": "a"}
    rows = [bad, {"text": "one"}, bad, bad, {"text": "two"}, bad]
    paths = [write(tmp_path / f"{name}.jsonl", rows) for name in "ab"]
    (tmp_path / "c.txt").write_text("three")
    paths.append(tmp_path / "c.txt")
    positions = [passage.after for passage in read_passages(paths, on_bad_row=SkippedRows())]
    assert [position.bad_rows for position in positions] == [1, 3, 5, 7, 8]
    for position in positions:
        later = SkippedRows()
        list(read_passages(paths, start=position, on_bad_row=later))
        assert position.bad_rows + later.count == 8


def test_bytes_that_are_not_utf8_and_half_characters_are_replaced_on_request(tmp_path):
    path = write(tmp_path / "a.jsonl", [b'{"text": "a\xe9b"}', b'{"text": "a\\ud83db"}'])
    assert texts([path], encoding_errors="replace") == ["a\ufffdb", "a\ufffdb"]


def test_json_lines_in_any_encoding(tmp_path):
    content = '{"text": "ein Text: язык 😀"}\r\n{"text": "zwei"}\r\n'
    for encoding in ("utf-8-sig", "utf-16"):
        path = compressed(tmp_path / "a.jsonl.xz", content.encode(encoding))
        assert texts([path]) == ["ein Text: язык 😀", "zwei"]


def test_nested_names_and_names_with_dots(tmp_path):
    row = {"a": {"b.c": {"d": "nested"}}, "a.b": "dotted", "id": 7}
    path = write(tmp_path / "a.jsonl", [row])
    assert texts([path], fields=Fields("a.b.c.d")) == ["nested"]
    (passage,) = read_passages([path], fields=Fields("a.b", "id"))
    assert (passage.text, passage.id) == ("dotted", "7")


def test_a_file_without_any_text_is_told(tmp_path):
    path = write(tmp_path / "a.jsonl", [{"text": " "}])
    with pytest.raises(UserError, match=r"a.jsonl: no text"):
        texts([path])


def test_a_file_of_bad_rows_alone_is_passed_over_unless_there_is_nothing_else(tmp_path):
    bad = write(tmp_path / "bad.jsonl", [{"url": "a"}] * 3)
    good = write(tmp_path / "good.jsonl", [{"text": "one"}])
    skipped = SkippedRows()
    assert texts([bad, good, bad], on_bad_row=skipped) == ["one"]
    assert skipped.count == 6
    with pytest.raises(UserError, match=r"bad.jsonl, .*bad.jsonl: no text: all 6 rows are bad"):
        texts([bad, bad], on_bad_row=skipped)


def test_memory_is_bound_by_the_longest_row_that_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(row_documents, "MAX_ROW_BYTES", 1 << 20)
    path = write(tmp_path / "a.jsonl.gz", [{"text": "word " * 10_000_000}, {"text": "one"}])
    skipped = SkippedRows()
    tracemalloc.start()
    assert texts([path], on_bad_row=skipped) == ["one"]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert skipped.count == 1
    assert peak < 8 << 20


# WikiExtractor's documents


def extracted(texts):
    return "".join(f'<doc id="{i}" url="u" title="Title">\n{text}\n</doc>\n\n' for i, text in enumerate(texts)).encode()


@pytest.mark.parametrize("limit", [40, 1 << 20])
@pytest.mark.parametrize("suffix", ["", ".bz2"])
def test_reading_goes_on_after_any_passage_of_extracted_documents(tmp_path, monkeypatch, suffix, limit):
    paths = [
        compressed(tmp_path / f"wiki_0{i}{suffix}", extracted([row["text"] for row in long_rows()])) for i in (0, 1)
    ]
    monkeypatch.setattr(LIMIT, limit)
    whole = list(read_passages(paths, fields=Fields(id="id")))
    assert sum(passage.ends_document for passage in whole) == 24
    assert whole[-1].id == "11"
    for number, passage in enumerate(whole):
        after = list(read_passages(paths, start=passage.after))
        assert [p[:3] for p in after] == [p[:3] for p in whole[number + 1 :]]


def test_bad_extracted_documents_are_named_and_skipped_on_request(tmp_path, monkeypatch):
    monkeypatch.setattr(row_documents, "MAX_ROW_BYTES", 1000)
    good = extracted(["a &lt;b&gt; c", "two"])
    path = tmp_path / "wiki_00"
    path.write_bytes(
        b'<doc id="1" url="u" title="t">\nno end\n'
        + good
        + b"stray\n"
        + extracted(["word\n" * 300])
        + extracted(["\n"])
        + b"x" * 5000
        + b"\n\n"
        + b'<doc id="2" url="u" title="\xe9">\nx\n</doc>\n'
        + b'<doc id="3" url="u" title="t">\ncut short'
    )
    errors = []
    passages = list(read_passages([path], on_bad_row=errors.append))
    assert [passage.text for passage in passages] == ["a <b> c", "two"]
    assert [str(error).partition("wiki_00, ")[2] for error in errors] == [
        "line 1: a document without </doc>",
        "line 11: not between <doc ...> and </doc>",
        "line 12: longer than 1,000 bytes",
        "line 321: not between <doc ...> and </doc>",
        "line 323: byte 0xe9 in this document is not UTF-8",
        "line 326: a document without </doc>",
    ]
    later = []
    list(read_passages([path], start=passages[-1].after, on_bad_row=later.append))
    assert [str(error) for error in later] == [str(error) for error in errors[1:]]
    with pytest.raises(
        UserError, match=r"wiki_00, line 1: a document without </doc>: mend it, or pass --skip-bad-rows"
    ):
        texts([path])
    with pytest.raises(UserError, match=r"wiki_00: no field 'name': it has 'id', 'url', 'title': name one with --id-f"):
        check_inputs([path], fields=Fields(id="name"))


# Parquet


@needs_pyarrow
@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "zstd", "brotli", "lz4"])
def test_parquet_of_every_codec_and_type_of_text(tmp_path, compression):
    from pyarrow import parquet

    for kind in ("string", "large_string", "binary", "large_binary"):
        path = tmp_path / f"{kind}.parquet"
        values = [{"text": f"text {i % 3} é", "body": {"text": f"nested {i}"}, "n": [i]} for i in range(10)]
        table = pyarrow.Table.from_pylist(values)
        table = table.set_column(0, "text", table["text"].cast(kind))
        parquet.write_table(table, path, row_group_size=4, compression=compression)
        check_inputs([path])
        assert texts([path]) == [f"text {i % 3} é" for i in range(10)]
        assert texts([path], fields=Fields("body.text")) == [f"nested {i}" for i in range(10)]


@needs_pyarrow
def test_bad_rows_and_columns_of_parquet(tmp_path):
    array = pyarrow.array([b"one", None, b"\xe9", b"two"])
    path = write(tmp_path / "a.parquet", pyarrow.table({"text": array, "n": [1, 2, 3, 4]}))
    with pytest.raises(UserError, match=r"a.parquet, row 2: 'text' is null, not a text: mend it, or pass --skip"):
        texts([path])
    skipped = SkippedRows()
    assert texts([path], on_bad_row=skipped) == ["one", "two"]
    assert [str(error).partition("parquet, ")[2] for error in skipped.first] == [
        "row 2: 'text' is null, not a text",
        "row 3: byte 0xe9 is not UTF-8",
    ]
    assert texts([path], on_bad_row=skipped, encoding_errors="replace") == ["one", "\ufffd", "two"]
    with pytest.raises(UserError, match=r"a.parquet: no column 'body': it has 'text', 'n': name one with --text-field"):
        check_inputs([path], fields=Fields("body"))
    with pytest.raises(UserError, match=r"a.parquet: column 'n' holds int64, not texts: name another with --text"):
        check_inputs([path], fields=Fields("n"))
    assert [p.id for p in read_passages([path], fields=Fields("text", "n"), on_bad_row=skipped)] == ["1", "4"]


@needs_pyarrow
@pytest.mark.parametrize("nested", [False, True])
def test_a_value_that_many_rows_share_is_held_once(tmp_path, nested):
    values = pyarrow.array(["long " * 40_000 if i % 2 else "short" for i in range(2000)])  # 200 MB of text
    if nested:
        values = pyarrow.StructArray.from_arrays([values], ["body"])
    path = write(tmp_path / "a.parquet", pyarrow.table({"text": values}), row_group_size=2000)
    before = pyarrow.default_memory_pool().max_memory()
    rows = read_passages([path], fields=Fields("text.body" if nested else "text"))
    assert [len(passage.text) for passage in itertools.islice(rows, 200)] == [5, 199_999] * 100
    assert path.stat().st_size < 1 << 20
    assert before == 0 or pyarrow.default_memory_pool().max_memory() <= before + (16 << 20)


@needs_pyarrow
@pytest.mark.parametrize("place", ["start", "end"])
def test_damaged_parquet_is_told_in_one_line(tmp_path, place):
    path = write(tmp_path / "a.parquet", long_rows(), compression="zstd", write_page_checksum=True)
    content = bytearray(path.read_bytes())
    begin = {"start": 10, "end": len(content) - 200}[place]
    content[begin : begin + 60] = bytes(255 - byte for byte in content[begin : begin + 60])
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        texts([path])
    assert str(error.value).startswith(f"{path}: damaged, or not Parquet as pyarrow reads it: ")
    assert "\n" not in str(error.value)
    path.write_bytes(content[:500])
    with pytest.raises(UserError, match=r"a.parquet: damaged"):
        check_inputs([path])


def test_without_pyarrow_it_is_named(tmp_path, monkeypatch):
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1\xff\xff\0")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"a.parquet: reading Parquet needs the package pyarrow: .*\[parquet\]"):
        check_inputs([path])


# Standard input


@pytest.mark.parametrize("kind", ["txt", *FORMATS])
@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_standard_input_is_read_like_a_file_and_gone_on_with_when_it_is_the_same(
    tmp_path, monkeypatch, standard_input, kind, suffix
):
    monkeypatch.setattr(LIMIT, 50)
    if kind == "txt":
        rows = "\n\n".join(row["text"] for row in long_rows())
        path = compressed(tmp_path / f"a.txt{suffix}", rows.encode())
    else:
        path = write(tmp_path / f"a.{kind}{suffix}", long_rows())
    other = compressed(tmp_path / "b.txt", b"before")
    content = path.read_bytes()
    whole = texts([other, path])
    standard_input(content)
    check_inputs([other, "-"])
    passages = list(read_passages([other, "-"]))
    assert [passage.text for passage in passages] == whole
    for number in range(0, len(passages), 7):
        standard_input(content)
        assert texts([other, "-"], start=passages[number].after) == whole[number + 1 :]
    changed = write(tmp_path / f"c.{kind}", long_rows()[1:]) if kind != "txt" else compressed(path, b"a\n\nb " * 20)
    standard_input(changed.read_bytes())
    with pytest.raises(UserError, match="standard input is not what the unfinished run has read"):
        texts([other, "-"], start=passages[-3].after)


def test_bad_rows_of_standard_input_are_counted_once(standard_input):
    content = b'{"n": 1}\n{"text": "one"}\n{}\n{}\n{"text": "two"}\n{"text": "three"}\n{}'
    standard_input(content)
    positions = [passage.after for passage in read_passages(["-"], on_bad_row=SkippedRows())]
    assert [position.bad_rows for position in positions] == [1, 3, 3]
    for position in positions:
        standard_input(content)
        later = SkippedRows()
        found = [passage.after.bad_rows for passage in read_passages(["-"], start=position, on_bad_row=later)]
        assert found == [3] * len(found)
        assert position.bad_rows + later.count == 4


def test_empty_standard_input_is_told(standard_input):
    standard_input(b"")
    with pytest.raises(UserError, match=r"^standard input: empty"):
        check_inputs(["-"])
