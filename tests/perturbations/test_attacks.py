"""The ten attacks: what each does to a word or a text, how much of it, and that a seed decides it."""

import random
import string
from collections import Counter

import numpy as np
import pytest
from skips import needs_attack_packages

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.perturbations import ATTACKS, Perturbation, attack, attack_with_words
from pixelgpt_fairseq.perturbations.keyboard import NEIGHBORS
from pixelgpt_fairseq.perturbations.packages import lookalikes, pronunciations
from pixelgpt_fairseq.perturbations.words import word_spans

TEXT = (
    "Nobody expected, I'd say, that these 23 wonderful children would understand Shakespeare's plays (or enjoy them)!"
)
TYPOS = {"children": ("childern", "chldren"), "would": ("woud",), "understand": ("undestand",)}
WORD_ATTACKS = [name for name, found in ATTACKS.items() if found.change_character is None]
LETTER_ATTACKS = ["full-swap", "inner-swap", "intrude", "disemvowel", "truncate", "keyboard-typo"]

pytestmark = needs_attack_packages


def attacked(word, name, seed=1, severity=1.0, typos=TYPOS):
    return attack(word, name, severity, random.Random(seed), typos)


def outcomes(word, name, severity=1.0):
    return {attacked(word, name, seed, severity) for seed in range(300)}


def test_the_attacks_are_the_ten_of_the_field():
    assert list(ATTACKS) == [
        *("full-swap", "inner-swap", "intrude", "disemvowel", "truncate", "keyboard-typo", "natural-typo"),
        *("segmentation", "confusable", "phonetic"),
    ]


@pytest.mark.parametrize("name", ATTACKS)
def test_the_same_seed_gives_the_same_text_and_another_seed_another(name):
    texts = [attacked(TEXT, name, seed, 0.5) for seed in (1, 1, 2, 3, 4)]
    assert texts[0] == texts[1] != TEXT
    assert len(set(texts)) > 1


@pytest.mark.parametrize("name", ATTACKS)
def test_numpy_generators_will_do_as_well(name):
    one, other = (attack(TEXT, name, 0.5, np.random.default_rng(3), TYPOS) for _ in range(2))
    assert one == other != TEXT


@pytest.mark.parametrize("name", ATTACKS)
def test_severity_zero_changes_nothing_and_neither_does_a_text_without_words(name):
    assert attacked(TEXT, name, severity=0) == TEXT
    assert attacked("... ?!", name) in ("... ?!", "...?!")
    assert attacked("", name) == ""


@pytest.mark.parametrize("name", [*LETTER_ATTACKS, "phonetic"])
@pytest.mark.parametrize("severity", [0.2, 0.5, 0.8])
def test_as_many_words_change_as_the_severity_says(name, severity):
    text = "people wonder whether simple changes matter among twenty ordinary words"  # ten that every attack can change
    before, after = text.split(), attacked(text, name, severity=severity).split(" ")
    assert sum(one != other for one, other in zip(before, after, strict=True)) == round(10 * severity)


def test_words_that_cannot_change_do_not_count_and_when_none_is_left_all_others_have_changed():
    assert (
        attacked("I am at it; so is she, understand?", "truncate", severity=0.1) == "I am at it; so is she, understan?"
    )
    assert attacked("we understand children", "truncate", severity=0.9) == "we understan childre"


@pytest.mark.parametrize("name", WORD_ATTACKS)
def test_what_is_between_the_words_stays(name):
    after = attack_with_words(TEXT, name, 0.8, random.Random(1), TYPOS)

    def between(text, spans):
        ends = [0, *(end for _, end in spans)]
        return [text[end:start] for end, start in zip(ends, [*(start for start, _ in spans), len(text)], strict=True)]

    old, new = zip(*after.words, strict=True)
    assert between(TEXT, old) == between(after.text, new)


@pytest.mark.parametrize("name", ATTACKS)
def test_the_map_of_words_leads_from_each_word_to_what_it_became(name):
    after = attack_with_words(TEXT, name, 0.5, random.Random(1), TYPOS)
    assert [old for old, _ in after.words] == word_spans(TEXT)
    pairs = [(TEXT[slice(*old)], after.text[slice(*new)]) for old, new in after.words]
    assert all(new for _, new in pairs)
    changed = sum(old != new for old, new in pairs)
    if name == "segmentation":
        assert changed == 0
        assert "".join(new for _, new in pairs) == "".join(old for old, _ in pairs)
        assert len(after.text) == len(TEXT) - after.changed
    elif name == "confusable":
        assert 0 < changed <= after.changed
    else:
        assert changed == after.changed > 0
    assert [new[0] for _, new in after.words] == sorted(new[0] for _, new in after.words)


def test_full_swap_shuffles_all_letters():
    found = outcomes("abcd", "full-swap")
    assert {tuple(sorted(word)) for word in found} == {tuple("abcd")}
    assert len(found) == 23  # all orders but the word itself
    assert outcomes("ab", "full-swap") == {"ab"}
    assert outcomes("aaa", "full-swap") == {"aaa"}
    assert outcomes("don't", "full-swap") > {"nod't"}
    assert {word.index("'") for word in outcomes("don't", "full-swap")} == {3}


def test_inner_swap_keeps_the_first_and_the_last_letter():
    assert outcomes("abcd", "inner-swap") == {"acbd"}
    assert outcomes("abc", "inner-swap") == {"abc"}
    assert {word[0] + word[-1] for word in outcomes("wonderful", "inner-swap")} == {"wl"}


