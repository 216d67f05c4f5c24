"""The authors' rendered data: what is read of it, what is refused, and what becomes of it."""

import base64
import gzip
import json
import tracemalloc
import zlib

import numpy as np
import pytest
import torch
from refusals import refusal, script
from shared_fixtures import shared
from toy_released import ROWS, STRIP_PATCHES, png, row, strip, write_rows

from pixelgpt_fairseq.data.classification import ClassificationDataset
from pixelgpt_fairseq.data.data_folder import DataFolder
from pixelgpt_fairseq.data.streams import PIXEL, TEXT
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.preprocessing.binarize_examples import binarize_examples
from pixelgpt_fairseq.preprocessing.binarize_released import binarize_released
from pixelgpt_fairseq.rendering import RendererConfig, default_fonts
from pixelgpt_fairseq.sources import released as released_module
from pixelgpt_fairseq.sources.examples import Example
from pixelgpt_fairseq.sources.glue import GLUE_TASKS
from pixelgpt_fairseq.sources.released import read_released, released_name
from pixelgpt_fairseq.sources.xnli import XNLI

RTE = GLUE_TASKS["rte"][0]
LOOK = RendererConfig(fonts=default_fonts()[:1])


@pytest.fixture
def folder(tmp_path):
    return write_rows(tmp_path / "rte-train", [row(*values) for values in ROWS])


def test_strips_are_cropped_after_their_separator_and_labels_kept(folder):
    examples = list(read_released(folder, RTE))
    assert [example.label for example in examples] == [label for *_, label in ROWS]
    for example, (first, second, _) in zip(examples, ROWS, strict=True):
        pixels, num_patches = strip((first, second))
        assert example.texts == (first, second)
        assert example.strip_patches == STRIP_PATCHES
        assert example.patches.shape == (num_patches + 1, 256)
        assert not example.patches[-1].any()
        assert np.array_equal(example.patches[1].reshape(16, 16), pixels[:, 16:32, 0])


def test_parts_follow_each_other(folder):
    write_rows(folder, [row(*ROWS[0])], part=1)
    assert [example.where for example in read_released(folder, RTE)][-1].endswith("part-00001.gz, line 1")
    assert len(list(read_released(folder, RTE))) == len(ROWS) + 1


@pytest.mark.parametrize(
    ("task", "split", "name"),
    [
        ("rte", "valid", "rte-validation"),
        ("mnli", "valid", "mnli-validation_matched"),
        ("mnli", "valid_mismatched", "mnli-validation_mismatched"),
        ("mnli", "test", "mnli-test_matched"),
        ("mnli", "train", "mnli-train"),
        ("xnli-sw", "valid", "xnli-sw-validation"),
    ],
)
def test_splits_go_by_the_names_of_the_archives(task, split, name):
    assert released_name(task, split) == name


def bad_png(**header):
    """A PNG whose header tells sizes that no strip has; little data follows."""

    def chunk(kind, content):
        return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")

    sizes = header["width"].to_bytes(4, "big") + header["height"].to_bytes(4, "big")
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", sizes + b"\x08\x02\0\0\0") + chunk(b"IDAT", zlib.compress(b"\0" * 999))
    return base64.b64encode(data + chunk(b"IEND", b"")).decode()


def damaged_png():
    content = bytearray(base64.b64decode(png(strip(("a", "b"))[0])))
    content[60:90] = b"x" * 30
    return base64.b64encode(content).decode()


