"""Tables of translations become a data folder, and its samples are what the model is to read."""

import csv

import pytest
import torch
from refusals import refusal, script
from toy_corpus import toy_data  # noqa: F401
from toy_translation import render_translation

from pixelgpt_fairseq.data.data_folder import DataFolder
from pixelgpt_fairseq.data.streams import PIECES, PIXEL, TARGET, TEXT
from pixelgpt_fairseq.data.translations import TranslationDataset
from pixelgpt_fairseq.perturbations import Perturbation
from pixelgpt_fairseq.rendering import TextRenderer


def rows_of(folder, split):
    with open(folder.parent / "tables" / f"{split}.tsv", newline="", encoding="utf-8") as file:
        return [tuple(row.values()) for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]


def dataset(folder, modality, split="valid", **options):
    folder = DataFolder(folder)
    options = {"target_pad": 400, "max_source": 512, "max_target": 512, "strip_patches": 512} | options
    return TranslationDataset(folder, split, modality, folder.dictionary(), **options)


def files(folder):
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".json")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_data_folder_holds_strips_texts_and_tokens(toy_translations):
    folder = DataFolder(toy_translations)
    renderer, tokenizer = TextRenderer(folder.renderer_config()), folder.tokenizer()
    rows = rows_of(toy_translations, "valid")
    strips, pieces, texts, targets = (
        folder.open("valid", stream, width) for stream, width in ((PIXEL, 256), (PIECES, 1), (TEXT, 1), (TARGET, 1))
    )
    assert len(strips) == len(pieces) == len(texts) == len(targets) == len(rows)
    for number, (source, target) in enumerate(rows):
        assert torch.equal(strips[number], torch.from_numpy(renderer(source).patches()))
        assert bytes(pieces[number].tolist()).decode() == source
        assert texts[number].tolist() == [tokenizer.bos, *tokenizer.model.encode(source)]
        assert targets[number].tolist() == [tokenizer.bos, *tokenizer.model.encode(target), tokenizer.eos]


def test_samples_are_sources_and_targets(toy_translations):
    pixels, texts = dataset(toy_translations, "pixel"), dataset(toy_translations, "text")
    folder = DataFolder(toy_translations)
    sources, targets = folder.open("valid", TEXT), folder.open("valid", TARGET)
    for number, (source, _) in enumerate(rows_of(toy_translations, "valid")):
        drawn, written = pixels[number], texts[number]
        assert drawn["modality"] == "pair"
        assert torch.equal(drawn["patches"], folder.open("valid", PIXEL, 256)[number])
        assert torch.equal(drawn["tokens"], targets[number])
        assert torch.equal(written["tokens"], torch.cat([sources[number], targets[number]]))
        assert (drawn["source_tokens"], written["source_tokens"]) == (0, len(sources[number]))
        assert torch.equal(drawn["target"], targets[number][1:])
        assert drawn["source_text"] == written["source_text"] == source
        assert pixels.sizes[number] == len(drawn["patches"]) + len(drawn["tokens"])
        assert texts.sizes[number] == len(written["tokens"])


def test_long_sources_and_targets_are_cut_and_the_reference_is_whole(toy_translations):
    pixels, texts = (
        dataset(toy_translations, modality, max_source=6, max_target=8, strip_patches=6)
        for modality in ("pixel", "text")
    )
    folder = DataFolder(toy_translations)
    targets = folder.open("valid", TARGET)
    long = int(targets.sizes.argmax())
    assert pixels.truncated()[0] > 0
    assert texts.truncated()[1] > 0
    for number in range(len(pixels)):
        assert len(pixels[number]["patches"]) <= 6
        assert pixels[number]["patches"][-1].max() == 0  # the separator
        assert texts[number]["source_tokens"] <= 6
    assert torch.equal(pixels[long]["tokens"], targets[long][:8])
    assert torch.equal(pixels[long]["target"], targets[long][1:])


