"""Which glyphs may stand where on a strip, and how well each fits there."""

import functools
from typing import NamedTuple

import numpy as np

from pixelgpt_fairseq.generation.glyph_bank import GlyphBank

# A blank may stand where the strip has no more ink than this, in dark pixels: ink of its neighbors, or noise.
_INK_IN_A_BLANK = 3.0
_NOISE_IN_A_BLANK = 12.0
_KEPT_PER_COLUMN = 12  # glyphs that are tried at each pen when no glyph fits exactly
_WINDOWS = 2048  # columns that are compared with all glyphs at a time


class Candidates(NamedTuple):
    """Glyphs and the places where they may stand, in the order of their pens; arrays of equal length.

    Attributes:
        pens: columns of the strip.
        shapes: numbers in the bank; those of the blanks are -1.
        advances: columns from this pen to the next.
        gains: what the sum of the squared differences between strip and reading changes by, if the glyph is put on an
            empty strip; a pixel differs by at most 1.
        blanks: the character of a blank; "" for a glyph with ink.
    """

    pens: np.ndarray
    shapes: np.ndarray
    advances: np.ndarray
    gains: np.ndarray
    blanks: np.ndarray


def exact_candidates(ink: np.ndarray, bank: GlyphBank, baseline: int) -> Candidates:
    """Glyphs that the strip contains: at each of their pixels it is at least as dark.

    A glyph is looked up by its two darkest columns, because its neighbors' ink seldom reaches these.

    Args:
        ink: uint8 ``[columns, rows]``.
        bank: the shapes.
        baseline: the row below the feet of the letters.
    """
    tables = _tables(bank, baseline)
    hashes = _hashes(ink)
    found = [_blanks(ink, bank, _INK_IN_A_BLANK)]
    for bucket, table in zip(bank.at_baseline(baseline), tables, strict=True):
        first = np.searchsorted(table.hashes, hashes, side="left")
        counts = np.searchsorted(table.hashes, hashes, side="right") - first
        columns = np.arange(len(hashes)).repeat(counts)
        entries = np.arange(counts.sum()) - (counts.cumsum() - counts).repeat(counts) + first.repeat(counts)
        shapes = table.shapes[entries]  # in the bucket
        starts = columns - table.offsets[entries]
        width = bucket.coverage.shape[1]
        inside = (starts >= 0) & (starts + width <= len(ink))
        second = (starts + table.second_offsets[entries]).clip(0, len(ink) - 1)
        inside &= hashes[second] == table.second_hashes[entries]
        shapes, starts = shapes[inside], starts[inside]
        windows = np.lib.stride_tricks.sliding_window_view(ink, width, axis=0)  # [columns, rows, width]
        there, glyph = windows[starts], bank.ink[bucket.coverage[shapes].swapaxes(1, 2)]
        fits = (glyph <= there).all(axis=(1, 2))
        shapes, starts = shapes[fits], starts[fits]
        there, glyph = there[fits].astype(np.float64) / 255, glyph[fits].astype(np.float64) / 255
        gains = (glyph * (glyph - 2 * there)).sum(axis=(1, 2))
        numbers = shapes + bucket.first
        pens = starts - bank.lefts[numbers]
        found.append(Candidates(pens, numbers, bank.advances[numbers], gains, np.full(len(pens), "")))
    return ordered(found)


def matched_columns(ink: np.ndarray, bank: GlyphBank, baseline: int) -> int:
    """How many columns of the strip equal the darkest column of some glyph. The right baseline has the most."""
    hashes, known = _hashes(ink[ink.any(axis=1)]), _known_hashes(bank, baseline)
    return int((known[np.searchsorted(known, hashes).clip(0, len(known) - 1)] == hashes).sum())


def nearest_candidates(ink: np.ndarray, bank: GlyphBank, baseline: int, columns=None) -> Candidates:
    """For every column the glyphs that fit best with their pens there.

    Args:
        ink: uint8 ``[columns, rows]``, wider on both sides than the widest glyph.
        bank, baseline: see :func:`exact_candidates`.
        columns: only pens at these columns; None: at all.
    """
    strip = ink.astype(np.float32) / 255
    energy = np.concatenate([[0.0], (strip * strip).sum(axis=1).cumsum()])
    columns = np.arange(len(ink)) if columns is None else columns
    found = [_blanks(ink, bank, _NOISE_IN_A_BLANK)]
    for begin in range(0, len(columns), _WINDOWS):
        found.append(_nearest(strip, energy, bank, baseline, columns[begin : begin + _WINDOWS]))
    return ordered(found)


def _nearest(strip, energy, bank, baseline, columns):
    parts = []
    for bucket, glyphs in zip(bank.at_baseline(baseline), _matrices(bank, baseline), strict=True):
        size, width = len(bucket.coverage), bucket.coverage.shape[1]
        lefts = bank.lefts[bucket.first : bucket.first + size]
        advances = bank.advances[bucket.first : bucket.first + size]
        windows = np.lib.stride_tricks.sliding_window_view(strip, width, axis=0).swapaxes(1, 2)
        for left in np.unique(lefts):
            these = np.flatnonzero(lefts == left)
            starts = columns + left
            inside = (starts >= 0) & (starts + width <= len(strip))
            if not inside.any():
                continue
            pens, starts = columns[inside], starts[inside]
            matrix, own = glyphs
            gains = own[these] - 2 * (windows[starts].reshape(len(starts), -1) @ matrix[:, these])
            rows, which = np.nonzero(gains < 0)
            numbers, gained = these[which], gains[rows, which]
            # The error that remains in the glyph's columns, per column, so that wide and narrow glyphs can be compared.
            first = pens[rows] + np.minimum(0, left)
            last = pens[rows] + np.maximum(advances[numbers], left + bank.widths[bucket.first + numbers])
            limit = len(energy) - 1
            left_over = energy[last.clip(0, limit)] - energy[first.clip(0, limit)] + gained
            parts.append((pens[rows], numbers + bucket.first, gained, left_over / (last - first)))
    if not parts:
        return Candidates(*(np.zeros(0, dtype=kind) for kind in (np.int64, np.int64, np.int64, float, "U1")))
    pens, shapes, gains, rates = (np.concatenate(part) for part in zip(*parts, strict=True))
    order = np.lexsort((rates, pens))
    pens = pens[order]
    place = np.arange(len(pens)) - np.searchsorted(pens, pens)  # 0 for the best at its column
    order = order[place < _KEPT_PER_COLUMN]
    pens = pens[place < _KEPT_PER_COLUMN]
    return Candidates(
        pens, shapes[order], bank.advances[shapes[order]], gains[order].astype(float), np.full(len(order), "")
    )


