"""Last words and short answers: three layouts of files, and what models are found to answer."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from naive import small_model
from refusals import refusal, script

import pixelgpt_fairseq
from pixelgpt_fairseq.checkpoints.released import save_released
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.evaluation import cloze, ocr
from pixelgpt_fairseq.generation.patches import prompt_patches
from pixelgpt_fairseq.generation.reading import Reading

PASSAGES = ["The baker opened the oven and took out the Bread.", "At night the owl sat in the tree"]
BABI = (
    "1 Ann went to the garden.\n2 Where is Ann? \tgarden\t1\n"
    "1 Tom took the milk.\n2 Tom left.\n3 What did Tom take?\tmilk\t1\n"
)


@pytest.fixture(scope="module")
def loaded(checkpoint):
    return pixelgpt_fairseq.load(checkpoint)


@pytest.fixture
def write(tmp_path):
    def write(text):
        (tmp_path / "items").write_text(text, encoding="utf-8")
        return tmp_path / "items"

    return write


def test_each_layout_is_read(write):
    plain = [(passage.rpartition(" ")[0], word) for passage, word in zip(PASSAGES, ("bread", "tree"), strict=True)]
    assert cloze.read_items(write("\n\n".join(PASSAGES))) == plain
    assert cloze.read_items(write("\n".join(json.dumps({"text": text}) for text in PASSAGES))) == plain
    assert cloze.read_items(write(BABI)) == [
        ("Ann went to the garden. Where is Ann?", "garden"),
        ("Tom took the milk. Tom left. What did Tom take?", "milk"),
    ]


def test_the_first_run_of_letters_is_the_word():
    assert [cloze.first_word(text) for text in (" \"Don't", "3 Été.", "12 !")] == ["don", "été", ""]


def test_what_a_model_draws_is_compared_with_the_answer(loaded, monkeypatch):
    items = [cloze.ClozeItem("One small", "word"), cloze.ClozeItem("A large", "house")]
    words = ["word", "mouse"]
    rows = []
    for item, word in zip(items, words, strict=True):
        start = len(prompt_patches(loaded.renderer, item.prompt, shift=True))
        column = 2 + int(loaded.renderer.pen_positions(f"{item.prompt} {word}")[len(item.prompt) + 1])
        pixels = loaded.renderer(f"{item.prompt} {word}").pixels[:, :-16]
        moved = np.pad(pixels, ((0, 0), (start * 16 - column, 64)), constant_values=255)[:, start * 16 :][:, :64]
        rows.append(torch.from_numpy(moved.reshape(16, 4, 16).swapaxes(0, 1).reshape(4, 256).copy()))
    drawn = iter(torch.stack(rows, dim=1).float().div(255).sub(0.5).repeat_interleave(3, dim=2))

    def forward(hidden):
        return next(drawn)[:, None].expand(*hidden.shape[:-1], -1)

    monkeypatch.setattr(loaded.model.lm_pixel_head, "forward", forward)
    monkeypatch.setattr(loaded.model, "patch_loss", "bce")
    monkeypatch.setattr(cloze, "ocr_readers", lambda: {"other": lambda pixels, start: "House!"})
    answers = cloze.answer_by_patches(loaded, items, 4)
    assert [answer.words for answer in answers] == [
        {"strip": "word", "other": "house"},
        {"strip": "mouse", "other": "house"},
    ]
    shares = cloze.summarize(answers, {"word", "house"})
    assert shares == {
        "accuracy by strip": 0.5,
        "accuracy by other": 0.5,
        "accuracy by any": 1.0,
        "readable by strip": 0.5,
        "readable by other": 1.0,
    }


def test_a_passage_beyond_the_positions_loses_its_first_words(loaded):
    item = cloze.ClozeItem("word " * 300 + "the last", "one")
    (answer,) = cloze.answer_by_patches(loaded, [item], 2, alphabet="abc", ocr=False)
    assert list(answer.words) == ["strip"]


def test_ranks_are_those_of_the_models_probabilities(loaded):
    tokenizer = loaded.tokenizer
    item = cloze.ClozeItem("The value", "of")
    (answer,) = cloze.answer_by_tokens(loaded, [item])
    prompt = [tokenizer.bos, *tokenizer("The value")]
    first = tokenizer("The value of")[len(prompt) - 1]
    order = loaded.model(tokens=torch.tensor([prompt])).token_logits[0, -1].argsort(descending=True).tolist()
    assert answer.rank == order.index(first) + 1
    assert cloze.summarize([answer])["mean reciprocal rank"] == pytest.approx(1 / answer.rank)


def test_ocr_sees_the_word_enlarged_on_white():
    pixels = np.full((16, 64), 255, dtype=np.uint8)
    pixels[4:12, 20:24] = 0
    picture = np.array(ocr.enlarged(pixels, 16))
    assert picture.shape == (16 * 3 + 16, 48 * 3 + 16, 3)
    assert (picture[8 + 18, 8 + 18] == 0).all()
    assert (picture[:8] == 255).all()


def test_ocr_programs_are_given_the_word_where_they_are_installed(loaded, tmp_path, monkeypatch):
    pixels = loaded.renderer("a garden").pixels[:, :-16]
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(ocr.importlib.util, "find_spec", lambda name: None)
    assert ocr.ocr_readers() == {}

    program = tmp_path / "tesseract"  # says how large a picture it was given
    program.write_text(
        f"#!{sys.executable}\nimport sys\nfrom PIL import Image\n"
        "assert sys.argv[1:] == 'stdin stdout --psm 7'.split()\n"
        "print(*Image.open(sys.stdin.buffer).size)\n"
    )
    program.chmod(0o755)

    class RapidOCR:
        def __init__(self, params):
            pass

        def __call__(self, picture, use_det, use_cls, use_rec):
            assert (use_det, use_cls, use_rec) == (False, False, True)
            return SimpleNamespace(txts=[" ".join(map(str, picture.shape[1::-1]))])

    monkeypatch.setitem(sys.modules, "rapidocr", SimpleNamespace(RapidOCR=RapidOCR))
    monkeypatch.setattr(ocr.importlib.util, "find_spec", lambda name: name)
    ocr._rapidocr_engine.cache_clear()
    readers = ocr.ocr_readers()
    assert sorted(readers) == ["rapidocr", "tesseract"]
    size = "{} {}".format(*ocr.enlarged(pixels, 16).size)
    for read in readers.values():
        assert read(pixels, 16).strip() == size
        assert read(pixels, pixels.shape[1]) == ""
    ocr._rapidocr_engine.cache_clear()


@pytest.mark.parametrize("modality", ["pixel", "text"])
def test_the_script_prints_shares_and_writes_every_item(modality, checkpoint, write, tmp_path, capsys):
    evaluate = script("evaluate_cloze")
    (tmp_path / "words").write_text("garden\n")
    arguments = ["--checkpoint", checkpoint, "--input", write(BABI), "--output", tmp_path / "out.tsv"]
    arguments += ["--modality", modality, "--words", tmp_path / "words", "--alphabet", "abc", "--no-ocr"]
    evaluate([str(each) for each in arguments])
    printed = capsys.readouterr().out.splitlines()
    reader = "strip" if modality == "pixel" else "tokens"
    assert printed[0] == f"2 items, modality {modality}"
    assert printed[1].startswith(f"accuracy by {reader}: 0.")
    rows = [line.split("\t") for line in (tmp_path / "out.tsv").read_text().splitlines()]
    assert rows[0] == ["prompt", "answer", reader, "rank"]
    assert [row[1] for row in rows[1:]] == ["garden", "milk"]
    assert "already there" in refusal(evaluate, *arguments)


def test_expected_words_narrow_what_is_read(checkpoint, write, tmp_path, monkeypatch):
    given = []

    def read(pixels, start, config, alphabet, words):
        given.append(words)
        return Reading("garden", 1.0, [])

    monkeypatch.setattr(cloze, "read_continuation", read)
    (tmp_path / "words").write_text("garden\n")
    arguments = ["--checkpoint", checkpoint, "--input", write(BABI), "--expected-words", tmp_path / "words", "--no-ocr"]
    script("evaluate_cloze")([str(each) for each in arguments])
    assert [list(words.words) for words in given] == [["garden"]] * 2


def test_bad_input_is_one_line(checkpoint, write, tmp_path):
    evaluate = script("evaluate_cloze")
    save_released(small_model(uses_patches=False), tmp_path / "text")
    with pytest.raises(UserError, match="no passages"):
        cloze.read_items(write("\n\n"))
    with pytest.raises(UserError, match="line 2: a passage has several words"):
        cloze.read_items(write("two words\none\n"))
    with pytest.raises(UserError, match="line 1: not a JSON object"):
        cloze.read_items(write('{"txt": 1}\n'))
    refusals = [
        ([checkpoint, "--input", tmp_path / "nowhere"], "nowhere"),
        ([checkpoint, "--input", write("two words"), "--patches", 0], "--patches 0"),
        ([checkpoint, "--input", write("two words"), "--words", tmp_path / "nowhere"], "nowhere"),
        ([checkpoint, "--input", write("two words"), "--expected-words", tmp_path / "nowhere"], "nowhere"),
        ([tmp_path / "text", "--input", write("two words"), "--modality", "pixel"], "reads no patches"),
    ]
    for arguments, message in refusals:
        assert message in refusal(evaluate, "--checkpoint", *arguments), arguments
