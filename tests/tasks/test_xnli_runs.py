"""XNLI as users walk it: its files in fifteen languages, training, validation, the table."""

import contextlib
import csv
import io
import re
from shlex import split

import numpy as np
import pytest
import torch
from fairseq_runs import progress, scores, train, validate
from omegaconf import OmegaConf
from refusals import refusal, script
from toy_xnli import LABELS, SPLITS, examples, sentences, write_xnli
from two_workers import DESCENT, assert_same_weights, train_by_two_workers

from pixelgpt_fairseq.data.data_folder import DataFolder
from pixelgpt_fairseq.data.tokens import train_tokenizer
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.rendering.fonts import default_fonts
from pixelgpt_fairseq.sources.xnli import LANGUAGES
from pixelgpt_fairseq.tasks import rendered_xnli
from pixelgpt_fairseq.tasks.rendered_xnli import RenderedXnliConfig, RenderedXnliTask

TRAINING = split(
    "--user-dir pixelgpt_fairseq --task rendered_xnli --max-positions 64 --arch pixelgpt_tiny --hidden-size 48 "
    "--num-hidden-layers 1 --intermediate-size 96 --criterion rendered_classification --batch-size 8 --cpu "
    "--optimizer adam --lr 3e-3 --clip-norm 1.0 --log-format json --log-interval 1 --num-workers 0 "
    "--no-epoch-checkpoints --best-checkpoint-metric average_accuracy --maximize-best-checkpoint-metric"
)
VALIDATION = split("--user-dir pixelgpt_fairseq --task rendered_xnli --cpu --batch-size 7 --log-format json")
ACCURACIES = [f"accuracy_{language}" for language in LANGUAGES]


def render(*options):
    """Run pixelgpt render-xnli in this process; returns what it prints."""
    with contextlib.redirect_stdout(io.StringIO()) as stdout:
        script("render_xnli")([str(option) for option in options])
    return stdout.getvalue().splitlines()


def evaluate(*options):
    """Run pixelgpt evaluate-xnli in this process; returns what it prints."""
    with contextlib.redirect_stdout(io.StringIO()) as stdout:
        script("evaluate_xnli")([str(option) for option in [*options, "--cpu"]])
    return stdout.getvalue().splitlines()


@pytest.fixture(scope="module")
def xnli(tmp_path_factory):
    """A data folder with all languages, the files that it comes from, and what the script printed."""
    folder = tmp_path_factory.mktemp("xnli")
    tokenizer = train_tokenizer(iter(sentences()), 700)
    (folder / "tokenizer.model").write_bytes(tokenizer.serialized)
    write_xnli(folder / "XNLI")
    options = ["--xnli-dir", folder / "XNLI", "--tokenizer", folder / "tokenizer.model"]
    return folder / "data", folder / "XNLI", render(*options, "--destdir", folder / "data")


@pytest.fixture(scope="module")
def trained(xnli, tmp_path_factory):
    """A checkpoint of a few updates on all languages, and the last validation that fairseq-train logged."""
    folder = tmp_path_factory.mktemp("trained")
    options = split("--modality pixel --max-update 6 --keep-best-checkpoints 1")
    *_, valid = finetune(xnli[0], folder, *options).lines("valid")
    return folder / "checkpoint_last.pt", valid


def finetune(data, save_dir, *options):
    return train(data, *TRAINING, "--save-dir", save_dir, *options)


def task(data, **options):
    """The task as fairseq-train sets it up."""
    cfg = RenderedXnliConfig(data=str(data), seed=1, train_subset="train", **{"modality": "pixel", **options})
    return RenderedXnliTask.setup_task(OmegaConf.structured(cfg))


def dataset(data, split, **options):
    one = task(data, **options)
    one.load_dataset(split)
    return one.dataset(split)


# Rendering


def test_the_default_fonts_have_every_character_of_the_fifteen_languages(xnli):
    data, _, printed = xnli
    assert printed[-1] == "15 languages; characters that no font has: none"
    assert DataFolder(data).splits() == sorted(f"{split}.{language}" for split in SPLITS for language in LANGUAGES)
    for language in LANGUAGES:
        (line,) = (line for line in printed if f", test.{language}: " in line)
        assert "3 examples (entailment: 1, neutral: 1, contradiction: 1)" in line


