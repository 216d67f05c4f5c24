"""The best sequence of glyphs for a strip: a shortest path from pen to pen.

The cost of a path is the sum of the squared differences between the strip and what the path's glyphs draw (at most 1
for each pixel), plus a small cost for each glyph, so that a path has no glyphs that explain nothing. Where the ink of
two neighbors overlaps, the combined ink is compared with the strip.
"""

import numpy as np

# Costs in addition to the differences.
_GLYPH = 0.5  # each glyph with ink
_RARE = 0.3  # extra for a letter with marks or one that few languages use; twice that for a compatibility form
_BLANK = 0.15  # each blank
_WIDE_BLANK = 0.6  # extra for a blank other than the space, so that several spaces of the same width are preferred
GAP = 0.3  # each column between the end of one glyph and the next pen

_MAX_OVERLAP = 8  # columns
_PAIRS = 1 << 15  # neighbors that are compared at a time

# Coverage where two glyphs overlap, computed as the renderer does.
_COMBINED = np.array([[s + d - s * d // 255 for d in range(256)] for s in range(256)], dtype=np.uint8)


def shortest_path(ink, bank, baseline, candidates, caution=1.0) -> list[int]:
    """Numbers of the candidates on the best path, from left to right; it may begin and end anywhere.

    Args:
        ink: uint8 ``[columns, rows]``.
        bank, baseline, candidates: see :mod:`~pixelgpt_fairseq.generation.glyph_matching`.
        caution: factor on what glyphs and gaps cost; higher for noisy strips, whose single pixels mean less.
    """
    if not len(candidates.pens):
        return []
    neighbors = Neighbors(ink, bank, baseline, candidates)
    costs = candidates.gains + caution * glyph_costs(bank, candidates)
    reached, before = _reached(neighbors, costs, candidates.advances > 0, caution)
    last = int(reached.argmin())
    if reached[last] >= 0:
        return []
    path = []
    while last >= 0:
        path.append(last)
        last = int(before[last])
    return path[::-1]


def path_costs(bank, candidates, neighbors, caution=1.0) -> np.ndarray:
    """What the best path through each candidate costs: float64 ``[candidates]``.

    Args:
        bank, candidates, caution: see :func:`shortest_path`; all candidates move the pen.
        neighbors: Neighbors of the candidates.
    """
    costs = candidates.gains + caution * glyph_costs(bank, candidates)
    reached, _ = _reached(neighbors, costs, candidates.advances > 0, caution)
    following = np.zeros(len(costs))  # the cost of the best path that follows a candidate
    gap_cost = 0.0  # of the best path that begins after this column
    for column in range(neighbors.columns - 2, -1, -1):
        start, stop = neighbors.begins[column], neighbors.begins[column + 1]
        there = neighbors.ending(column)
        least = gap_cost
        if start < stop:
            onwards = costs[start:stop] + following[start:stop]
            least = min(least, float(onwards.min()))
            if there.size:
                best = (neighbors.corrections_at(column) + onwards).min(axis=1)
                following[there] = np.minimum(best, gap_cost)
        elif there.size:
            following[there] = gap_cost
        gap_cost = min(0.0, least + caution * GAP)  # a path may end at any column
    return reached + following


def _reached(neighbors, costs, moving, caution):
    """For each candidate the cost of the best path that ends with it, and the candidate before it, or -1."""
    begins = neighbors.begins
    moving = None if moving.all() else moving
    reached = np.full(len(costs), np.inf)
    before = np.full(len(costs), -1)
    gap_cost, gap_from = 0.0, -1  # of the best path that ends before this column, where no glyph stands
    for column in range(neighbors.columns - 1):
        start, stop = begins[column], begins[column + 1]
        there = neighbors.ending(column)
        if start < stop:
            own = costs[start:stop]
            if there.size:
                pairs = neighbors.corrections_at(column)
                _extend(slice(start, stop), own, there, pairs, moving, reached, before, gap_cost, gap_from)
            else:
                better = gap_cost + own
                reached[start:stop], before[start:stop] = better, gap_from
        if there.size:
            best = int(there[reached[there].argmin()])
            if reached[best] < gap_cost:
                gap_cost, gap_from = float(reached[best]), best
        gap_cost += caution * GAP
        if gap_cost > 0:  # a path may begin at any column
            gap_cost, gap_from = 0.0, -1
    return reached, before


def _extend(here, own, there, pairs, moving, reached, before, gap_cost, gap_from):
    """Set the costs of the candidates *here*, with their pens at one column, from those that end *there*.

    Marks do not move the pen: they begin and end at the same column, and come after a letter, before the next one.

    Args:
        here: slice of the candidates.
        own: their costs.
        there: numbers of the candidates that end at this column.
        pairs: corrections ``[there, here]``.
        moving: for each candidate whether it moves the pen; None where all of them do.
        reached, before, gap_cost, gap_from: see :func:`_reached`.
    """
    if moving is not None and not moving[here].all():
        moves = moving[here]
        numbers = np.arange(here.start, here.stop)
        letters = moving[there]
        if letters.any():
            table = reached[there[letters]][:, None] + pairs[letters][:, ~moves]
            choice, costs = _cheapest(table)
            reached[numbers[~moves]], before[numbers[~moves]] = costs + own[~moves], there[letters][choice]
        if not moves.any():
            return
        here, own, pairs = numbers[moves], own[moves], pairs[:, moves]
    choice, costs = _cheapest(reached[there][:, None] + pairs)
    alone = gap_cost < costs
    reached[here] = np.where(alone, gap_cost, costs) + own
    before[here] = np.where(alone, gap_from, there[choice])


def _cheapest(table):
    """For each column of the table, the row with the smallest value, and that value."""
    choice = table.argmin(axis=0)
    return choice, table[choice, np.arange(len(choice))]


def glyph_costs(bank, candidates) -> np.ndarray:
    """What each candidate costs besides the differences: float64 ``[candidates]``."""
    costs = np.full(len(candidates.pens), _GLYPH)
    blank = candidates.shapes < 0
    costs[~blank] += _RARE * bank.ranks[candidates.shapes[~blank]]
    costs[blank] = np.where(candidates.blanks[blank] == " ", _BLANK, _BLANK + _WIDE_BLANK)
    return costs


class Neighbors:
    """Which candidates end and begin at each column, and what two neighbors cost more than the sum of their costs.

    Args:
        ink, bank, baseline, candidates: see :func:`shortest_path`.

    Attributes:
        columns: number of columns, up to the last end and beyond.
        begins: for each column the number of the first candidate with its pen there, or after it.
    """

    def __init__(self, ink, bank, baseline, candidates):
        ends = candidates.pens + candidates.advances
        self.columns = int(ends.max()) + 2
        self._by_end = np.argsort(ends, kind="stable")
        begins = np.searchsorted(candidates.pens, np.arange(self.columns))
        arrivals = np.searchsorted(ends[self._by_end], np.arange(self.columns))
        self.begins, self._arrivals = begins.tolist(), arrivals.tolist()
        # One array has the tables of all columns, one after another: a row for each candidate that ends at the column,
        # with a value for each candidate that begins there.
        ending, beginning = np.diff(arrivals), np.diff(begins)
        counts = ending * beginning
        first = np.concatenate([[0], counts.cumsum()])
        self._corrections, self._first_pair = np.zeros(first[-1]), first.tolist()
        where = np.arange(self.columns - 1).repeat(counts)
        place = np.arange(first[-1]) - first[:-1].repeat(counts)
        width = np.maximum(beginning[where], 1)
        left = self._by_end[arrivals[where] + place // width]
        right = begins[where] + place % width
        self._correct(ink, bank, baseline, candidates, left, right)

    def ending(self, column):
        """Numbers of the candidates that end at a column."""
        return self._by_end[self._arrivals[column] : self._arrivals[column + 1]]

    def corrections_at(self, column):
        """float64 ``[ending at the column, beginning there]``."""
        flat = self._corrections[self._first_pair[column] : self._first_pair[column + 1]]
        return flat.reshape(-1, self.begins[column + 1] - self.begins[column])

    def _correct(self, ink, bank, baseline, candidates, left, right):
        """Set the corrections of pairs of candidates: 0 where their ink does not overlap."""
        lows, highs = _reach(bank, candidates)
        inked = candidates.shapes >= 0
        overlapping = np.flatnonzero((highs[left] > lows[right]) & inked[left] & inked[right])
        for begin in range(0, len(overlapping), _PAIRS):
            these = overlapping[begin : begin + _PAIRS]
            self._corrections[these] = _overlap_costs(
                ink,
                bank,
                baseline,
                candidates.shapes[left[these]],
                candidates.shapes[right[these]],
                lows[left[these]],
                lows[right[these]],
            )


def _overlap_costs(ink, bank, baseline, left, right, left_low, right_low):
    """For pairs of shapes, whose ink begins at the columns given, what their overlap adds: float64 ``[pairs]``."""
    costs = np.zeros(len(left))
    left_end, right_end = left_low + bank.widths[left], right_low + bank.widths[right]
    begin = np.maximum(left_low, right_low)
    overlap = np.minimum(np.minimum(left_end, right_end) - begin, _MAX_OVERLAP)
    for offset in range(int(overlap.max(initial=0))):
        these = np.flatnonzero(overlap > offset)
        column = begin[these] + offset
        seen = ink[column.clip(0, len(ink) - 1)].astype(np.float64)
        under = _columns(bank, baseline, left[these], column - left_low[these])
        over = _columns(bank, baseline, right[these], column - right_low[these])
        together = bank.ink[_COMBINED[over, under]].astype(np.float64)
        under, over = (bank.ink[part].astype(np.float64) for part in (under, over))
        added = (seen - together) ** 2 - (seen - under) ** 2 - (seen - over) ** 2 + seen**2
        costs[these] += added.sum(axis=1) / 255**2
    return costs


def _columns(bank, baseline, shapes, offsets):
    """Coverage of one column of each shape: uint8 ``[shapes, rows]``."""
    columns = np.zeros((len(shapes), bank.rows), dtype=np.uint8)
    for bucket in bank.at_baseline(baseline):
        inside = (shapes >= bucket.first) & (shapes < bucket.first + len(bucket.coverage))
        columns[inside] = bucket.coverage[shapes[inside] - bucket.first, offsets[inside]]
    return columns


def _reach(bank, candidates):
    """The first column of each candidate's ink, and the one after its last."""
    lows = candidates.pens.copy()
    inked = candidates.shapes >= 0
    lows[inked] += bank.lefts[candidates.shapes[inked]]
    highs = lows.copy()
    highs[inked] += bank.widths[candidates.shapes[inked]]
    return lows, highs


def draw(bank, baseline, candidates, path, columns) -> np.ndarray:
    """What the glyphs of a path look like together: ink, uint8 ``[columns, rows]``."""
    coverage = np.zeros((columns, bank.rows), dtype=np.uint8)
    buckets = bank.at_baseline(baseline)
    firsts = [bucket.first for bucket in buckets]
    for number in path:
        shape = int(candidates.shapes[number])
        if shape < 0:
            continue
        bucket = buckets[int(np.searchsorted(firsts, shape, side="right")) - 1]
        start = int(candidates.pens[number] + bank.lefts[shape])
        there = coverage[start : start + int(bank.widths[shape])]
        there[:] = _COMBINED[bucket.coverage[shape - bucket.first][: len(there)], there]
    return bank.ink[coverage]
