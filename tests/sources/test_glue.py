import json

import pytest
from toy_glue import write_glue, write_tsv

from pixelgpt_fairseq.criterions.metrics import METRICS
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.sources.examples import (
    NO_LABEL,
    Example,
    SentenceTask,
    custom_task,
    detokenize,
    label_column_of,
    read_examples,
)
from pixelgpt_fairseq.sources.glue import GLUE_TASKS, find_source
from pixelgpt_fairseq.sources.tables import MAX_LINE_BYTES, read_rows

RTE = GLUE_TASKS["rte"][0]
PAIR = ("sentence1", "sentence2")
HEADER = ("index", *PAIR, "label")


def read(path, task=RTE, columns=PAIR, label="label", **options):
    return list(read_examples(path, task, columns, label, **options))


# The table of tasks


def test_there_are_the_nine_tasks_with_the_published_metrics():
    best = {name: task.best_metric for name, (task, _) in GLUE_TASKS.items()}
    assert best == {
        **dict.fromkeys(["sst2", "mnli", "qnli", "rte", "wnli"], "accuracy"),
        **{"cola": "matthews_correlation", "mrpc": "f1", "qqp": "f1", "stsb": "spearmanr"},
    }
    for task, _ in GLUE_TASKS.values():
        assert task.best_metric in task.metrics
        assert {METRICS[name].of for name in task.metrics} == {"scores" if task.regression else "classes"}
        assert SentenceTask.from_dict(json.loads(json.dumps(task.to_dict()))) == task
    assert GLUE_TASKS["stsb"][0].num_labels == 1
    assert GLUE_TASKS["mnli"][0].labels == ("entailment", "neutral", "contradiction")


def test_submission_files_are_those_that_glue_asks_for():
    names = {source.submission for _, sources in GLUE_TASKS.values() for source in sources} - {None}
    expected = "CoLA SST-2 MRPC STS-B QQP MNLI-m MNLI-mm QNLI RTE WNLI AX"
    assert names == {f"{name}.tsv" for name in expected.split()}


@pytest.mark.parametrize("name", ["cola", "sst2", "stsb", "mnli", "rte"])
def test_every_split_of_a_glue_folder_is_read(tmp_path, name):
    folder = write_glue(tmp_path)
    task, sources = GLUE_TASKS[name]
    for source in sources:
        path = find_source(source, folder)
        examples = read(path, task, source.columns, source.label)
        assert len(examples) == len(path.read_text().splitlines()) - (not isinstance(source.columns[0], int))
        assert all(len(example.texts) == len(source.columns) for example in examples)
        if source.split.startswith(("test", "ax")):
            assert {example.label for example in examples} == {-1}
        elif task.regression:
            assert all(isinstance(example.label, float) for example in examples)
        else:
            assert {example.label for example in examples} == set(range(task.num_labels))


# Reading


def test_labels_may_be_words_or_numbers(tmp_path):
    path = write_tsv(tmp_path / "a.tsv", HEADER, (0, "a", "b", "entailment"), (1, "c", "d", "1"))
    assert read(path) == [Example(("a", "b"), 0), Example(("c", "d"), 1)]


@pytest.mark.parametrize(
    ("words", "labels", "expected"),
    [
        (["1", "2", "3", "4", "5"], ["1", "5", "2.0", " 3 "], [0, 4, 1, 2]),
        (["0", "1"], ["0", "1.0", "1", "00"], [0, 1, 1, 0]),
        (["1", "0"], ["0", "1"], [1, 0]),
        (["-1", "0", "1"], ["-1", "0", "+1", "-1.0"], [0, 1, 2, 0]),
        (["2.5", "2.0"], ["2", "2.50"], [1, 0]),
        (["sad", "very glad"], ["Sad", "VERY  glad", "0", "1", "1.0"], [0, 1, 0, 1, 1]),
        (["us", "US"], ["US", "us", "1"], [1, 0, 1]),
        (["false", "true"], ["True", "FALSE", "1"], [1, 0, 1]),
    ],
)
def test_a_label_means_the_word_that_it_spells(tmp_path, words, labels, expected):
    path = write_tsv(tmp_path / "a.tsv", ("text", "label"), *(("a", label) for label in labels))
    examples = read(path, custom_task("mood", words), ("text",))
    assert [example.label for example in examples] == expected