class _Table(NamedTuple):
    """The two darkest columns of a bucket's shapes, ordered by the hash of the first."""

    hashes: np.ndarray
    shapes: np.ndarray
    offsets: np.ndarray  # columns from the first of the ink
    second_hashes: np.ndarray
    second_offsets: np.ndarray


def _tables(bank, baseline):
    key = "tables", baseline
    if key not in bank.matching_arrays:
        bank.matching_arrays[key] = [_table(bank, bucket) for bucket in bank.at_baseline(baseline)]
    return bank.matching_arrays[key]


def _known_hashes(bank, baseline):
    key = "hashes", baseline
    if key not in bank.matching_arrays:
        hashes = np.unique(np.concatenate([table.hashes for table in _tables(bank, baseline)]))
        bank.matching_arrays[key] = hashes if hashes.size else np.zeros(1, dtype=np.uint64)
    return bank.matching_arrays[key]


def _table(bank, bucket):
    ink = bank.ink[bucket.coverage]
    widths = bank.widths[bucket.first : bucket.first + len(ink)]
    weights = ink.sum(axis=2, dtype=np.int64) + 1
    # Neighbors overlap the columns at the sides, so these are taken only if there are no others.
    place = np.arange(ink.shape[1])[None]
    from_side = np.minimum(place, widths[:, None] - 1 - place)
    weights[from_side < np.minimum(2, (widths[:, None] - 1) // 2)] = 0
    weights[from_side < 0] = -1
    every = np.arange(len(ink))
    offsets = weights.argmax(axis=1)
    weights[every, offsets] = 0
    second = np.where(widths > 5, weights.argmax(axis=1), offsets)
    # A neighbor can overlap either column of a glyph that has only two, so the glyph is entered with each of them.
    two = np.flatnonzero(widths == 2)
    every, offsets, second = (np.append(part, part[two]) for part in (every, offsets, second))
    offsets[len(ink) :] = second[len(ink) :] = 1 - offsets[len(ink) :]
    hashes, second_hashes = (_hashes(ink[every, chosen]) for chosen in (offsets, second))
    inked = ink.any(axis=(1, 2))  # on this baseline, a shape may lie completely above or below the strip
    order = np.argsort(hashes, kind="stable")
    order = order[inked[every[order]]]
    return _Table(hashes[order], every[order], offsets[order], second_hashes[order], second[order])


def _matrices(bank, baseline):
    """For each bucket its shapes as columns, float32 ``[width * rows, shapes]``, and the sums of their squares."""
    key = "matrices", baseline
    if key not in bank.matching_arrays:
        arrays = []
        for bucket in bank.at_baseline(baseline):
            flat = bank.ink[bucket.coverage].reshape(len(bucket.coverage), -1).astype(np.float32) / 255
            arrays.append((np.ascontiguousarray(flat.T), (flat * flat).sum(axis=1)))
        bank.matching_arrays[key] = arrays
    return bank.matching_arrays[key]


def _hashes(columns):
    """A hash of each column ``[..., rows]``; equal columns have equal hashes."""
    return columns.astype(np.uint64) @ _factors(columns.shape[-1])


@functools.cache
def _factors(rows):
    return np.random.default_rng(0).integers(1, 1 << 63, rows, dtype=np.uint64) | np.uint64(1)


def _blanks(ink, bank, most):
    inked = np.flatnonzero(ink.any(axis=1))
    first, last = (
        (inked[0], inked[-1]) if inked.size else (0, -1)
    )  # blanks before and after the text are not looked for
    energy = np.concatenate([[0.0], ((ink / 255.0) ** 2).sum(axis=1).cumsum()])
    parts = []
    for character, advance in bank.blanks.items():
        pens = np.flatnonzero(energy[advance:] - energy[:-advance] < most) if advance > 0 else np.zeros(0, dtype=int)
        parts.append((pens[(pens >= first) & (pens <= last)], advance, character))
    return Candidates(
        np.concatenate([np.zeros(0, dtype=np.int64), *(pens for pens, _, _ in parts)]),
        np.full(sum(len(pens) for pens, _, _ in parts), -1),
        np.concatenate([np.zeros(0, dtype=np.int64), *(np.full(len(pens), advance) for pens, advance, _ in parts)]),
        np.zeros(sum(len(pens) for pens, _, _ in parts)),
        np.concatenate([np.zeros(0, dtype="U1"), *(np.full(len(pens), character) for pens, _, character in parts)]),
    )


def ordered(found: list[Candidates]) -> Candidates:
    """Merge several Candidates into one, in the order of their pens."""
    joined = Candidates(*(np.concatenate(part) for part in zip(*found, strict=True)))
    order = np.argsort(joined.pens, kind="stable")
    return Candidates(*(part[order] for part in joined))