GOOD = row(*ROWS[0])
BAD_LINES = [
    (b'{"label": 1, "image"', "not JSON"),
    (b"[" * 100_000, "not JSON"),
    (b"\xff\xfe", "not JSON"),
    (b"[1]", "not a JSON object"),
    ({"label": 0}, "no 'image': it has 'label'"),
    ({**GOOD, "image": "!!"}, "image is not base64"),
    ({**GOOD, "image": 7}, "image is not base64"),
    ({**GOOD, "image": base64.b64encode(b"GIF89a...").decode()}, "image is not a PNG"),
    ({**GOOD, "image": ""}, "image is not a PNG"),
    ({**GOOD, "image": bad_png(width=16, height=1 << 30)}, "1073741824 pixels high|not a PNG"),
    ({**GOOD, "image": bad_png(width=1 << 26, height=16)}, "pixels wide|not a PNG"),
    ({**GOOD, "image": bad_png(width=16 * 64, height=16)}, "the PNG is damaged"),
    ({**GOOD, "image": damaged_png()}, "the PNG is damaged|not a PNG"),
    ({**GOOD, "image": png(np.zeros((32, 64), np.uint8))}, "a strip 32 pixels high, not 16"),
    ({**GOOD, "image": png(np.zeros((16, 65), np.uint8))}, "65 pixels wide"),
    ({**GOOD, "image": png(np.zeros((16, 64, 4), np.uint8))}, "mode RGBA"),
    ({**GOOD, "num_patches": STRIP_PATCHES}, "num_patches 64 and a separator, the strip has 64 patches"),
    ({**GOOD, "num_patches": 0}, "num_patches 0"),
    ({**GOOD, "num_patches": "9"}, "num_patches '9'"),
    ({**GOOD, "num_patches": True}, "num_patches True"),
    ({**GOOD, "label": 2}, "unknown label 2: task rte has 0 to 1"),
    ({**GOOD, "label": -1}, "unknown label -1"),
    ({**GOOD, "label": "entailment"}, "unknown label 'entailment'"),
    ({**GOOD, "label": None}, "unknown label None"),
    ({**GOOD, "sentence2": 5}, "sentence2 5 is no text"),
    ({**GOOD, "sentence2": "\ud800"}, "half a character"),
    ({**{k: v for k, v in GOOD.items() if "sent" not in k}, "premise": "a", "hypothesis": "b"}, "text in premise"),
]


@pytest.mark.parametrize(("line", "message"), BAD_LINES, ids=[f"{i}: {m[:30]}" for i, (_, m) in enumerate(BAD_LINES)])
def test_a_bad_line_is_named_or_passed_over(tmp_path, line, message):
    folder = write_rows(tmp_path / "rte-train", [GOOD, line, GOOD])
    with pytest.raises(UserError, match=rf"part-00000\.gz, line 2: .*({message})"):
        list(read_released(folder, RTE))
    skipped = []
    assert len(list(read_released(folder, RTE, on_bad_line=skipped.append))) == 2
    assert len(skipped) == 1


def test_a_damaged_gzip_file_is_named_with_the_line(folder):
    part = folder / "part-00000.gz"
    part.write_bytes(part.read_bytes()[:-300])
    write_rows(folder, [GOOD], part=1)
    with pytest.raises(UserError, match=r"part-00000\.gz, line \d: the gzip file is cut short or damaged"):
        list(read_released(folder, RTE))
    skipped = []
    examples = list(read_released(folder, RTE, on_bad_line=skipped.append))
    assert examples[-1].where.endswith("part-00001.gz, line 1")
    assert len(skipped) == 1
    part.write_bytes(b"no gzip")
    with pytest.raises(UserError, match=r"part-00000\.gz, line 1: the gzip file is"):
        list(read_released(folder, RTE))


def test_a_line_that_unpacks_to_gigabytes_takes_no_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(released_module, "MAX_LINE_BYTES", 1 << 20)
    folder = tmp_path / "rte-train"
    folder.mkdir()
    with gzip.open(folder / "part-00000.gz", "wb", compresslevel=1) as file:
        for _ in range(100):
            file.write(b" " * (1 << 20))
        file.write(b"\n" + json.dumps(GOOD).encode() + b"\n")
    skipped = []
    tracemalloc.start()
    (example,) = read_released(folder, RTE, on_bad_line=skipped.append)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert example.where.endswith("line 2")
    assert "line 1: longer than 1,048,576 bytes" in str(skipped[0])
    assert peak < 8 << 20


