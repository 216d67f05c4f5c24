"""Tables as spreadsheets and other programs write them, and what is said of those that cannot be read."""

import json

import pytest
from refusals import refusal, script

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.sources.examples import custom_task, label_column_of, read_examples
from pixelgpt_fairseq.sources.tables import MAX_LINE_BYTES, read_rows

TASK = custom_task("toy", ("no", "yes"))


@pytest.fixture
def table(tmp_path):
    """Writes a table."""

    def write(name, *lines):
        path = tmp_path / name
        path.write_text("".join(f"{line}\n" for line in lines))
        return path

    return write


def read(path, on_bad_row=None):
    label = label_column_of(path, "label", "train", TASK)
    return [
        (*example.texts, example.label) for example in read_examples(path, TASK, ("text",), label, True, on_bad_row)
    ]


@pytest.mark.parametrize("length", [131_073, 400_000])
def test_long_fields_of_csv(table, length):
    assert read(table("a.csv", "text,label", f'"{"x" * length}",yes')) == [("x" * length, 1)]


@pytest.mark.parametrize("blank", ["", "   "])
def test_blank_lines_are_left_out_and_lines_are_still_counted(table, blank):
    csv = ("text,label", blank, "a,no", blank, blank, "b,yes", blank)
    assert read(table("a.csv", *csv)) == [("a", 0), ("b", 1)]
    rows = [json.dumps({"text": text, "label": label}) for text, label in (("a", "no"), ("b", "yes"))]
    assert read(table("a.jsonl", blank, rows[0], blank, rows[1], blank)) == [("a", 0), ("b", 1)]
    with pytest.raises(UserError, match=r"a\.csv, line 4: 3 columns"):
        read(table("a.csv", "text,label", "a,no", blank, "a,b,c"))
    with pytest.raises(UserError, match=r"a\.jsonl, line 3: not JSON"):
        read(table("a.jsonl", rows[0], blank, "{"))


def test_a_column_of_its_own_keeps_its_empty_fields(table):
    """Where rows have one column, a field of spaces is a value."""
    assert [row.values for row in read_rows(table("a.csv", "text", "a", " ", "b"), ["text"])] == [
        ("a",),
        (" ",),
        ("b",),
    ]


@pytest.mark.parametrize(
    "lines",
    [
        ("text;label", "a, b;yes"),
        ("text; label", '"a, b"; yes'),
        ("text, label", '"a, b", yes'),
        ("text\tlabel", "a, b\tyes"),
        (" text , label", '"a, b", yes'),
        ('"text";"label"', '"a, b";"yes"'),
    ],
)
def test_other_spellings_of_csv(table, lines):
    assert read(table("a.csv", *lines)) == [("a, b", 1)]


def test_commas_come_first(table):
    """A header that has its columns between commas is not cut at semicolons."""
    path = table("a.csv", "text,label,a;b", "x;y,yes,1")
    assert read(path) == [("x;y", 1)]
    assert [row.values for row in read_rows(table("b.csv", "x;y,yes"), [1, 2])] == [("x;y", "yes")]
    assert [row.values for row in read_rows(table("b.csv", "x,y;yes;1"), [1, 3])] == [("x,y", "1")]


def test_spaces_in_a_header_of_tsv(table):
    assert read(table("a.tsv", "text \t label", "a\tyes")) == [("a", 1)]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_the_header_that_was_found_is_shown(table, name):
    path = table(name, "one|two", "a|yes")
    with pytest.raises(UserError, match=r"no column 'label': split train needs labels; its first line has 'one\|two'"):
        read(path)
    with pytest.raises(UserError, match=r"no column 'text': its first line has 'one\|two'"):
        list(read_rows(path, ["text"]))


@pytest.mark.parametrize(
    "content",
    ['[{"text": "a", "label": "yes"}]', '[\n{"text": "a", "label": "yes"}\n]', " [" + " " * MAX_LINE_BYTES + "]"],
)
def test_a_json_array_is_told_as_such(table, content):
    with pytest.raises(UserError, match=r"a\.json: a JSON array; what is read are JSON lines, an object on each line"):
        read(table("a.json", content), on_bad_row=print)


