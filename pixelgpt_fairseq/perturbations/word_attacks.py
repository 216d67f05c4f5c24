"""Attacks on single words.

Each function takes a word, the severity and a generator, and returns what the word becomes, or None where the attack
cannot change it. Letters are characters as a reader counts them: a combining mark stays with its letter.
"""

import string

from pixelgpt_fairseq.perturbations.keyboard import NEIGHBORS
from pixelgpt_fairseq.perturbations.packages import pronunciations
from pixelgpt_fairseq.perturbations.randomness import draw, draw_weighted, shuffled
from pixelgpt_fairseq.perturbations.words import base_letter, characters, in_case_of, letter_positions

_TRIES = 10
_VOWELS = frozenset("aeiou")
# How English may write each phoneme of the pronouncing dictionary.
_SPELLINGS = {
    "AA": ("o", "ah"), "AE": ("a",), "AH": ("u", "uh"), "AO": ("aw", "au"), "AW": ("ow", "ou"), "AY": ("ai", "ie", "y"),
    "B": ("b",), "CH": ("ch",), "D": ("d",), "DH": ("th",), "EH": ("e",), "ER": ("er", "ur", "ir"),
    "EY": ("ay", "ai", "ey"), "F": ("f", "ph"), "G": ("g",), "HH": ("h",), "IH": ("i",), "IY": ("ee", "ea"),
    "JH": ("j",), "K": ("k", "c"), "L": ("l",), "M": ("m",), "N": ("n",), "NG": ("ng",), "OW": ("oh", "oa"),
    "OY": ("oy", "oi"), "P": ("p",), "R": ("r",), "S": ("s", "ss"), "SH": ("sh",), "T": ("t",), "TH": ("th",),
    "UH": ("oo",), "UW": ("oo", "ew"), "V": ("v",), "W": ("w",), "Y": ("y",), "Z": ("z",), "ZH": ("zh",),
}  # fmt: skip


def full_swap(word, severity, rng):
    """The letters in another order; other characters keep their places."""
    found = characters(word)
    return _swap(found, letter_positions(found), 3, rng)


def inner_swap(word, severity, rng):
    """The letters between the first and the last in another order."""
    found = characters(word)
    letters = letter_positions(found)
    return _swap(found, letters[1:-1], 2, rng)


def _swap(found, positions, fewest, rng):
    if len(positions) < fewest:
        return None
    for _ in range(_TRIES):
        order = shuffled(rng, positions)
        swapped = list(found)
        for position, source in zip(positions, order, strict=True):
            swapped[position] = found[source]
        if swapped != found:
            return "".join(swapped)
    return None


def intrude(word, severity, rng):
    """A punctuation character after each letter with probability *severity*, and after at least one letter.

    The first place is drawn as if the letters were gone through, again and again if need be, until one is chosen.
    """
    found = characters(word)
    letters = letter_positions(found)
    if len(letters) < 2:
        return None
    places = letters if len(letters) > 2 else letters[:1]
    intruder = draw(rng, string.punctuation)
    first = draw_weighted(rng, [severity * (1 - severity) ** before for before in range(len(places))])
    chosen = {places[first], *(place for place in places[first + 1 :] if rng.random() < severity)}
    return "".join(character + intruder * (place in chosen) for place, character in enumerate(found))


def disemvowel(word, severity, rng):
    """The word without a, e, i, o and u, also where they have accents."""
    found = characters(word)
    kept = [character for character in found if base_letter(character) not in _VOWELS]
    if len(letter_positions(found)) < 3 or not letter_positions(kept) or kept == found:
        return None
    return "".join(kept)


def truncate(word, severity, rng):
    """The word without its last letter."""
    found = characters(word)
    letters = letter_positions(found)
    if len(letters) <= 3:
        return None
    del found[letters[-1]]
    return "".join(found)


def keyboard_typo(word, severity, rng):
    """One letter replaced by one whose key lies beside it on a QWERTY keyboard."""
    found = characters(word)
    positions = [position for position, character in enumerate(found) if character.lower() in NEIGHBORS]
    if not positions:
        return None
    position = draw(rng, positions)
    typed = draw(rng, NEIGHBORS[found[position].lower()])
    found[position] = typed.upper() if found[position].isupper() else typed
    return "".join(found)


def natural_typo(typos):
    """The attack by a list of misspellings, see :func:`~pixelgpt_fairseq.perturbations.typos.read_typos`."""

    def misspell(word, severity, rng):
        known = typos.get(word.lower()) or typos.get(_plain(word))
        return _differing(word, [in_case_of(word, draw(rng, known))]) if known else None

    return misspell


def phonetic(word, severity, rng):
    """An English word spelled as it sounds: one of its pronunciations, each phoneme in one of the ways to write it."""
    sounds = pronunciations().get(_plain(word))
    if not sounds:
        return None
    tries = ("".join(draw(rng, _SPELLINGS[phoneme]) for phoneme in draw(rng, sounds)) for _ in range(_TRIES))
    return _differing(word, (in_case_of(word, spelling) for spelling in tries))


def _plain(word):
    return word.lower().replace("’", "'")


def _differing(word, candidates):
    return next((candidate for candidate in candidates if candidate != word), None)