def test_test_splits_have_no_labels(tmp_path):
    folder = write_rows(tmp_path / "rte-test", [row("a", "b", -1), {k: v for k, v in GOOD.items() if k != "label"}])
    binarize_released(folder, tmp_path / "data", "test", RTE, progress=False)
    assert not DataFolder(tmp_path / "data").manifest("test")["labeled"]
    assert np.load(DataFolder(tmp_path / "data").labels_path("test")).tolist() == [-1, -1]


def test_binarized_strips_are_the_released_ones_and_text_is_tokenized(folder, tmp_path, toy_data):
    tokenizer = DataFolder(toy_data).tokenizer()
    summary = binarize_released(folder, tmp_path / "data", "train", RTE, tokenizer, verify=LOOK, progress=False)
    assert (summary.counts.examples, summary.labels) == (3, {"entailment": 2, "not_entailment": 1})
    assert (summary.agreement.compared, summary.agreement.identical) == (3, 3)
    data = DataFolder(tmp_path / "data")
    manifest = data.manifest("train")
    assert manifest["renderer"] is None
    assert manifest["patch_values"] == 256
    dataset = ClassificationDataset.from_folder(data, "train", "pair", dictionary=data.dictionary())
    for example, found in zip(read_released(folder, RTE), dataset, strict=True):
        assert np.array_equal(found["patches"].numpy(), example.patches)
        assert found["label"] == example.label
    bos, words = tokenizer.model.bos_id(), tokenizer.model.encode
    assert dataset[1]["tokens"].tolist() == [bos, *words("Dogs bark."), bos, *words("Nothing can be heard.")]


def test_colors_are_kept_also_where_gray_strips_come_first(tmp_path):
    pixels, num_patches = strip(("red", "letters"))
    pixels[3:9, 20:40] = (200, 10, 30)
    colored = row("red", "letters", 1, image=png(pixels), num_patches=num_patches)
    folder = write_rows(tmp_path / "rte-train", [GOOD, GOOD, colored, GOOD])
    summary = binarize_released(folder, tmp_path / "data", "train", RTE, progress=False)
    assert summary.colors
    data = DataFolder(tmp_path / "data")
    strips = data.open("train", PIXEL, data.manifest("train")["patch_values"])
    assert [tuple(strips[i].shape) for i in (0, 2)] == [(GOOD["num_patches"] + 1, 768), (num_patches + 1, 768)]
    assert np.array_equal(strips[2][1].reshape(16, 16, 3).numpy(), pixels[:, 16:32])
    expected = next(read_released(folder, RTE)).patches
    for i in (0, 1, 3):
        assert torch.equal(strips[i].reshape(-1, 256, 3), torch.from_numpy(expected)[..., None].expand(-1, -1, 3))
    assert not data.has("train", TEXT)


def test_other_drawings_than_ours_are_counted_and_the_first_are_named(folder, tmp_path):
    pixels, num_patches = strip(("Other", "text"))
    write_rows(folder, [row("Dogs", "bark", 1, image=png(pixels), num_patches=num_patches)], part=1)
    summary = binarize_released(folder, tmp_path / "data", "train", RTE, verify=LOOK, progress=False)
    assert (summary.agreement.compared, summary.agreement.identical) == (4, 3)
    (difference,) = summary.agreement.differences
    assert "part-00001.gz, line 1: " in difference
    assert "patches differ, the first of them patch 0" in difference


def test_released_and_rendered_splits_do_not_mix(folder, tmp_path):
    binarize_released(folder, tmp_path / "data", "train", RTE, progress=False)
    with pytest.raises(UserError, match="text rendered here against released strips, whose look is not known"):
        binarize_examples([Example(("a", "b"), 0)], tmp_path / "data", "valid", RTE, LOOK, progress=False)
    with pytest.raises(UserError, match=r"train\.manifest\.json: already there"):
        binarize_released(folder, tmp_path / "data", "train", RTE, progress=False)
    with pytest.raises(UserError, match="split train is of task rte"):
        binarize_released(folder, tmp_path / "data", "valid", XNLI, progress=False)
    with pytest.raises(UserError, match="how they were drawn is not known"):
        DataFolder(tmp_path / "data").renderer_config()


