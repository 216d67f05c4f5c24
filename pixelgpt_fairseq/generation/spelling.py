"""Which of several characters that look alike was meant: the one in the script of its word, of its line."""

import collections
import itertools
import re
import unicodedata

from pixelgpt_fairseq.rendering.coverage import script_name

# Signs and letters of many languages; some of the others look like one of these.
_USUAL = re.compile("[ -~À-žΑ-Ωα-ωА-яЁёЄєІіЇїЈјЎўҐґ]|[^\u0000-\u052f]")


def rarity(character: str) -> int:
    """0 for plain letters and usual signs, 1 for letters with marks or of few languages, 2 for compatibility forms."""
    if unicodedata.normalize("NFKC", character) != character:
        return 2
    return int(not _USUAL.match(character) or bool(unicodedata.decomposition(character)))


def preference(character: str):
    """What orders characters that look alike: the least rare first, then by code point."""
    return rarity(character), character


def spell(looks: list[str], words=()) -> str:
    """The characters of a line.

    Args:
        looks: for each place the characters that look so, the preferred one first.
        words: a container of words that are expected.

    Returns:
        str: one character for each place: of letters the one in the script in which most of its word can be written;
        where several scripts can write it all, in that in which it is one of *words*, or else in that of the line.
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
    """Of characters that look alike the preferred one of a script, if any has it."""
    return next((each for each in look if _script(each) == script), look[0])


def _scripts(looks):
    """For each script how many of the places can be written in it; letters of few languages count half."""
    weights = collections.Counter()
    for look in looks:
        own = {}
        for each in look:
            if script := _script(each):
                own[script] = max(own.get(script, 0), 1.0 if _USUAL.match(each) else 0.5)
        weights.update(own)
    return weights


def _script(character):
    """The script of a letter; None of other characters."""
    return script_name(character) if unicodedata.category(character)[0] == "L" else None