BAD_JSON = {
    "half a surrogate pair": (
        r'{"text": "x\ud83d", "label": "yes"}',
        r"line 2: 'text' holds half a character \(the lone surrogate \\ud83d\)",
    ),
    "half of one as a label": (r'{"text": "x", "label": "\udc00"}', r"line 2: 'label' holds half a character"),
    "a number of 5,000 digits": ('{"text": "x", "label": ' + "1" * 5000 + "}", "line 2: not JSON"),
    "deep": ("[" * 100_000, "line 2: not JSON"),
    "a list": ("[1]", "line 2: not a JSON object"),
    "without the column": ('{"label": "yes"}', "line 2: no 'text': it has 'label'"),
}


@pytest.mark.parametrize(("line", "message"), BAD_JSON.values(), ids=BAD_JSON.keys())
def test_bad_json_lines_are_told_with_file_and_line_or_passed_over(table, line, message):
    good = '{"text": "\\ud83d\\ude00", "label": "yes"}'  # a whole pair
    path = table("a.jsonl", good, line, good)
    with pytest.raises(UserError, match=rf"a\.jsonl, {message}.*: mend it, or pass --skip-bad-rows$"):
        read(path)
    skipped = []
    assert read(path, skipped.append) == [("😀", 1)] * 2
    assert len(skipped) == 1


def test_a_bad_first_line_can_be_passed_over(table):
    path = table("a.jsonl", "{", '{"text": "a", "label": "yes"}')
    assert read(path, print) == [("a", 1)]
    with pytest.raises(UserError, match=r"line 1: not JSON.*pass --skip-bad-rows"):
        read(path)
    with pytest.raises(UserError, match=r"line 1: not JSON"):
        read(table("b.jsonl", "{", "}"), print)


def test_bad_rows_of_csv_can_be_passed_over(table):
    path = table("a.csv", "text,label", '"a"b,no', "c,yes")
    with pytest.raises(UserError, match=r"line 2: not CSV: .*: mend it, or pass --skip-bad-rows"):
        read(path)
    assert read(path, print) == [("c", 1)]


def test_a_quotation_mark_that_is_never_closed_is_not_passed_over(table):
    """It would take all rows that follow with it."""
    path = table("a.csv", "text,label", '"a,no', *["c,yes"] * 10)
    with pytest.raises(UserError, match=r"line 12: not CSV: unexpected end .*: is a quotation mark never closed\?"):
        read(path, print)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a\tmaybe", "unknown label 'maybe': it is none of no, yes"),
        ("\tyes", r"empty sentence \(column text\)"),
        ("a", "1 columns, the first line has 2"),
    ],
)
def test_every_error_of_a_row_says_that_it_can_be_passed_over(table, line, message):
    with pytest.raises(UserError, match=rf"a\.tsv, line 2: {message}: mend it, or pass --skip-bad-rows$"):
        read(table("a.tsv", "text\tlabel", line))


def test_rows_that_are_never_passed_over_do_not_say_so(table):
    """Without labels every row counts."""
    path = table("a.tsv", "text\tother", "a")
    for on_bad_row in (None, print):
        with pytest.raises(UserError, match=r"line 2: 1 columns, the first line has 2$"):
            list(read_examples(path, TASK, ("text",), None, on_bad_row=on_bad_row))


def test_the_command_skips_half_a_surrogate_pair(table, tmp_path, capsys):
    path = table("a.jsonl", '{"text": "a", "label": "yes"}', r'{"text": "x\ud83d", "label": "yes"}')
    main, options = script("render_glue"), ["--columns", "text", "--label-column", "label", "--labels", "no", "yes"]
    options += ["--destdir", str(tmp_path / "data"), "--input", f"train={path}"]
    assert refusal(main, *options).endswith("(the lone surrogate \\ud83d): mend it, or pass --skip-bad-rows")
    main([*options, "--skip-bad-rows"])
    assert "1 examples (no: 0, yes: 1), 1 rows skipped" in capsys.readouterr().out
