"""Chooses between characters that look alike: the one whose script the rest of the word, or of the line, has."""

import collections
import itertools
import re
import unicodedata

from pixelgpt_fairseq.rendering.coverage import script_name

# Common signs and letters, which are preferred to others that look the same.
_USUAL = re.compile("[ -~À-žΑ-Ωα-ωА-яЁёЄєІіЇїЈјЎўҐґ]|[^\u0000-\u052f]")


def rarity(character: str) -> int:
    """0 for plain letters and usual signs, 1 for letters with marks or of few languages, 2 for compatibility forms."""
    if unicodedata.normalize("NFKC", character) != character:
        return 2
    return int(not _USUAL.match(character) or bool(unicodedata.decomposition(character)))


def preference(character: str):
    """Sort key of characters that look alike: the least rare first, then by code point."""
    return rarity(character), character


def spell(looks: list[str], words=()) -> str:
    """The characters of a line.

    Args:
        looks: for each place a string of the characters that look so, the preferred one first.
        words: a container of words to expect.

    Returns:
        str: one character for each place. The letters of a word get the script in which most of them can be written. If
        several scripts can write the whole word, one in which it is among *words* is taken, or else that of the line.
    """
    line = _scripts(look for look in looks if look[0].isalpha())
    spelled = []
    for of_letters, word in itertools.groupby(looks, key=lambda look: look[0].isalpha()):
        word = list(word)
        if not of_letters:
            spelled += [look[0] for look in word]
            continue
        own = _scripts(word)
        spellings = {script: "".join(_chosen(look, script) for look in word) for script in own or [None]}
        best = max(spellings, key=lambda script: (own[script], spellings[script] in words, line[script]))
        spelled += spellings[best]
    return "".join(spelled)


def _chosen(look, script):
    """The preferred one of the characters *look* that belong to a script; without such a one, the first."""
    return next((each for each in look if _script(each) == script), look[0])


def _scripts(looks):
    """For each script, how many of the places it has a letter for; letters that few languages use count half."""
    weights = collections.Counter()
    for look in looks:
        own = {}
        for each in look:
            if script := _script(each):
                own[script] = max(own.get(script, 0), 1.0 if _USUAL.match(each) else 0.5)
        weights.update(own)
    return weights


def _script(character):
    """The script of a letter; None for other characters."""
    return script_name(character) if unicodedata.category(character)[0] == "L" else None