def test_intrude_repeats_one_punctuation_character():
    for severity in (1e-300, 0.3, 1.0):
        for word in outcomes("plays", "intrude", severity):
            intruders = [character for character in word if not character.isalpha()]
            assert "".join(character for character in word if character.isalpha()) == "plays"
            assert len(set(intruders)) == 1
            assert set(intruders) <= set(string.punctuation)
    assert {len(word) for word in outcomes("plays", "intrude", 1e-300)} == {6}
    assert {len(word) for word in outcomes("plays", "intrude", 1.0)} == {10}
    assert {word[0] + word[2:] for word in outcomes("to", "intrude")} == {"to"}
    assert outcomes("I", "intrude") == {"I"}


def test_intrude_puts_as_many_as_the_severity_says_where_there_is_one():
    lengths = Counter(len(attacked("abcdefghij", "intrude", seed, 0.5)) - 10 for seed in range(2000))
    assert 4.7 < sum(number * times for number, times in lengths.items()) / 2000 < 5.3


def test_disemvowel_leaves_the_consonants():
    assert attacked("Beautiful", "disemvowel") == "Btfl"
    assert attacked("AUSTRIA", "disemvowel") == "STR"
    assert attacked("eau eye by of", "disemvowel") == "eau y by of"


def test_truncate_takes_the_last_letter_of_more_than_three():
    assert attacked("plays them all", "truncate") == "play the all"


def test_keyboard_typos_are_of_keys_side_by_side():
    assert outcomes("A", "keyboard-typo") == set("QWSZ")
    assert outcomes("p", "keyboard-typo") == set("ol")
    assert all(one in NEIGHBORS[other] for one in NEIGHBORS for other in NEIGHBORS[one])
    assert set(NEIGHBORS["g"]) == set("fhtyvb")
    assert outcomes("é", "keyboard-typo") == {"é"}


def test_natural_typos_come_from_the_list_in_the_case_of_the_word():
    assert outcomes("children", "natural-typo") == {"childern", "chldren"}
    assert outcomes("Would", "natural-typo") == {"Woud"}
    assert outcomes("WOULD", "natural-typo") == {"WOUD"}
    assert outcomes("plays", "natural-typo") == {"plays"}


def test_segmentation_removes_each_space_with_the_severity_as_probability():
    text = "a b c " * 500
    spaces = attacked(text, "segmentation", severity=0.3).count(" ")
    assert attacked(text, "segmentation", severity=0.3).replace(" ", "") == text.replace(" ", "")
    assert 0.66 < spaces / text.count(" ") < 0.74
    assert attacked(text, "segmentation") == "abc" * 500


def test_confusable_draws_look_alikes_of_unicode_with_equal_chances():
    table = lookalikes()
    text = "a" * 20_000
    found = Counter(attacked(text, "confusable", severity=0.5))
    assert 0.48 < found.pop("a") / len(text) < 0.52
    assert set(found) == set(table["a"])
    assert max(found.values()) < 1.5 * min(found.values())
    assert {"а", "α", "ａ"} <= set(table["a"])  # Cyrillic, Greek, full width
    assert "rn" in table["m"]
    assert "l" in table["I"]
    assert "1" in table["I"]  # all that look like the table's prototype look alike
    assert attacked("!?  .,", "confusable") == "!?  .,"


def test_phonetic_spells_english_words_by_their_sound():
    assert ("K", "AE", "T") in pronunciations()["cat"]
    assert len(pronunciations()["read"]) == 2
    assert "foan" in outcomes("phone", "phonetic")
    assert "Nee" in outcomes("Knee", "phonetic")
    assert outcomes("xqzzt", "phonetic") == {"xqzzt"}
    assert outcomes("bed", "phonetic") == {"bed"}  # as it sounds already


def test_what_becomes_of_a_text_depends_on_no_other_text():
    texts = [f"{TEXT} {number}" for number in range(20)]
    perturbation = Perturbation("inner-swap", 0.5, seed=3)
    forward = [perturbation(text) for text in texts]
    backward = [perturbation(text) for text in reversed(texts)]
    assert forward == backward[::-1]
    assert forward != [Perturbation("inner-swap", 0.5, seed=4)(text) for text in texts]


def test_words_that_change_at_a_low_severity_change_at_a_higher_one():
    changed = []
    for severity in (0.2, 0.5, 0.8):
        after = Perturbation("truncate", severity).with_words(TEXT)
        changed.append({old for old, new in after.words if TEXT[slice(*old)] != after.text[slice(*new)]})
    assert changed[0] < changed[1] < changed[2]


def test_text_that_is_no_valid_unicode_is_attacked_too():
    assert Perturbation("full-swap", 1.0)("broken \ud800 text").count("\ud800") == 1


def test_a_perturbation_tells_all_that_decides_about_the_text():
    one, other = (Perturbation("natural-typo", 0.5, 2, {"a": (typo,)}).to_dict() for typo in ("aa", "ab"))
    assert one["typos_sha256"] != other["typos_sha256"]
    assert Perturbation("truncate", 0.5, 2).to_dict() == {"name": "truncate", "severity": 0.5, "seed": 2}


@pytest.mark.parametrize("severity", [-0.1, 1.01, float("nan"), True, "0.5", None])
def test_severities_outside_of_zero_to_one_are_refused(severity):
    with pytest.raises(UserError, match=r"severity .*: must be a number from 0"):
        attack("text", "truncate", severity, random.Random(1))


def test_an_unknown_attack_is_refused_with_the_names_there_are():
    with pytest.raises(UserError, match=r"'swap'.*inner-swap, intrude"):
        attack("text", "swap", 0.5, random.Random(1))


def test_natural_typo_without_a_list_says_which_option_names_one():
    with pytest.raises(UserError, match="--typos"):
        attack("text", "natural-typo", 0.5, random.Random(1))