@pytest.mark.parametrize(
    ("words", "label"),
    [
        (["1", "2", "3", "4", "5"], "0"),
        (["1", "2", "many"], "0"),
        (["1", "01"], "1.0"),
        (["us", "US"], "Us"),
        (["sad", "glad"], "-1"),
        (["sad", "glad"], "2"),
        (["sad", "glad"], ""),
    ],
)
def test_a_label_that_spells_no_word_or_several_is_refused(tmp_path, words, label):
    path = write_tsv(tmp_path / "a.tsv", ("text", "label"), ("a", label))
    with pytest.raises(UserError, match=f"line 2: unknown label '{label}': it is none of {', '.join(words)}"):
        read(path, custom_task("mood", words), ("text",))


def test_labels_of_json_lines_may_be_numbers_words_or_truth_values(tmp_path):
    path = tmp_path / "a.jsonl"
    for words, labels in ((["1", "2"], [1, 2.0, "1"]), (["true", "false"], [True, False, "True"])):
        path.write_text("".join(json.dumps({"text": "a", "label": label}) + "\n" for label in labels))
        assert [example.label for example in read(path, custom_task("mood", words), ("text",))] == [0, 1, 0]
    path.write_text('{"text": "a", "label": true}')
    with pytest.raises(UserError, match="line 1: unknown label 'true': it is none of 0, 1"):
        read(path, custom_task("mood", ["0", "1"]), ("text",))


def test_quotation_marks_of_tsv_mean_nothing(tmp_path):
    path = write_tsv(tmp_path / "a.tsv", HEADER, (0, '"a', 'b" c', 0), (1, '"', "d", 1))
    assert [example.texts for example in read(path)] == [('"a', 'b" c'), ('"', "d")]


def test_csv_and_json_lines_hold_the_same_rows(tmp_path):
    csv, jsonl = tmp_path / "a.csv", tmp_path / "a.jsonl"
    csv.write_text('text,stars\n"one, ""two""\nthree",2.5\nfour,1\n')
    rows = [{"text": 'one, "two"\nthree', "stars": 2.5}, {"stars": 1, "text": "four"}]
    jsonl.write_text("\n".join(map(json.dumps, rows)))
    task = custom_task("stars")
    expected = [Example(('one, "two" three',), 2.5), Example(("four",), 1.0)]
    for path in (csv, jsonl):
        assert read(path, task, ("text",), "stars") == expected


