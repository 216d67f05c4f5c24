"""Which characters of a text no font of a chain has, by script."""

import collections
import functools
import unicodedata
from collections.abc import Mapping

from pixelgpt_fairseq.rendering.config import RendererConfig
from pixelgpt_fairseq.rendering.repertoire import Repertoire

_EXAMPLES = 5

# Unicode names begin with the script, "DEVANAGARI LETTER KA", but for a few first words.
_BEFORE_SCRIPT = ("FULLWIDTH", "HALFWIDTH", "MODIFIER", "SUBSCRIPT", "SUPERSCRIPT")
_FIRST_OF_TWO = ("LINEAR", "MATHEMATICAL", "NEW", "OLD", "TAI")


def missing_characters(characters: str | Mapping[str, int], config: RendererConfig) -> dict[str, int]:
    """Count the characters that no font of the chain has and shows, by script.

    White space, control characters and characters of no width are not counted.

    Args:
        characters: a text, or how often each character occurs in one (a ``collections.Counter`` of a corpus).
        config: RendererConfig with its fonts located.

    Returns:
        dict: script -> occurrences, the most frequent first; empty if nothing lacks.

    Raises:
        UserError: for a file that is not a usable font.
    """
    return {script: counts.total() for script, counts in _missing_by_script(characters, config)}


def missing_summary(characters: str | Mapping[str, int], config: RendererConfig) -> list[str]:
    """The same for people to read, a line for each script: ``Devanagari: 120 characters (क ख …)``."""
    lines = []
    for script, counts in _missing_by_script(characters, config):
        examples = " ".join(character for character, _ in counts.most_common(_EXAMPLES))
        more = " …" if len(counts) > _EXAMPLES else ""
        noun = "character" if counts.total() == 1 else "characters"
        lines.append(f"{script}: {counts.total():,} {noun} ({examples}{more})")
    return lines


def script_name(character: str) -> str:
    """The script of *character* as Unicode's name for it tells, or what it is if it belongs to none."""
    category = unicodedata.category(character)
    if category in ("Cn", "Co", "Cs"):
        return {"Cn": "Unassigned", "Co": "Private use", "Cs": "Surrogates"}[category]
    if category == "No" or category[0] in "SP":
        return "Emoji and pictographs" if ord(character) >= 0x1F000 else "Symbols and punctuation"
    words = unicodedata.name(character, "OTHER").split()
    if words[0] == "COMBINING":
        return "Combining marks"
    if words[0] in _BEFORE_SCRIPT:
        words = words[1:]
    return " ".join(words[: 2 if words[0] in _FIRST_OF_TWO else 1]).capitalize().replace("Cjk", "CJK")


def _missing_by_script(characters, config):
    """Pairs of a script and a Counter of its missing characters, the most frequent script first."""
    fonts = tuple(font.path for font in config.fonts)
    by_script = collections.defaultdict(collections.Counter)
    for character, count in collections.Counter(characters).items():
        if _is_visible(character) and not _is_shown(fonts, config.backend, character):
            by_script[script_name(character)][character] += count
    return sorted(by_script.items(), key=lambda item: (-item[1].total(), item[0]))


def _is_visible(character):
    variation_selector = "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"
    return unicodedata.category(character) not in ("Cc", "Cf", "Zs", "Zl", "Zp") and not variation_selector


# A corpus asks for the same few thousand characters again and again.
@functools.lru_cache(maxsize=1 << 16)
def _is_shown(fonts, backend, character):
    if unicodedata.category(character) == "Cs":
        return False
    shown = False
    for path in fonts:  # all are asked, so that each can warn of colors that are not drawn
        shown |= _repertoire(path, backend).has_visibly(character)
    return shown


@functools.lru_cache(maxsize=16)
def _repertoire(path, backend):
    return Repertoire(path, backend)
