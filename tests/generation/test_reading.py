"""Strips of text are read back: exactly as they were rendered, as well as they fit with noise."""

import csv
import subprocess
import sys

import numpy as np
import pytest
from refusals import refusal, script
from shared_fixtures import shared

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.generation import reading
from pixelgpt_fairseq.generation.glyph_bank import look_alikes
from pixelgpt_fairseq.generation.reading import read_continuation, read_strip
from pixelgpt_fairseq.generation.word_list import WordList, read_word_list
from pixelgpt_fairseq.rendering import FontFile, RendererConfig, TextRenderer

SENTENCES = {
    "English": [
        "The quick fox (a red one) jumped over 13 lazy dogs, didn't it?",
        "Fifty-five flat_files: $12.50 & 7% off; \"to be\" or 'not'!",
        "AV, Ta. WWW; j'y fjord. ff fi fl",
        "no  ace",  # two spaces, and nothing that rises above the small letters
    ],
    "Swahili": [
        "Ng'ombe wa jirani yangu hula majani mabichi kila asubuhi.",
        "Je, mmeiona njia ya kwenda Ziwa Victoria?",
    ],
    "Russian": ["Съешь ещё этих мягких французских булок, да выпей чаю.", "В 1961 году Юрий Гагарин полетел в космос!"],
    "Chinese": ["今天天气很好，我们去公园散步吧。", "他买了三本书，一共花了58元。"],
    "Vietnamese": ["Hôm nay trời đẹp, chúng ta đi dạo nhé?"],
    "Greek": ["Η γλώσσα μας είναι όμορφη."],
}


@pytest.fixture(scope="module")
def render():
    return TextRenderer()


def noisy(pixels, share, seed=0):
    """A strip in black and white, in which a share of the pixels before the separator is inverted."""
    pixels = np.where(pixels > 127, 255, 0).astype(np.uint8)
    inverted = np.random.default_rng(seed).random(pixels.shape) < share
    inverted[:, -16:] = False
    return np.where(inverted, 255 - pixels, pixels)


@pytest.mark.parametrize("language", SENTENCES)
def test_a_rendered_strip_is_read_exactly(render, language):
    for sentence in SENTENCES[language]:
        reading = read_strip(render(sentence).pixels, render.config)
        assert (reading.text, reading.score) == (sentence, 1.0)
        assert {span.score for span in reading.spans} == {1.0}


def test_spans_are_where_the_renderer_put_the_characters(render):
    sentence = "Where each letter stands: fjord."
    reading = read_strip(render(sentence).pixels, render.config)
    pens = render.pen_positions(sentence) + 2  # a line begins at column 2 of its strip
    assert [span.start for span in reading.spans] == pens[:-1].tolist()
    assert [span.end for span in reading.spans] == pens[1:].tolist()


@pytest.mark.parametrize("column", [0, 1, 23])
def test_a_strip_may_begin_and_end_anywhere(render, column):
    pixels = render("cut at the left").pixels[:, column:-16]
    text = read_strip(pixels, render.config).text
    assert text.endswith("at the left")


def test_half_a_letter_at_the_edge_costs_no_other(render):
    pixels = noisy(render("cut at the left").pixels, 0)[:, 28:-16]  # within the t
    assert read_strip(pixels, render.config, "aceflhtu").text.endswith("the left")


def test_the_two_texts_of_a_pair_are_lines(render):
    strip = render(("Is it cold?", "No, it is not."))
    assert read_strip(strip.pixels, render.config).text == "Is it cold?\nNo, it is not."


def test_words_that_begin_at_patches_are_words(render):
    text = read_strip(render(["one", "word", "after", "another"]).pixels, render.config).text
    assert text.split() == ["one", "word", "after", "another"]


@pytest.mark.parametrize(
    "look",
    [
        {"render_mode": "binary"},
        {"render_mode": "rgb", "font_color": "#203060", "background_color": "#fff0d0"},
        {"font_color": "white", "background_color": "black"},
        {"font_size": 10, "dpi": 180, "patch_size": 32, "pad_size": 6},
    ],
)
def test_other_looks_are_read(look):
    renderer = TextRenderer(RendererConfig(**look))
    sentence = "The same words in another look, 25 of them."
    assert read_strip(renderer(sentence).pixels, renderer.config).text == sentence