def test_a_batch_pads_targets_with_a_symbol_of_their_own(toy_translations):
    for modality in ("pixel", "text"):
        rows = dataset(toy_translations, modality)
        samples = [rows[number] for number in range(4)]
        batch = rows.collater(samples)
        for row, sample in zip(batch["target"], samples, strict=True):
            assert row[row != 400].tolist() == sample["target"].tolist()
        assert batch["source_tokens"].tolist() == [sample["source_tokens"] for sample in samples]
        assert batch["net_input"]["tokens"].max() < 400
    assert rows.collater([]) == {}


def test_parallel_files_and_any_number_of_workers_give_the_same(toy_translations, tmp_path):
    tokenizer = toy_translations.parent / "tokenizer.model"
    for split in ("train", "valid"):
        for number, language in enumerate(("small", "capital")):
            lines = (row[number] + "\n" for row in rows_of(toy_translations, split))
            (tmp_path / f"{split}.{language}").write_text("".join(lines), encoding="utf-8")
    given = {
        f"--{option}": [f"{split}={tmp_path / split}.{language}" for split in ("train", "valid")]
        for option, language in (("sources", "small"), ("targets", "capital"))
    }
    options = [part for option, values in given.items() for part in (option, *values)]
    render_translation(*options, "--tokenizer", tokenizer, "--destdir", tmp_path / "data", "--workers", 2)
    assert files(tmp_path / "data") == files(toy_translations)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--input", "train=a.tsv", "--sources", "train=a.tsv"], "name --input and --columns for a table, or"),
        (["--input", "train=a.tsv"], "--columns: name the columns of the source and of the target"),
        (["--input", "a.tsv", "--columns", "a", "b"], "--input a.tsv: say which split it is, such as train=a.tsv"),
        (["--sources", "train=a", "--targets", "valid=b"], "split train: name a file for it with --sources and"),
        (["--sources", "train=a", "--targets", "train=b"], "no tokenizer, with which targets are written: give"),
        (["--input", "train=absent.tsv", "--columns", "a", "b", "--splits", "x"], "--splits x: there are train"),
    ],
)
def test_commands_that_say_too_little_are_refused(options, message, tmp_path):
    assert message in refusal(script("render_translation"), *options, "--destdir", tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_a_corpus_is_no_folder_of_translations(toy_translations, toy_data, tmp_path):  # noqa: F811
    table = toy_translations.parent / "tables" / "valid.tsv"
    options = ["--input", f"test={table}", "--columns", "small", "capital", "--destdir", toy_data]
    assert f"{toy_data}: split" in refusal(script("render_translation"), *options)
    assert not list(toy_data.glob("test*"))


def test_sources_are_attacked_as_strips_and_as_tokens_and_targets_are_not(toy_translations, tmp_path):
    tables = toy_translations.parent / "tables"
    fixed = ["--columns", "small", "capital", "--tokenizer", toy_translations.parent / "tokenizer.model"]
    attack = "--attack truncate --severity 1 --seed 2 --attack-splits valid --workers 2".split()
    inputs = [f"{split}={tables / split}.tsv" for split in ("train", "valid")]
    render_translation("--input", *inputs, *fixed, "--destdir", tmp_path / "attacked", *attack)
    # The same sources, from a table that holds them.
    header, *rows = (line.split("\t") for line in (tables / "valid.tsv").read_text().splitlines())
    perturbation = Perturbation("truncate", 1.0, 2)
    table = tmp_path / "valid.tsv"
    lines = [header, *([perturbation(source), target] for source, target in rows)]
    table.write_text("".join("\t".join(line) + "\n" for line in lines))
    render_translation("--input", f"valid={table}", *fixed, "--destdir", tmp_path / "expected")

    def streams(folder, split):
        paths = DataFolder(folder).split_files(split)
        return {path.name: path.read_bytes() for path in paths if path.suffix != ".json"}

    assert streams(tmp_path / "attacked", "valid") == streams(tmp_path / "expected", "valid")
    assert streams(tmp_path / "attacked", "train") == streams(toy_translations, "train")
    assert streams(tmp_path / "attacked", "valid") != streams(toy_translations, "valid")
    manifests = [DataFolder(tmp_path / "attacked").read_manifest(split) for split in ("train", "valid")]
    assert manifests[0]["attack"] is None
    assert {name: manifests[1]["attack"][name] for name in ("name", "severity", "seed")} == perturbation.to_dict()