def test_characters_that_no_font_has_are_counted_by_language(xnli, tmp_path, capsys):
    (kurinto, _) = default_fonts()
    options = ["--xnli-dir", xnli[1], "--destdir", tmp_path, "--languages", "en,zh", "--splits", "valid"]
    message = refusal(script("render_xnli"), *options, "--font", kurinto.path)
    assert re.search(r"valid.zh: no glyph in KurintoSans-Rg.ttf for CJK", message)
    assert DataFolder(tmp_path).splits() == ["valid.en"]
    *_, last = render(*options, "--font", kurinto.path, "--max-missing", "1", "--resume")
    text = "".join(premise + hypothesis for premise, hypothesis, _ in examples("zh", "valid"))
    ideographs = sum(len(found) for found in re.findall(r"[\u4e00-\u9fff]+", text))
    counted = int(re.fullmatch(r"1 languages; characters that no font has: zh (\d+)", last)[1])
    assert ideographs <= counted <= len(text)
    assert re.search(r"xnli.dev.tsv, zh: no font has a glyph for CJK", capsys.readouterr().err)


def test_absent_languages_are_named_and_fatal_only_where_they_were_asked_for(tmp_path):
    write_xnli(tmp_path / "XNLI", ["en", "sw"])
    (tmp_path / "XNLI" / "multinli.train.sw.tsv").unlink()
    options = ["--xnli-dir", tmp_path / "XNLI", "--destdir", tmp_path / "data"]
    main = script("render_xnli")
    message = refusal(main, *options, "--languages", "en,sw")
    assert message.endswith("train: no sw in multinli.train.LANGUAGE.tsv, but --languages en,sw asks for it")
    assert "but --require-all asks for it" in refusal(main, *options, "--require-all")
    assert not (tmp_path / "data").exists()
    printed = render(*options)
    assert "train: no ar, bg, de, el, fr, hi, ru, es, sw, th, tr, ur, vi, zh in multinli.train" in printed[0]
    assert "valid: no ar, bg, de, el, fr, hi, ru, es, th, tr, ur, vi, zh in xnli.dev.tsv" in printed[1]
    assert DataFolder(tmp_path / "data").splits() == ["test.en", "test.sw", "train.en", "valid.en", "valid.sw"]


def test_splits_that_are_there_stay_as_they_are(tmp_path):
    write_xnli(tmp_path / "XNLI", ["en", "th"])
    options = ["--xnli-dir", tmp_path / "XNLI", "--destdir", tmp_path / "data"]
    render(*options, "--languages", "en")
    manifest = tmp_path / "data" / "train.en.manifest.json"
    before = manifest.stat().st_mtime_ns
    assert "already there" in refusal(script("render_xnli"), *options)
    render(*options, "--resume")
    assert manifest.stat().st_mtime_ns == before
    assert len(DataFolder(tmp_path / "data").splits()) == 6
    assert render(*options, "--resume")[-1] == f"{tmp_path / 'data'}: has all of these splits"
    render(*options, "--languages", "en", "--splits", "train", "--overwrite")
    assert manifest.stat().st_mtime_ns > before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--xnli-dir /nowhere", "--xnli-dir /nowhere: no such folder"),
        ("--xnli-dir {0} --languages en,xx", "XNLI has no language 'xx'"),
        ("--xnli-dir {0} --splits dev", "--splits dev: XNLI has train, valid, test"),
        ("--xnli-dir {1}", "none of these languages in files such as multinli.train.en.tsv, xnli.dev.tsv"),
    ],
)
def test_mistakes_in_rendering_are_told_in_one_line(xnli, tmp_path, options, message):
    found = refusal(script("render_xnli"), *options.format(xnli[1], tmp_path).split(), "--destdir", tmp_path / "data")
    assert message in found
    assert not (tmp_path / "data").exists()


# The task


def test_training_is_on_every_language_or_on_english_and_validation_on_every_language(xnli):
    for setting, trained in (("translate-train-all", LANGUAGES), ("cross-lingual-transfer", ("en",))):
        assert dataset(xnli[0], "train", setting=setting).names == trained
        assert dataset(xnli[0], "valid", setting=setting).names == LANGUAGES
    assert dataset(xnli[0], "train", languages="sw,en").names == ("en", "sw")
    assert dataset(xnli[0], "train", setting="cross-lingual-transfer", languages="th").names == ("en",)
    assert dataset(xnli[0], "valid", setting="cross-lingual-transfer", languages="th").names == ("th",)
    assert dataset(xnli[0], "test.ur", languages="en").names == ("ur",)