def test_noise_costs_few_characters_and_shows_in_their_scores(render):
    sentence = "A generated strip has pixels that are wrong here and there."
    letters = "".join(set(sentence))
    clean = read_strip(noisy(render(sentence).pixels, 0), render.config, letters)
    assert (clean.text, clean.score) == (sentence, 1.0)
    reading = read_strip(noisy(render(sentence).pixels, 0.02), render.config, letters)
    right = sum(a == b for a, b in zip(reading.text, sentence, strict=False))
    assert right >= len(sentence) - 3
    assert 0.8 < reading.score < 1
    assert all(0 <= span.score <= 1 for span in reading.spans)


@pytest.mark.parametrize(("share", "most"), [(0, 1), (0.02, 4)])
def test_few_baselines_are_tried(render, monkeypatch, share, most):
    paths = []
    search = reading.shortest_path
    monkeypatch.setattr(reading, "shortest_path", lambda *given: paths.append(given) or search(*given))
    letters = "".join(map(chr, range(33, 127)))
    sentence = SENTENCES["English"][0]
    assert read_strip(noisy(render(sentence).pixels, share), render.config, letters).score > 0.85
    assert len(paths) <= most


def test_an_alphabet_narrows_what_is_read(render):
    pixels = noisy(render("0 or O, 1 or l").pixels, 0.01)
    assert set(read_strip(pixels, render.config, "0123456789").text) <= set("0123456789 ")


def test_a_word_list_decides_where_noise_does_not(render):
    sentence = "The clever thief told a tale."
    words = ["the", "clever", "thief", "told", "a", "tale"]
    letters = "".join(map(chr, range(33, 127)))
    strips = [noisy(render(sentence).pixels, 0.06, seed) for seed in range(8)]
    alone = [read_strip(strip, render.config, letters).text for strip in strips]
    narrowed = [read_strip(strip, render.config, words=words).text for strip in strips]
    assert alone.count(sentence) < narrowed.count(sentence) >= 6
    assert read_strip(strips[0], render.config, letters, WordList(words)).text == narrowed[0]


def test_words_that_are_not_listed_are_read_where_they_fit(render):
    words = ["she", "saw", "it"]
    for sentence in ("She saw Kowalczyk.", "SHE saw it", "w it, 14 it-it"):
        assert read_strip(noisy(render(sentence).pixels, 0.01, 1), render.config, words=words).text == sentence
    clean = "Ça, naïve: она 今"  # as it was rendered, whatever the list says
    assert read_strip(render(clean).pixels, render.config, words=words).text == clean


def test_listed_words_are_told_from_what_looks_alike(render):
    strip = render("модуль PAM и слово").pixels
    assert read_strip(strip, render.config).text == "модуль РАМ и слово"
    assert read_strip(strip, render.config, words=["pam"]).text == "модуль PAM и слово"


@pytest.mark.parametrize("share", [0, 0.02])
def test_words_may_have_combining_marks(render, share):
    text = "cafe\u0301 noir"
    assert read_strip(noisy(render(text).pixels, share, 1), render.config, words=text.split()).text == text


def test_a_continuation_is_read_by_words_too(render):
    pixels = noisy(render("The clever thief").pixels, 0.02)[:, :-16]
    start = 2 + int(render.pen_positions("The clever thief")[4])
    found = read_continuation(pixels, start, render.config, words=["the", "clever", "thief"])
    assert found.text == "clever thief"


def test_what_looks_alike_is_told_apart_by_the_letters_around_it(render):
    sentence = "ATOM и АТОМЫ, cop и сор"  # the second and the last are Cyrillic
    groups = look_alikes(render.config)
    assert all(any({a, b} <= set(group) for group in groups) for a, b in zip("ATOMcop", "АТОМсор", strict=True))
    assert read_strip(render("АТОМЫ и слово").pixels, render.config).text == "АТОМЫ и слово"
    assert read_strip(render("cop and ATOM").pixels, render.config).text == "cop and ATOM"
    read = read_strip(render(sentence).pixels, render.config).text
    alike = {character: group for group in groups for character in group}
    assert [alike.get(c, c) for c in read] == [alike.get(c, c) for c in sentence]


def test_an_empty_strip_is_an_empty_text(render):
    assert read_strip(render("").pixels, render.config)[:1] == ("",)
    assert read_strip(np.zeros((16, 0), dtype=np.uint8), render.config).text == ""


