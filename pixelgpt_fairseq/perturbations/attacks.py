"""The ten attacks: what each does, where, and how a text is put together again.

An attack on words picks words at random, each at most once, until as many have changed as the severity asks for or
no word is left. An attack on characters decides for each character independently.
"""

import math
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.perturbations import word_attacks
from pixelgpt_fairseq.perturbations.packages import lookalikes
from pixelgpt_fairseq.perturbations.randomness import draw, shuffled
from pixelgpt_fairseq.perturbations.words import word_spans

NATURAL_TYPO = "natural-typo"


@dataclass(frozen=True)
class Attack:
    """An attack.

    Attributes:
        summary: what the attack makes of a word or a text.
        elsewhere: what it does in languages other than English.
        change_word: the function of an attack on words, see :mod:`~pixelgpt_fairseq.perturbations.word_attacks`.
        change_character: the function of an attack on characters. With a probability of severity it is called with a
            character and a generator, and returns what takes the character's place (None: the character stays).
    """

    summary: str
    elsewhere: str
    change_word: Callable | None = None
    change_character: Callable | None = None


@dataclass(frozen=True)
class AttackedText:
    """An attacked text, and where its words went.

    Attributes:
        text: the attacked text.
        words: for every word of the original (see :func:`~pixelgpt_fairseq.perturbations.words.word_spans`) its
            ``(start, end)`` there, and its ``(start, end)`` in :attr:`text`. No word is lost; the words that
            ``segmentation`` joins touch each other.
        changed: how many words, or characters, the attack changed.
    """

    text: str
    words: list[tuple[tuple[int, int], tuple[int, int]]]
    changed: int


def _remove_space(character, rng):
    return "" if character.isspace() else None


def _confuse(character, rng):
    if character.isspace() or unicodedata.category(character).startswith("P"):
        return None
    others = lookalikes().get(character)
    return draw(rng, others) if others else None


_SWAP = (
    "any script that puts spaces between words; a letter keeps its combining marks. Chinese and Thai have no such "
    "spaces, and stay as they are"
)

ATTACKS = {
    "full-swap": Attack("a word's letters in another order (3 letters or more)", _SWAP, word_attacks.full_swap),
    "inner-swap": Attack(
        "a word's letters between the first and the last in another order (4 or more)", _SWAP, word_attacks.inner_swap
    ),
    "intrude": Attack(
        "one punctuation character after some of a word's letters (2 or more)", _SWAP, word_attacks.intrude
    ),
    "disemvowel": Attack(
        "a word without a e i o u (3 letters or more)",
        "the Latin script, where accents do not save a vowel (é, ü, ơ). Other scripts stay as they are",
        word_attacks.disemvowel,
    ),
    "truncate": Attack("a word without its last letter (more than 3)", _SWAP, word_attacks.truncate),
    "keyboard-typo": Attack(
        "one letter of a word becomes one beside it on a QWERTY keyboard",
        "words with unaccented Latin letters: other letters have no key on that keyboard, and stay",
        word_attacks.keyboard_typo,
    ),
    NATURAL_TYPO: Attack(
        "a misspelling that a person once made, from a list of the user's",
        "the languages of the list; of scripts without spaces, words of one character",
    ),
    "segmentation": Attack(
        "each space is removed with the severity as probability",
        "any text with spaces; Chinese and Thai have few or none",
        change_character=_remove_space,
    ),
    "confusable": Attack(
        "each character becomes a look-alike of Unicode's table with the severity as probability",
        "any script: nearly all of Latin, much of Greek and Cyrillic, single letters of the others; characters without "
        "look-alikes stay",
        change_character=_confuse,
    ),
    "phonetic": Attack(
        "a word spelled as it sounds",
        "English words, of the pronouncing dictionary, whatever language they stand in",
        word_attacks.phonetic,
    ),
}


def check_attack(name: str, severity: float, typos=None):
    """Check the name and the severity of an attack, and that it has what it needs.

    Raises:
        UserError: if one of them is wrong or missing.
    """
    if name not in ATTACKS:
        raise UserError(f"attack {name!r}: there is none of that name: choose from {', '.join(ATTACKS)}")
    if isinstance(severity, bool) or not isinstance(severity, int | float) or not 0 <= severity <= 1:
        raise UserError(f"severity {severity!r}: must be a number from 0 (nothing changes) to 1")
    if name == NATURAL_TYPO and typos is None:
        raise UserError(f"attack {name} needs a list of misspellings: name a file with --typos")
    if name == "confusable":
        lookalikes()
    if name == "phonetic":
        word_attacks.pronunciations()


def attack(text: str, name: str, severity: float, rng, typos: dict | None = None) -> str:
    """Attack a text.

    Args:
        text: any text.
        name: one of :data:`ATTACKS`.
        severity: 0 to 1: the share of the words that are to change (rounded up), or the probability that a character
            does.
        rng: a seeded generator: ``random.Random(1)``, or one of NumPy's. The same one gives the same text.
        typos: of ``natural-typo``: see :func:`~pixelgpt_fairseq.perturbations.typos.read_typos`.

    Raises:
        UserError: for an unknown attack, an invalid severity, a package that is not installed, or
            ``natural-typo`` without *typos*.
    """
    return attack_with_words(text, name, severity, rng, typos).text


def attack_with_words(text: str, name: str, severity: float, rng, typos: dict | None = None) -> AttackedText:
    """:func:`attack`, which also returns where each word is in the result, for labels that belong to words."""
    check_attack(name, severity, typos)
    spans = word_spans(text)
    if ATTACKS[name].change_character:
        edits = _edit_characters(text, ATTACKS[name].change_character, severity, rng)
    else:
        change = word_attacks.natural_typo(typos) if name == NATURAL_TYPO else ATTACKS[name].change_word
        edits = _edit_words(text, spans, change, severity, rng)
    return _apply(text, edits, spans)


def _edit_words(text, spans, change, severity, rng):
    """The words that change: (start, end) -> replacement."""
    wanted = math.ceil(severity * len(spans) * (1 - 1e-12))  # in floating point, 0.7 * 10 is more than 7
    edits = {}
    for start, end in shuffled(rng, spans):
        if len(edits) == wanted:
            break
        replacement = change(text[start:end], severity, rng)
        if replacement is not None:
            edits[start, end] = replacement
    return edits


def _edit_characters(text, change, severity, rng):
    """The characters that change: (start, end) -> replacement."""
    edits = {}
    for place, character in enumerate(text):
        if rng.random() < severity:
            replacement = change(character, rng)
            if replacement is not None:
                edits[place, place + 1] = replacement
    return edits


def _apply(text, edits, spans):
    """Apply *edits*, which do not overlap, to *text*, and return the AttackedText."""
    parts, done, length, moved = [], 0, 0, {}

    def keep(end):
        """Copy the text up to *end*; every position in it keeps its distance to the position before."""
        nonlocal done, length
        moved.update(zip(range(done, end + 1), range(length, length + end - done + 1), strict=True))
        parts.append(text[done:end])
        length += end - done
        done = end

    for start, end in sorted(edits):
        keep(start)
        parts.append(edits[start, end])
        length += len(edits[start, end])
        done = end
    keep(len(text))
    words = [((start, end), (moved[start], moved[end])) for start, end in spans]
    return AttackedText("".join(parts), words, len(edits))
