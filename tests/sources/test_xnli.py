import pytest
from shared_fixtures import shared
from toy_glue import write_tsv
from toy_xnli import LABELS, SPLITS, TOY_LANGUAGES, examples, write_xnli

from pixelgpt_fairseq.data.data_folder import DataFolder
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.sources.examples import NO_LABEL
from pixelgpt_fairseq.sources.xnli import (
    LANGUAGES,
    SPELLINGS,
    XNLI,
    find_sources,
    languages_of,
    parse_languages,
    read_source,
)


def read(folder, split, language, on_bad_row=None, **options):
    source = find_sources(folder, on_bad_row=on_bad_row)[split, language]
    return list(read_source(source, language, on_bad_row, **options))


def test_the_languages_are_xnlis_fifteen_in_the_papers_order():
    assert LANGUAGES == ("en", "ar", "bg", "de", "el", "fr", "hi", "ru", "es", "sw", "th", "tr", "ur", "vi", "zh")
    assert set(TOY_LANGUAGES) == set(LANGUAGES)


def test_every_language_and_split_has_the_examples_of_its_own_rows_and_no_others(tmp_path):
    write_xnli(tmp_path)
    assert set(find_sources(tmp_path)) == {(split, language) for split in SPLITS for language in LANGUAGES}
    seen = set()
    for split in SPLITS:
        for language in LANGUAGES:
            found = read(tmp_path, split, language)
            expected = [((premise, hypothesis), label) for premise, hypothesis, label in examples(language, split)]
            assert [(example.texts, XNLI.labels[example.label]) for example in found] == expected
            assert seen.isdisjoint(found)
            seen.update(found)
    assert len(seen) == len(SPLITS) * len(LANGUAGES) * len(LABELS)


def test_both_spellings_of_a_label_are_one_class(tmp_path):
    assert SPELLINGS == {"contradictory": "contradiction"}
    rows = [("a", "b", label) for label in ("contradictory", "contradiction", "neutral", "entailment")]
    write_tsv(tmp_path / "multinli.train.en.tsv", ("premise", "hypo", "label"), *rows)
    assert [example.label for example in read(tmp_path, "train", "en")] == [2, 2, 1, 0]


def test_a_test_set_without_labels_is_read_without_them(tmp_path):
    header = ("language", "gold_label", "sentence1", "sentence2")
    for name in ("dev", "test"):
        write_tsv(tmp_path / f"xnli.{name}.tsv", header, ("en", "-1", "a", "b"), ("sw", "-1", "c", "d"))
    assert [example.label for example in read(tmp_path, "test", "sw")] == [NO_LABEL]
    with pytest.raises(UserError, match="line 2: unknown label '-1'"):
        read(tmp_path, "valid", "en")


@pytest.mark.parametrize("folders", [("XNLI-1.0", "XNLI-MT-1.0/multinli"), (".", "multinli")])
def test_files_are_found_where_the_published_archives_have_them(tmp_path, folders):
    write_xnli(tmp_path / "flat", ["en", "th"])
    for path in (tmp_path / "flat").iterdir():
        target = tmp_path / folders["multinli" in path.name] / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    assert set(find_sources(tmp_path)) == {(split, language) for split in SPLITS for language in ("en", "th")}
    assert set(find_sources(tmp_path, ["valid"])) == {("valid", "en"), ("valid", "th")}


def test_text_stays_as_it_is_unless_it_is_to_be_mended(tmp_path):
    write_tsv(tmp_path / "multinli.train.fr.tsv", ("premise", "hypo", "label"), ("Quoi ?", "Rien .", "neutral"))
    assert read(tmp_path, "train", "fr")[0].texts == ("Quoi ?", "Rien .")
    assert read(tmp_path, "train", "fr", detokenized=True)[0].texts == ("Quoi?", "Rien.")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a\tb\tcontrary\n", r"multinli.train.en.tsv, line 3: unknown label 'contrary': it is none of entailment"),
        ("a\t\tneutral\n", r"line 3: empty sentence \(column hypo\)"),
        ("a\tneutral\n", "line 3: 2 columns, the first line has 3"),
    ],
)
def test_a_bad_row_is_named_or_passed_over_and_counted(tmp_path, row, message):
    path = tmp_path / "multinli.train.en.tsv"
    path.write_text(f"premise\thypo\tlabel\nx\ty\tneutral\n{row}z\tw\tneutral\n")
    with pytest.raises(UserError, match=message):
        read(tmp_path, "train", "en")
    skipped = []
    assert len(read(tmp_path, "train", "en", skipped.append)) == 2
    assert len(skipped) == 1


def test_a_row_without_a_language_counts_for_none_and_is_told_once(tmp_path):
    write_xnli(tmp_path, ["en", "sw"])
    path = tmp_path / "xnli.dev.tsv"
    path.write_text(path.read_text() + "sw\tneutral\n")
    with pytest.raises(UserError, match=r"xnli.dev.tsv, line 8: 2 columns, the first line has 19"):
        find_sources(tmp_path)
    unknown, skipped = [], []
    sources = find_sources(tmp_path, on_bad_row=unknown.append)
    for language in ("en", "sw"):
        assert len(list(read_source(sources["valid", language], language, skipped.append))) == 3
    assert len(unknown) == 1
    assert skipped == []


def test_an_unknown_label_in_one_language_does_not_touch_the_others(tmp_path):
    write_xnli(tmp_path, ["en", "sw"])
    path = tmp_path / "xnli.dev.tsv"
    path.write_text(path.read_text().replace("en\tneutral", "en\tperhaps"))
    assert len(read(tmp_path, "valid", "sw")) == 3
    with pytest.raises(UserError, match="unknown label 'perhaps'"):
        read(tmp_path, "valid", "en")


def test_languages_are_named_by_their_codes():
    assert parse_languages("sw, en,sw") == ["en", "sw"]
    with pytest.raises(UserError, match="--languages en,xx: XNLI has no language 'xx': it has en,ar,"):
        parse_languages("en,xx")
    with pytest.raises(UserError, match="names none"):
        parse_languages(",")


def test_a_data_folder_tells_its_languages_in_the_papers_order(tmp_path):
    for split in ("train.zh", "train.en", "valid.de", "train", "train.xx"):
        (tmp_path / f"{split}.manifest.json").touch()
    assert languages_of(DataFolder(tmp_path), "train") == ["en", "zh"]
    assert languages_of(DataFolder(tmp_path), "test") == []


def test_real_rows_of_two_languages_are_read_whole():
    folder = shared("data/xnli")
    counts = {key: len(list(read_source(source, key[1]))) for key, source in find_sources(folder).items()}
    assert counts == {
        ("train", "en"): 3012,
        ("train", "sw"): 3510,
        ("valid", "en"): 999,
        ("valid", "sw"): 2490,
        ("test", "en"): 999,
        ("test", "sw"): 1500,
    }