def test_a_strip_of_noise_is_read_without_ado(render):
    pixels = (np.random.default_rng(0).random((16, 64)) > 0.5).astype(np.uint8) * 255
    assert 0 <= read_strip(pixels, render.config, "abc").score <= 1


@pytest.mark.parametrize("language", ["en", "sw"])
def test_real_lines_are_read_exactly(render, language):
    with open(shared("data/xnli/xnli.dev.tsv"), encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    sentences = [row["sentence1"] for row in rows if row["language"] == language][:60]
    assert [read_strip(render(each).pixels, render.config).text for each in sentences] == sentences


def test_bad_input_is_one_line(render, tmp_path):
    strip = render("text").pixels
    with pytest.raises(UserError, match="uint8"):
        read_strip(strip.astype(float), render.config)
    with pytest.raises(UserError, match=r"\[16, columns\]"):
        read_strip(strip[:8], render.config)
    with pytest.raises(UserError, match="--renderer-backend pygame"):
        read_strip(strip, RendererConfig(backend="pillow"))
    with pytest.raises(UserError, match="alphabet"):
        read_strip(strip, render.config, " ")
    with pytest.raises(UserError, match="alphabet"):
        read_strip(strip, render.config, "\U0001f9ea")  # neither font has it
    with pytest.raises(UserError, match="same"):
        read_strip(strip, RendererConfig(font_color="white"))
    with pytest.raises(UserError, match="name at least one word"):
        read_strip(strip, render.config, words=[""])
    with pytest.raises(UserError, match="'two words' has a space"):
        read_strip(strip, render.config, words=["two words"])
    lost = FontFile("NoSuchFont.ttf", None, tmp_path / "NoSuchFont.ttf")
    with pytest.raises(UserError, match=r"NoSuchFont\.ttf"):
        read_strip(strip, RendererConfig(fonts=(lost,)))


def test_word_lists_are_files_with_a_word_on_each_line(tmp_path):
    (tmp_path / "words").write_text("\ufeffNg'ombe\n\nSwahili\n ice-cream \n", encoding="utf-8")
    words = read_word_list(tmp_path / "words")
    listed = ["ng'ombe", "Ng'ombe", "NG'OMBE", "swahili", "Ice-cream"]
    others = ["", "swahil", "swahilis", "sWahili", "SWahili", "SWAHILi", "ng"]
    assert [text in words for text in listed + others] == [True] * len(listed) + [False] * len(others)
    refused = {"nothing": "name at least one word", "two words": "'two words' has a space"}
    for text, message in refused.items():
        (tmp_path / "words").write_text("" if text == "nothing" else text)
        with pytest.raises(UserError, match=f"words, a word a line: words: {message}"):
            read_word_list(tmp_path / "words")
    (tmp_path / "words").write_bytes(b"\xff\xfe\xfd")
    with pytest.raises(UserError, match="not UTF-8"):
        read_word_list(tmp_path / "words")
    with pytest.raises(UserError, match="nowhere"):
        read_word_list(tmp_path / "nowhere")


def test_reading_needs_neither_torch_nor_fairseq():
    script = (
        "import sys; from pixelgpt_fairseq.generation import read_strip; from pixelgpt_fairseq.rendering import *;"
        "r = TextRenderer(); print(read_strip(r('abc').pixels, r.config, 'abc').text);"
        "print({'torch', 'fairseq'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "abc\nset()\n"


def test_the_benchmark_counts_what_comes_back(tmp_path, capsys):
    (tmp_path / "lines").write_text("PAM и слово\nplain words\n\n", encoding="utf-8")
    script("bench_strip_reading")(["--input", str(tmp_path / "lines")])
    told = capsys.readouterr().out
    assert "2 lines, 2 pixel for pixel, 1 the same text, 2 but for look-alikes; 0.00% of 22 characters wrong" in told
    script("bench_strip_reading")(
        ["--input", str(tmp_path / "lines"), "--lines", "1", "--noise", "0.3", "--alphabet", "PAM и слово"]
    )
    assert "1 lines, 0 pixel for pixel" in capsys.readouterr().out
    assert "nowhere" in refusal(script("bench_strip_reading"), "--input", tmp_path / "nowhere")