@pytest.mark.parametrize("modality", ["text", "pixel", "pair"])
def test_splits_share_no_example_in_any_modality(xnli, modality):
    """No strip and no text of one split is one of another; of a language only what its file has."""
    seen = {}
    for name in SPLITS:
        whole = dataset(xnli[0], name, modality=modality, max_positions=64)
        assert len(whole) == len(LANGUAGES) * len(LABELS)
        for i in range(len(whole)):
            example = whole[i]
            content = tuple(example[key].numpy().tobytes() for key in ("patches", "tokens") if key in example)
            assert seen.setdefault(content, name) == name
    assert len(seen) == len(SPLITS) * len(LANGUAGES) * len(LABELS)


@pytest.mark.parametrize(
    ("options", "split", "message"),
    [
        ({"languages": "en,xx"}, "valid", "XNLI has no language 'xx'"),
        ({"sampling_temperature": 0.0}, "valid", "--sampling-temperature 0.0: must be above 0"),
        ({}, "dev", r"no language has a split dev \(whole splits: test.ar, "),
        ({}, "valid.xx", "split valid.xx: language xx: XNLI has no language 'xx'"),
        ({"modality": "pair", "max_positions": 1}, "valid", "hold nothing: raise --max-positions"),
    ],
)
def test_options_that_do_not_fit_are_told_in_one_line(xnli, options, split, message):
    with pytest.raises(UserError, match=message):
        dataset(xnli[0], split, **options)


def test_languages_that_the_folder_lacks_are_named_and_fatal_only_where_they_were_asked_for(xnli, tmp_path, caplog):
    render("--xnli-dir", xnli[1], "--destdir", tmp_path, "--languages", "en,sw", "--splits", "valid")
    assert dataset(tmp_path, "valid").names == ("en", "sw")
    assert "2 languages; absent: ar, bg, de, el, fr, hi, ru, es, th, tr, ur, vi, zh" in caplog.text
    with pytest.raises(UserError, match=r"split valid\.th was not rendered"):
        dataset(tmp_path, "valid", languages="sw,th")
    with pytest.raises(UserError, match=r"split train\.en was not rendered"):
        dataset(tmp_path, "train", setting="cross-lingual-transfer")


def test_a_long_validation_tells_its_progress(xnli, monkeypatch, caplog):
    monkeypatch.setattr(rendered_xnli, "PROGRESS_SECONDS", -1)
    caplog.set_level("INFO")
    one = task(xnli[0])
    one.load_dataset("valid")
    monkeypatch.setattr(rendered_xnli.RenderedClassificationTask, "valid_step", lambda *_: (0, 0, {}))
    for _ in range(2):
        one.begin_valid_epoch(1, None)
        for sample in one.get_batch_iterator(one.dataset("valid"), max_sentences=20).next_epoch_itr(shuffle=False):
            one.valid_step(sample, None, None)
    found = re.findall(r"validated on (\d+) of 45 examples", caplog.text)
    assert found == ["20", "40"] * 2


def test_data_of_another_task_is_refused(toy_data):
    with pytest.raises(UserError, match="holds a corpus, no examples with labels: make some with pixelgpt render-xnli"):
        task(toy_data)


# The commands of fairseq, and the table


def test_validation_from_the_checkpoint_alone_and_the_table_find_the_same_accuracies(xnli, trained, tmp_path):
    checkpoint, valid = trained
    names = ["loss", "accuracy", "average_accuracy", *ACCURACIES]
    expected = scores(valid, *names)
    assert expected["average_accuracy"] == pytest.approx(np.mean([expected[name] for name in ACCURACIES]), abs=1e-4)
    options = ["--path", checkpoint, "--valid-subset", "valid,valid.sw"]
    validated = validate(xnli[0], *VALIDATION, *options)
    (found,) = validated.lines("valid")
    assert scores(found, *names) == pytest.approx(expected, rel=1e-3)
    (alone,) = validated.lines("valid.sw")
    assert set(ACCURACIES) & set(alone) == {"accuracy_sw"}
    for name in ("accuracy_sw", "average_accuracy"):
        assert alone[name] == pytest.approx(expected["accuracy_sw"], abs=1e-4)

    outputs = ["--output", tmp_path / "table.tsv", "--predictions", tmp_path / "answers.tsv"]
    printed = evaluate("--checkpoint", checkpoint, "--data", xnli[0], "--subset", "valid", *outputs)
    with (tmp_path / "table.tsv").open() as file:
        (row,) = csv.DictReader(file, delimiter="\t")
    assert list(row) == ["checkpoint", "setting", "modality", *LANGUAGES, "average"]
    assert (row["setting"], row["modality"]) == ("translate-train-all", "pixel")
    for language in LANGUAGES:
        assert float(row[language]) == pytest.approx(100 * expected[f"accuracy_{language}"], abs=0.051)
    assert float(row["average"]) == pytest.approx(100 * expected["average_accuracy"], abs=0.051)
    assert printed[0] == f"| checkpoint | setting | modality | {' | '.join(LANGUAGES)} | average |"
    with (tmp_path / "answers.tsv").open() as file:
        answers = list(csv.DictReader(file, delimiter="\t"))
    assert [(line["language"], line["index"], line["label"]) for line in answers] == [
        (language, str(i), label) for language in LANGUAGES for i, label in enumerate(LABELS)
    ]
    right = sum(line["label"] == line["prediction"] for line in answers)
    assert right / len(answers) == pytest.approx(expected["accuracy"], abs=1e-4)