def test_byte_order_mark_and_windows_line_ends_are_no_text(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_bytes(b"\xef\xbb\xbfsentence1\tsentence2\tlabel\r\na\tb\t0\r\n\r\n")
    assert read(path) == [Example(("a", "b"), 0)]


BAD_ROWS = {
    "wrong columns": ((2, "a", "b"), "line 3: 3 columns, the first line has 4"),
    "unknown label": (
        (2, "a", "b", "maybe"),
        r"line 3: unknown label 'maybe': it is none of entailment, not_entailment",
    ),
    "empty sentence": ((2, "a", "  ", 0), r"line 3: empty sentence \(column sentence2\)"),
    "empty line": ((), "line 3: 1 columns"),
}


@pytest.mark.parametrize(("row", "message"), BAD_ROWS.values(), ids=BAD_ROWS.keys())
def test_bad_rows_are_told_with_file_line_and_value_or_passed_over(tmp_path, row, message):
    path = write_tsv(tmp_path / "a.tsv", HEADER, (1, "a", "b", 0), row, (3, "c", "d", 1))
    with pytest.raises(UserError, match=rf"a\.tsv, {message}"):
        read(path)
    skipped = []
    assert len(read(path, on_bad_row=skipped.append)) == 2
    assert len(skipped) == 1


def test_rows_without_labels_are_never_passed_over(tmp_path):
    path = write_tsv(tmp_path / "test.tsv", HEADER[:3], (0, "a", ""), (1, "b", "c"))
    with pytest.raises(UserError, match="line 2: empty sentence"):
        read(path, label=None)
    assert len(read(path, label=None, on_bad_row=print)) == 2


@pytest.mark.parametrize("value", ["five", "nan", "inf", ""])
def test_scores_must_be_numbers(tmp_path, value):
    path = write_tsv(tmp_path / "a.tsv", ("text", "score"), ("a", value))
    with pytest.raises(UserError, match=r"line 2: label '.*' is not a number"):
        read(path, custom_task("x"), ("text",), "score")


def test_files_that_are_no_tables_are_told_in_one_line(tmp_path):
    path = tmp_path / "a.tsv"
    with pytest.raises(UserError, match=r"a\.tsv: no such file"):
        read(path)
    write_tsv(path, ("one", "two"))
    with pytest.raises(UserError, match="no column 'sentence1': its first line has 'one', 'two'"):
        read(path)
    path.write_bytes(b"sentence1\tsentence2\tlabel\na\xff\tb\t0\n")
    with pytest.raises(UserError, match=r"line 2: byte 0xff is not UTF-8"):
        read(path)
    path.write_bytes(b"a" * (MAX_LINE_BYTES + 5))
    with pytest.raises(UserError, match="line 1: longer than"):
        read(path)
    with pytest.raises(UserError, match="the name must end in"):
        list(read_rows(tmp_path / "a.parquet", ("a",)))
    jsonl = tmp_path / "a.jsonl"
    for line, message in (
        ("{", "not JSON"),
        ("3", "not a JSON object"),
        ("{}", "no 'a'"),
        ('{"a": []}', r"'a' is \[\]"),
    ):
        jsonl.write_text(line)
        with pytest.raises(UserError, match=f"line 1: {message}"):
            list(read_rows(jsonl, ("a",)))


def test_only_test_splits_may_lack_labels(tmp_path):
    path = write_tsv(tmp_path / "a.tsv", ("text",), ("a",))
    assert label_column_of(path, "label", "test", RTE) is None
    assert label_column_of(path, "text", "test", RTE) == "text"
    with pytest.raises(UserError, match=r"a\.tsv: no column 'label': split valid needs labels"):
        label_column_of(path, "label", "valid", RTE)


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("t.csv", ["text,label", "a,-1", "b,-1"]),
        ("t.tsv", ["text\tlabel", "a\t-1", "b\t"]),
        ("t.jsonl", ['{"text": "a", "label": -1}', '{"text": "b", "label": -1.0}', '{"text": "c", "label": null}']),
    ],
)
def test_in_a_test_split_minus_one_in_every_row_means_no_labels(tmp_path, name, rows):
    path, score = tmp_path / name, custom_task("score")
    path.write_text("\n".join(rows) + "\n")
    for task in (RTE, score):
        assert label_column_of(path, "label", "test", task) is None
        assert label_column_of(path, "label", "test_mismatched", task) is None
        assert label_column_of(path, "label", "valid", task) == "label"
    assert {label for _, label in read(path, RTE, ("text",), None)} == {NO_LABEL}
    with pytest.raises(
        UserError, match=r"line [12]: unknown label '-1': .* \(-1 means no label where it stands in every"
    ):
        read(path, RTE, ("text",), "label")


def test_minus_one_is_a_label_where_it_names_a_class_or_others_are_there(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("text,label\na,-1\nb,-1\n")
    assert label_column_of(path, "label", "test", custom_task("stance", ["-1", "0", "1"])) == "label"
    path.write_text("text,label\na,-1\nb,2.5\n")
    assert label_column_of(path, "label", "test", custom_task("score")) == "label"


def test_classes_of_ones_own_are_named_once():
    assert custom_task("mood", ["sad", "glad"]).labels == ("sad", "glad")
    assert custom_task("mood", [" very  sad", "glad\n"]).labels == ("very sad", "glad")
    for labels in (["sad"], ["sad", "sad"], ["sad", "sad "], ["sad", " "]):
        with pytest.raises(UserError, match="at least two classes, each once"):
            custom_task("mood", labels)


# Detokenization


@pytest.mark.parametrize(
    ("tokenized", "expected"),
    [
        ("kids , spirit ", "kids, spirit"),
        ("is it ? yes ! and / or # one .", "is it? yes! and/ or# one."),
        ("it 's what they 're n't , we 'll 'd 've I 'm", "it's what they'ren't, we'll'd've I'm"),
        ("`` fine '' , said ` he '", "\"fine\", said 'he'"),
        ("the actors ' work -lrb- good -rrb- ; 5 % : ( a [ b ] )", "the actors' work (good); 5%: (a [b])"),
        ("wait ... no", "wait... no"),
        ("rock 'n roll 'em 'til -- dawn", "rock 'n roll 'em 'til -- dawn"),
        ("Don't touch \"this\" (please), it's 3.5% - fine.", "Don't touch \"this\" (please), it's 3.5% - fine."),
        ("a\x07b\u2028c", "a b c"),
    ],
)
def test_detokenized_english_reads_naturally(tokenized, expected):
    assert detokenize(tokenized) == expected
