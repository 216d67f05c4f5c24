"""Reads a strip of rendered text back into text. No OCR is needed, because we have the renderer's glyphs.

The renderer draws each glyph of a line at a whole column of pixels, its *pen*. So the most likely text of a strip is
the sequence of glyphs that differs least from the strip, which a shortest path finds. A strip as it was rendered is
read exactly, except for characters that look the same in the font
(:func:`~pixelgpt_fairseq.generation.glyph_bank.look_alikes`). For a strip that a model generated, the text that fits
best is returned, with a score for each character.
"""

import itertools
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.generation import glyph_matching
from pixelgpt_fairseq.generation.glyph_bank import STEPS, glyph_bank, strip_ink
from pixelgpt_fairseq.generation.shortest_path import draw, shortest_path
from pixelgpt_fairseq.generation.spelling import spell
from pixelgpt_fairseq.generation.word_list import WordList
from pixelgpt_fairseq.generation.word_path import word_path
from pixelgpt_fairseq.rendering.config import RendererConfig

_PADDING = 80  # empty columns that are added on both sides; wider than any glyph
_DARK = 25  # a patch with a lower mean value is a separator,
_LIGHT = 128  # if the mean value of the background is at least this
_TRIED = 3  # at most so many baselines are tried
_LIKELY = 0.7  # a baseline is tried if it explains at least this share of what the best one explains
_CONTEXT = 8  # so many patches before a continuation are read with it, because they show the line's baseline
_PROBED = 40  # so many columns are used to compare baselines when no glyph fits exactly
_REPAIRED = 16  # columns on both sides of a difference that are read again when the rest of a line fits exactly
_NEGLIGIBLE = 1.5  # a difference of fewer dark pixels is no reason to try every character of the fonts
_ALL_BUT_EXACT = 0.98  # with a score this high, approximate matching is not tried, because it cannot do better
_CAUTION = 2.0  # factor on what glyphs and gaps cost when no glyph fits exactly
_CLEAR = 0.85  # approximate matching tries no further baseline once it has reached this score
_GIVEN_UP = 0.05  # a text found with a list of words may score this much lower than one found without it
_GOOD = 0.75  # no larger set of characters is tried once this score is reached


class Span(NamedTuple):
    """A character of a text that was read.

    Attributes:
        text: the character.
        start, end: the columns of the strip that it takes: from its pen to the next one's.
        score: how well the strip fits it, from 0 to 1; 1 means that every pixel is the same.
    """

    text: str
    start: int
    end: int
    score: float


class Reading(NamedTuple):
    """What a strip reads as.

    Attributes:
        text: the characters; a separator between two texts is a newline.
        score: how well the strip fits all of it, from 0 to 1; 1 means that every pixel is the same.
        spans: a Span for each character.
    """

    text: str
    score: float
    spans: list[Span]


def read_strip(
    pixels: np.ndarray,
    config: RendererConfig,
    alphabet: Iterable[str] | None = None,
    words: WordList | Iterable[str] | None = None,
) -> Reading:
    """Read a strip of text.

    Args:
        pixels: uint8 ``[patch_size, columns]``, or with a third axis of red, green and blue. Black patches end a text.
        config: the settings with which the strip was rendered, or on which the model that drew it was trained; the
            backend is ``pygame``.
        alphabet: the characters that may occur; the space always may. None: all characters of the fonts, of which the
            common ones are tried first.
        words: the words to expect, a :class:`~pixelgpt_fairseq.generation.word_list.WordList` or strings. If no text
            fits exactly, a word that is not listed is read only where it fits clearly better than listed ones. Without
            an alphabet, the characters that may occur are then those of the words and of ASCII.

    Returns:
        Reading

    Raises:
        UserError: if the strip is not such an array, a font is missing, the backend is not ``pygame``, the fonts have
            no character of the alphabet, or the list has no words.
    """
    pixels = _checked(pixels, config)
    config = config.located()
    if alphabet is not None:
        alphabet = "".join(sorted({" ", *alphabet}))
        if not alphabet.strip():
            raise UserError("alphabet: name at least one character that is not blank")
    if words is not None and not isinstance(words, WordList):
        words = WordList(words)
    ink = strip_ink(pixels, config)
    black_and_white = bool(np.isin(ink, (0, 255)).all())
    texts = _texts(pixels, config.background_rgb)
    parts = [_read_line(ink[:, start:end], config, alphabet, words, black_and_white, start) for start, end in texts]
    if config.structure == "words":
        parts = [_with_single_blanks(part) for part in parts]
    return _joined(parts)


def read_continuation(
    pixels: np.ndarray,
    start: int,
    config: RendererConfig,
    alphabet: Iterable[str] | None = None,
    words: WordList | Iterable[str] | None = None,
) -> Reading | None:
    """Read a strip from column *start* on; None if strips of this backend cannot be read.

    The whole strip is first made black and white, because a model's own patches are. The part before *start* is read,
    too, because it shows the baseline; a character is returned if its middle is at *start* or after it.
    """
    if config.backend != "pygame":
        return None
    first = max(0, start - _CONTEXT * config.patch_size)
    reading = read_strip(np.where(pixels[:, first:] > 127, 255, 0).astype(np.uint8), config, alphabet, words)
    spans = [span._replace(start=span.start + first, end=span.end + first) for span in reading.spans]
    spans = [span for span in spans if span.start + span.end >= 2 * start]
    scores = [span.score for span in spans]
    return Reading("".join(span.text for span in spans), sum(scores) / len(scores) if scores else 1.0, spans)


