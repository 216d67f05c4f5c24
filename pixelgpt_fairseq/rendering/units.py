"""Text -> the parts of it that are shaped, each on its own.

A unit is as much of a word as has one font and, whatever stands around it, one direction. Where it is cut from its
neighbors depends on the word alone: so the same word looks the same on every line, and a line is as wide as its units
together.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import NamedTuple

import regex

_BLANKS_AND_WORDS = re.compile(r"\s|\S+")
_CLUSTER = regex.compile(r"\X")  # what a reader takes for one character, with its marks and joiners
_MAX_CLUSTER = 32  # characters: there is no end to the marks that one letter may be given
_MAX_UNIT = 128  # clusters
_BIDI_CONTROLS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"

# The classes of Unicode's bidirectional algorithm, as far as they tell what may stand together.
_CLASSES = {"L": "L", "R": "R", "AL": "R", "EN": "E", "AN": "A", "CS": "C", "ET": "T"}
_BRACKET, _OTHER = "B", "N"
# From one letter of a direction to its last one; numbers with their commas; their signs; brackets; the rest.
_ONE_DIRECTION = re.compile("L(?:[LENCT]*[LE])?|R(?:[RNCT]*R)?|E(?:C?E)*|A(?:C?A)*|T+|B|[NC]+")


class Unit(NamedTuple):
    """A part of a text.

    Attributes:
        text: its characters.
        font: number of its font in the chain.
        right_to_left: whether it is written so, wherever it stands.
    """

    text: str
    font: int
    right_to_left: bool = False


def split_words(text: str) -> Iterator[str]:
    """Words and single blanks, which together are *text*."""
    return (match[0] for match in _BLANKS_AND_WORDS.finditer(text))


def split_clusters(text: str) -> Iterator[str]:
    """Clusters: letters with their marks, emoji with what belongs to them; very long ones are cut."""
    for match in _CLUSTER.finditer(text):
        cluster = match[0]
        if len(cluster) <= _MAX_CLUSTER:
            yield cluster
        else:
            yield from (cluster[i : i + _MAX_CLUSTER] for i in range(0, len(cluster), _MAX_CLUSTER))


def split_units(word: str, choose_font: Callable[[str], int]) -> Iterator[Unit]:
    """The units of a word.

    Args:
        word: without blanks, of any length.
        choose_font: cluster -> number of a font.

    Yields:
        Unit: together they are *word*. Characters that only direct the order are units of their own.
    """
    clusters, font = [], None
    for cluster in split_clusters(word):
        chosen = choose_font(cluster)
        if clusters and (chosen != font or len(clusters) == _MAX_UNIT):
            yield from _units_of_one_font(clusters, font)
            clusters = []
        clusters.append(cluster)
        font = chosen
    if clusters:
        yield from _units_of_one_font(clusters, font)


def is_bidi_control(text: str) -> bool:
    """Whether a unit's text directs the order of others and shows nothing."""
    return text in _BIDI_CONTROLS


def _units_of_one_font(clusters, font):
    classes = "".join(_class(cluster) for cluster in clusters)
    for match in _ONE_DIRECTION.finditer(classes):
        if match[0][0] == "L":
            yield from _without_ideographs_joined(clusters[match.start() : match.end()], font)
        else:
            yield Unit("".join(clusters[match.start() : match.end()]), font, match[0][0] == "R")


def _without_ideographs_joined(clusters, font):
    """Ideographs, which nothing joins, each as a unit: there are few of them, and many ways to write them in a row."""
    together = []
    for cluster in clusters:
        if not _is_ideograph(cluster[0]):
            together.append(cluster)
            continue
        if together:
            yield Unit("".join(together), font)
            together = []
        yield Unit(cluster, font)
    if together:
        yield Unit("".join(together), font)


def _class(cluster):
    first = cluster[0]
    if first in _BIDI_CONTROLS or unicodedata.category(first) in ("Ps", "Pe"):
        return _BRACKET
    return _CLASSES.get(unicodedata.bidirectional(first), _OTHER)


def _is_ideograph(character):
    return (
        "\u3040" <= character <= "\u9fff"
        or "\uac00" <= character <= "\ud7a3"
        or "\U00020000" <= character <= "\U0003ffff"
    )