def test_a_failed_run_leaves_nothing(tmp_path):
    folder = write_rows(tmp_path / "rte-train", [GOOD, b"{"])
    with pytest.raises(UserError, match="line 2"):
        binarize_released(folder, tmp_path / "data", "train", RTE, progress=False)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("place", "task"), [("rendered_glue/rte-train", RTE), ("rendered_xnli/xnli-sw-validation", XNLI)]
)
def test_the_published_layout_is_read_and_drawn_alike(tmp_path, place, task):
    folder = shared(f"reference/released_format/{place}")
    summary = binarize_released(folder, tmp_path, "train", task, detokenized=False, verify=LOOK, progress=False)
    assert summary.counts.examples > 5
    assert summary.agreement.identical == summary.counts.examples
    assert not summary.without_separator


# The scripts


def run(name, *options):
    script(name)([str(option) for option in options])


def test_all_released_languages_become_splits_of_their_own(tmp_path, capsys):
    def line(label):
        changed = {("premise" if key == "sentence1" else key): value for key, value in GOOD.items()}
        changed["hypothesis"] = changed.pop("sentence2")
        return {**changed, "label": label}

    for language in ("en", "sw"):
        for split in ("train", "validation", "test"):
            write_rows(tmp_path / f"rendered_xnli/xnli-{language}-{split}", [line(label) for label in range(3)])
    run("render_xnli", "--released", tmp_path, "--destdir", tmp_path / "data")
    splits = ["test.en", "test.sw", "train.en", "train.sw", "valid.en", "valid.sw"]
    assert DataFolder(tmp_path / "data").splits() == splits
    assert capsys.readouterr().out.count("(entailment: 1, neutral: 1, contradiction: 1)") == 6
    options = ["--released", tmp_path, "--destdir", tmp_path / "more", "--languages", "en,fr"]
    assert "xnli-fr-train: no such folder (split train of xnli-fr)" in refusal(script("render_xnli"), *options)


def test_the_script_counts_skipped_lines_and_reports_agreement(tmp_path, capsys):
    for split in ("train", "validation"):
        write_rows(tmp_path / f"rte-{split}", [GOOD, b"{", {**GOOD, "label": 7}, GOOD])
    options = ["--released", tmp_path, "--task", "rte", "--destdir", tmp_path / "data", "--verify-rendering"]
    line = refusal(script("render_glue"), *options)
    assert "part-00000.gz, line 2: not JSON" in line
    assert not (tmp_path / "data").exists()
    run("render_glue", *options, "--skip-bad-lines")
    printed = capsys.readouterr()
    assert printed.out.count("2 examples (entailment: 2, not_entailment: 0), 2 lines skipped") == 2
    assert printed.out.count("2 of 2 strips are identical to this package's rendering") == 2
    assert "line 3: unknown label 7" in printed.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--released {0}/none --task rte", "no such folder"),
        ("--released {0} --task qnli", "qnli-train: no such folder (split train of qnli)"),
        ("--released {0} --task rte --splits test", "rte-test: no such folder (split test of rte)"),
        ("--released {0} --task rte --splits dev", "--splits dev: the released rte has train, valid, test"),
        ("--released {0} --task all --splits test", "no folders such as rte-train in it"),
        ("--glue-dir {0} --released {0} --task rte", "name --glue-dir and --task; or --released and --task"),
        ("--glue-dir {0} --task rte --verify-rendering", "there is nothing to compare with but in --released"),
    ],
)
def test_mistakes_are_told_in_one_line(folder, options, message):
    where = folder.parent
    assert message in refusal(script("render_glue"), *options.format(where).split(), "--destdir", where / "data")