def _checked(pixels, config):
    pixels = np.asarray(pixels)
    if config.backend != "pygame":
        raise UserError(
            f"a strip of the backend {config.backend} cannot be read: its glyphs change with their neighbors; "
            "use --renderer-backend pygame"
        )
    rows = config.patch_size
    is_strip = pixels.ndim in (2, 3) and len(pixels) == rows and pixels.shape[2:] in ((), (3,))
    if pixels.dtype != np.uint8 or not is_strip:
        raise UserError(
            f"a strip is uint8 [{rows}, columns] or [{rows}, columns, 3], not {pixels.dtype} {list(pixels.shape)}"
        )
    return pixels


def _texts(pixels, background):
    """The columns between separators: pairs of start and end."""
    side = len(pixels)
    patches = pixels.shape[1] // side
    separators = np.zeros(0, dtype=np.int64)
    if patches and np.mean(background) >= _LIGHT:
        means = pixels[:, : patches * side].reshape(side, patches, -1).mean(axis=(0, 2))
        separators = np.flatnonzero(means < _DARK)
    starts = [0, *((separators + 1) * side).tolist()]
    ends = [*(separators * side).tolist(), pixels.shape[1]]
    texts = [(start, end) for start, end in zip(starts, ends, strict=True) if start < end]
    return texts or [(0, 0)]


def _read_line(ink, config, alphabet, words, black_and_white, column):
    """The best reading of one line.

    Args:
        ink: uint8 ``[rows, columns]``.
        config, alphabet, words: see :func:`read_strip`; the alphabet is a string or None, the words a WordList or None.
        black_and_white: whether the ink has no shades of gray.
        column: the column of the strip at which the line begins.
    """
    if not ink.any():
        return _Line("", [], 0.0, 0.0)
    ink = np.pad(np.ascontiguousarray(ink.T), ((_PADDING, _PADDING), (0, 0)))
    banks = nearest_banks = [alphabet]
    if alphabet is None:
        banks = list(range(STEPS))
        nearest_banks = banks[:-1] if words is None else [words.alphabet()]
    if black_and_white and config.render_mode != "binary":
        banks = banks[:1]  # the strip was changed after it was rendered, so an exact fit is unlikely
    exact = _best_attempt(ink, config, banks, black_and_white, True)
    if exact.error == 0 or (words is None and exact.score >= _ALL_BUT_EXACT):
        return exact.line(column, words)
    nearest = _best_attempt(ink, config, nearest_banks, black_and_white, False, words)
    if words is not None and nearest.score >= exact.score - _GIVEN_UP:
        return nearest.line(column, words)
    return max(exact, nearest, key=lambda attempt: attempt.score).line(column, words)


def _best_attempt(ink, config, banks, black_and_white, exact, words=None):
    """The _Attempt with the highest score; banks are tried in their order, until one is good enough."""
    best = None
    for characters in banks:
        if characters == STEPS - 1 and best.error < _NEGLIGIBLE:
            break
        attempt = _Attempt.best(ink, glyph_bank(config, characters, black_and_white), exact, words)
        if best is None or attempt.score > best.score:
            best = attempt
        if best.error == 0 or (not exact and best.score >= _GOOD):
            break
    return best


class _Line(NamedTuple):
    """A line that was read. Error and ink of several lines add up, and give the score of all of them."""

    text: str
    spans: list[Span]
    error: float
    ink: float


def _with_single_blanks(line):
    """A _Line with one blank in the place of several, of which there are as many as it takes to the next patch."""
    spans = []
    for span in line.spans:
        if spans and span.text == spans[-1].text == " ":
            spans[-1] = spans[-1]._replace(end=span.end)
        else:
            spans.append(span)
    return line._replace(text="".join(span.text for span in spans), spans=spans)