def test_a_table_of_some_languages_says_so_and_has_a_row_for_each_checkpoint(xnli, trained, tmp_path):
    options = ["--checkpoint", trained[0], trained[0], "--data", xnli[0], "--languages", "sw,en"]
    evaluate(*options, "--output", tmp_path / "table.md")
    header, _, *rows = (tmp_path / "table.md").read_text().splitlines()
    assert header.endswith("| zh | average of 2 |")
    assert len(rows) == 2
    assert rows[0] == rows[1]
    cells = dict(zip(header.split(" | "), rows[0].split(" | "), strict=True))
    assert {language for language in LANGUAGES if cells[language] != "-"} == {"en", "sw"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--checkpoint {0} {0} --predictions {2}/p.tsv", "--predictions: name one --checkpoint"),
        ("--checkpoint {0} --output {2}/t.csv", "the name must end in .md or .tsv"),
        ("--checkpoint {0} --output {2}/there.md", "there.md: already there"),
        ("--checkpoint {0} --output {2}/none/t.md", "none: no such folder"),
        ("--checkpoint {0} --output {2}/t.tsv --predictions {2}/t.tsv", "are the same file"),
        ("--checkpoint {0} --subset dev", "no language has a split dev (whole splits: test.ar"),
        ("--checkpoint {0} --data {3} --subset valid --languages th,ur", "no split valid of th, ur: it has en"),
        ("--checkpoint {2}/none.pt", "none.pt: no such file"),
    ],
)
def test_mistakes_in_evaluation_are_told_in_one_line(xnli, trained, tmp_path, options, message):
    (tmp_path / "there.md").write_text("mine")
    few = tmp_path / "few"
    if "{3}" in options:
        render("--xnli-dir", xnli[1], "--destdir", few, "--languages", "en", "--splits", "valid")
    parts = options.format(trained[0], xnli[0], tmp_path, few).split()
    assert message in refusal(script("evaluate_xnli"), "--data", xnli[0], *parts, "--cpu")
    assert (tmp_path / "there.md").read_text() == "mine"


def test_training_stops_early_when_the_average_over_the_languages_gets_no_better(xnli, tmp_path):
    """Nothing is learned at a rate of zero; transfer from English is validated on every language all the same."""
    options = "--setting cross-lingual-transfer --modality pair --lr 0 --patience 2 --max-update 40"
    lines = finetune(xnli[0], tmp_path, *split(options), "--validate-interval-updates", "1").lines("valid")
    assert len(lines) == 3
    assert len({line["average_accuracy"] for line in lines}) == 1
    assert set(ACCURACIES) <= set(lines[0])
    state = torch.load(tmp_path / "checkpoint_best.pt", weights_only=True)
    assert state["extra_state"]["best"] == pytest.approx(lines[0]["average_accuracy"])


def test_two_workers_equal_one_in_weights_and_in_every_language(xnli, tmp_path):
    options = split("--modality text --max-update 2 --sampling-temperature 2 --batch-size 7")
    names = ["loss", "average_accuracy", *ACCURACIES]
    alone = finetune(xnli[0], tmp_path / "alone", *options, *DESCENT, "--update-freq", "2")
    output = train_by_two_workers(xnli[0], *TRAINING, *options, *DESCENT, "--save-dir", tmp_path / "two")
    (together,) = progress(output, "valid")  # of 7 batches: one worker has one less
    (expected,) = alone.lines("valid")
    assert scores(together, *names) == pytest.approx(scores(expected, *names), abs=1e-3)
    assert_same_weights(tmp_path / "two", tmp_path / "alone", tolerance=1e-6)
