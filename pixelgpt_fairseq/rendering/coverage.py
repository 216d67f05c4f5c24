"""Which characters of a text no font of a chain has, by script."""

import collections
import functools
import re
import unicodedata
from collections.abc import Mapping

from pixelgpt_fairseq.rendering.config import RendererConfig
from pixelgpt_fairseq.rendering.glyphs import FontFace

_EXAMPLES = 5

# Unicode names begin with the script: "OLD PERSIAN SIGN A", "FULLWIDTH LATIN SMALL LETTER A".
_SCRIPT = re.compile(
    r"(?:(?:FULLWIDTH|HALFWIDTH|COMBINING|MODIFIER|PRESENTATION|SQUARED) )*"
    r"(?P<script>.*?) ?"
    r"(?:\b(?:LETTER|SYLLABLE|SYLLABICS|SIGN|VOWEL|CONSONANT|CHARACTER|DIGIT|NUMBER|NUMERAL|NUMERIC|FRACTION|SMALL"
    r"|CAPITAL|IDEOGRAPH|HIEROGLYPH|RADICAL|LIGATURE|MARK|TONE|ACCENT|SUBJOINED|SYMBOL|INDEPENDENT|DEPENDENT|UNIFIED"
    r"|COMPATIBILITY|FINAL|INITIAL|MEDIAL|CHOSEONG|JUNGSEONG|JONGSEONG)|\w*[0-9]|$)"
)


def missing_characters(characters: str | Mapping[str, int], config: RendererConfig) -> dict[str, int]:
    """Count the characters that no font of the chain has, by script.

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
    if category[0] in "SP":
        return "Emoji and pictographs" if ord(character) >= 0x1F000 else "Symbols and punctuation"
    script = _SCRIPT.match(unicodedata.name(character, ""))["script"]
    if not script:
        return "Combining marks" if category[0] == "M" else "Other"
    return "CJK" if script.startswith("CJK") else script.title()


def _missing_by_script(characters, config):
    """Pairs of a script and a Counter of its missing characters, the most frequent script first."""
    fonts = tuple((font.path, config.font_size, config.dpi) for font in config.fonts)
    by_script = collections.defaultdict(collections.Counter)
    for character, count in collections.Counter(characters).items():
        if _is_visible(character) and not _has_glyph(fonts, character):
            by_script[script_name(character)][character] += count
    return sorted(by_script.items(), key=lambda item: (-item[1].total(), item[0]))


def _is_visible(character):
    variation_selector = "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"
    return unicodedata.category(character) not in ("Cc", "Cf", "Zs", "Zl", "Zp") and not variation_selector


# A corpus asks for the same few thousand characters again and again.
@functools.lru_cache(maxsize=1 << 16)
def _has_glyph(fonts, character):
    return unicodedata.category(character) != "Cs" and any(_face(*font).has(character) for font in fonts)


@functools.lru_cache(maxsize=16)
def _face(path, size, dpi):
    return FontFace(path, size, dpi)