class _Attempt:
    """The best path through a line, with the glyphs of one bank on one baseline."""

    def __init__(self, ink, bank, baseline, exact, words):
        self.bank, self.ink, self.baseline = bank, ink, baseline
        self.words = None if exact else words
        self.caution = 1.0 if exact else _CAUTION
        find = glyph_matching.exact_candidates if exact else glyph_matching.nearest_candidates
        self._take(find(ink, bank, baseline))
        if exact and self.error > 0 and self.score > _GOOD:
            # A glyph that its neighbors overlap everywhere has no exact match: look for the nearest glyphs there.
            wrong = np.flatnonzero(self.errors)
            near = np.unique(np.add.outer(wrong, np.arange(-_REPAIRED, _REPAIRED)))
            near = near[(near >= 0) & (near < len(ink))]
            more = glyph_matching.nearest_candidates(ink, bank, baseline, near)
            self._take(glyph_matching.ordered([self.candidates, more]))

    def _take(self, candidates):
        self.candidates = candidates
        if self.words is None:
            self.path = shortest_path(self.ink, self.bank, self.baseline, candidates, self.caution)
        else:
            self.path = word_path(self.ink, self.bank, self.baseline, candidates, self.words, self.caution)
        drawn = draw(self.bank, self.baseline, candidates, self.path, len(self.ink))
        seen, drawn = self.ink.astype(np.float64) / 255, drawn.astype(np.float64) / 255
        self.errors = ((seen - drawn) ** 2).sum(axis=1)
        self.inks = (seen**2 + drawn**2).sum(axis=1)
        self.error = float(self.errors.sum())

    @property
    def score(self):
        return _score(self.error, self.inks.sum())

    @classmethod
    def best(cls, ink, bank, exact, words):
        """The attempt with the smallest error, of those at the most likely baselines."""
        best, tried = None, set()
        baselines = _exact_baselines(ink, bank) if exact else _nearest_baselines(ink, bank)
        for baseline in itertools.chain(baselines, [_usual_baseline(bank)]):
            if baseline in tried:
                continue
            tried.add(baseline)
            attempt = cls(ink, bank, baseline, exact, words)
            if best is None or attempt.error < best.error:
                best = attempt
            if best.error == 0 or (not exact and best.score >= _CLEAR):
                break
        return best

    def line(self, column, words):
        """The _Line, with columns counted from the strip's first; *words* help to choose between look-alikes."""
        text = spell([self._look(number) for number in self.path], words or ())
        spans = []
        for character, number in zip(text, self.path, strict=True):
            start = int(self.candidates.pens[number])
            end = start + int(self.candidates.advances[number])
            spans.append(Span(character, start + column - _PADDING, end + column - _PADDING, self._fit(number)))
        return _Line(text, spans, self.error, float(self.inks.sum()))

    def _look(self, number):
        shape = int(self.candidates.shapes[number])
        return str(self.candidates.blanks[number]) if shape < 0 else self.bank.characters[shape]

    def _fit(self, number):
        """The score of one character, over all columns from its pen to the next one and those that its ink covers."""
        shape, pen = int(self.candidates.shapes[number]), int(self.candidates.pens[number])
        start, end = pen, pen + int(self.candidates.advances[number])
        if shape >= 0:
            start = min(start, pen + int(self.bank.lefts[shape]))
            end = max(end, pen + int(self.bank.lefts[shape] + self.bank.widths[shape]))
        error = float(self.errors[start:end].sum())
        if shape < 0:  # a blank has no ink to compare with
            return 1 - error / ((end - start) * self.bank.rows)
        return _score(error, self.inks[start:end].sum())


def _usual_baseline(bank):
    """The baseline of most strips: the row below the feet of the letters."""
    return bank.rows * 3 // 4


def _exact_baselines(ink, bank):
    """Baselines to try, the most likely first: those on which many columns of the strip equal a column of a glyph."""
    expected = ink.any(axis=1).sum() / bank.rows
    usual = _usual_baseline(bank)
    found = {usual: glyph_matching.matched_columns(ink, bank, usual)}
    if found[usual] >= expected:  # most strips end here
        yield usual
    for row in range(bank.rows // 2, bank.rows + 2):
        if row != usual:
            found[row] = glyph_matching.matched_columns(ink, bank, row)
    least = max(1, _LIKELY * max(found.values()))
    likely = sorted((row for row in found if found[row] >= least), key=lambda row: -found[row])[:_TRIED]
    yield from sorted(likely, key=lambda row: abs(row - usual))


def _nearest_baselines(ink, bank):
    """Baselines to try when no glyph fits exactly: those on which the nearest glyphs explain most of the ink."""
    inked = np.flatnonzero(ink.any(axis=1))
    middle = len(inked) // 2
    probed = inked[max(0, middle - _PROBED // 2) : middle + _PROBED // 2]
    found = {row: _fit_at(ink, bank, row, probed) for row in range(bank.rows // 2, bank.rows)}
    best = max(found.values())
    return sorted((row for row in found if found[row] > _LIKELY * best), key=lambda row: -found[row])[:_TRIED]


def _fit_at(ink, bank, row, columns):
    """How much of the ink at these columns the best glyphs explain."""
    candidates = glyph_matching.nearest_candidates(ink, bank, row, columns)
    gains = np.zeros(len(ink))
    shares = -candidates.gains / candidates.advances.clip(1)
    np.maximum.at(gains, candidates.pens, shares)
    return float(gains.sum())


def _score(error, ink):
    """The score: 1 without an error, 0 if nothing fits. *ink* is the ink of the strip plus that of the reading."""
    return float(max(0.0, 1 - error / ink)) if ink else 1.0


def _joined(lines):
    spans = []
    for line in lines:
        if spans and line.spans:
            spans.append(Span("\n", spans[-1].end, line.spans[0].start, 1.0))
        spans += line.spans
    text = "".join(span.text for span in spans)
    return Reading(text, _score(sum(line.error for line in lines), sum(line.ink for line in lines)), spans)
