"""What the attacks do in XNLI's fifteen languages."""

import random
import unicodedata

import pytest
from shared_fixtures import shared
from skips import needs_attack_packages

from pixelgpt_fairseq.perturbations import ATTACKS, attack, attack_with_words
from pixelgpt_fairseq.perturbations.words import characters, word_spans
from pixelgpt_fairseq.sources.tables import read_rows
from pixelgpt_fairseq.sources.xnli import LANGUAGES

# The children were not playing in the garden yesterday evening.
SENTENCES = {
    "en": "The children were not playing in the garden yesterday evening.",
    "fr": "Les enfants ne jouaient pas dans le jardin hier après-midi, à l'école.",
    "es": "Los niños no jugaban ayer por la tarde en el jardín.",
    "de": "Die Kinder haben gestern nicht im schönen Garten gespielt.",
    "el": "Τα παιδιά δεν έπαιζαν χθες το απόγευμα στον κήπο.",
    "bg": "Децата не играеха вчера следобед в градината.",
    "ru": "Дети вчера вечером не играли в нашем саду.",
    "tr": "Çocuklar dün akşam bahçede oynamıyorlardı.",
    "ar": "لم يكن الأطفال يلعبون في الحديقة مساء أمس.",
    "vi": "Bọn trẻ không chơi trong vườn tối hôm qua.",
    "th": "เมื่อวานเย็นเด็กๆ ไม่ได้เล่นในสวน",
    "zh": "昨天晚上孩子们没有在花园里玩。",
    "hi": "कल शाम बच्चे बगीचे में नहीं खिलवाड़ कर रहे थे।",
    "sw": "Watoto hawakuwa wakicheza bustanini jana jioni.",
    "ur": "کل شام بچے باغ میں نہیں کھیل رہے تھے۔",
}
LATIN = {"en", "fr", "es", "de", "tr", "vi", "sw"}
SPACED = set(SENTENCES) - {"th", "zh"}
CHANGED = {
    "full-swap": SPACED,
    "inner-swap": SPACED,
    "intrude": SPACED,
    "disemvowel": LATIN,
    "truncate": SPACED,
    "keyboard-typo": LATIN,
    "segmentation": set(SENTENCES) - {"zh"},  # this Thai sentence has a space in it
    "confusable": set(SENTENCES),
}
CASES = [(name, language) for name in CHANGED for language in SENTENCES]

pytestmark = needs_attack_packages


def test_there_is_a_sentence_in_every_language():
    assert set(SENTENCES) == set(LANGUAGES)


@pytest.mark.parametrize("name", CHANGED)
def test_an_attack_reaches_the_languages_that_its_description_names(name):
    changed = {code for code, text in SENTENCES.items() if attack(text, name, 1.0, random.Random(1)) != text}
    assert changed == CHANGED[name]


def test_phonetic_knows_english_words_alone():
    assert attack(SENTENCES["en"], "phonetic", 1.0, random.Random(1)) != SENTENCES["en"]
    for language in set(SENTENCES) - LATIN:
        assert attack(SENTENCES[language], "phonetic", 1.0, random.Random(1)) == SENTENCES[language]


def test_natural_typos_are_of_the_languages_of_the_list():
    typos = {"جو": ("جوو",), "вчера": ("вчира",), "watoto": ("watotto",), "玩": ("完",)}
    changed = {
        code for code, text in SENTENCES.items() if attack(text, "natural-typo", 1.0, random.Random(1), typos) != text
    }
    assert changed == {"bg", "ru", "sw", "zh"}


@pytest.mark.parametrize(("name", "language"), CASES)
def test_marks_stay_with_their_letters(name, language):
    for form in ("NFC", "NFD"):
        text = unicodedata.normalize(form, SENTENCES[language])
        after = attack_with_words(text, name, 0.8, random.Random(2))
        for old, new in after.words:
            before, became = characters(text[slice(*old)]), characters(after.text[slice(*new)])
            if name in ("full-swap", "inner-swap"):
                assert sorted(before) == sorted(became)
            elif name in ("truncate", "disemvowel"):
                assert not set(became) - set(before)
            elif name == "segmentation":
                assert before == became


def test_words_of_scripts_with_spaces_are_told_apart_by_them():
    for language in SPACED:
        text = SENTENCES[language].replace("-", " ")
        assert [text[slice(*span)] for span in word_spans(text)] == [word.strip(".,।۔") for word in text.split()]


def test_every_character_of_scripts_without_spaces_is_a_word():
    assert [end - start for start, end in word_spans(SENTENCES["zh"])] == [1] * 14
    assert len(word_spans("เด็กๆ")) == 4


def test_vowels_with_accents_are_vowels():
    assert attack("Übermäßig école", "disemvowel", 1.0, random.Random(1)) == "brmßg cl"


@pytest.mark.parametrize("language", ["en", "sw"])
def test_real_sentences_keep_their_words_and_what_is_between_them(language):
    rows = read_rows(shared("data/xnli/xnli.dev.tsv"), ["language", "sentence1"])
    texts = [values[1] for _, values in rows if values[0] == language][:100]
    assert len(texts) == 100
    for name in ATTACKS:
        changed = 0
        for text in texts:
            after = attack_with_words(text, name, 0.5, random.Random(1), {"the": ("teh",), "na": ("nna",)})
            assert [old for old, _ in after.words] == word_spans(text)
            changed += after.text != text
        assert changed > (0 if (name, language) == ("phonetic", "sw") else 40), name
