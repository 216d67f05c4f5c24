"""The best sequence of glyphs for a strip whose words are those of a list, as far as they fit.

As in :mod:`~pixelgpt_fairseq.generation.shortest_path`, but a path also knows which prefix of a word it has read. A
word that is not in the list costs ``_UNLISTED`` more. So the list decides between readings that fit about equally well,
and a name or half a word at the edge is still read as it stands there.
"""

import functools
import unicodedata

import numpy as np

from pixelgpt_fairseq.generation.shortest_path import GAP, Neighbors, glyph_costs, path_costs

_UNLISTED = 5.0  # dark pixels by which a word that is not in the list must fit better
_MARGIN = 6.0  # dark pixels by which a path may be worse than the best one without a list
_KEPT = 4  # prefixes that are kept at each place

_REMEMBERED = 1 << 18  # states and glyphs of which is known what follows

# What a path has read since the last character that separates words, where that is no Prefix of a listed word.
_BETWEEN, _OTHER = "between words", "a word that is not in the list"


def word_path(ink, bank, baseline, candidates, words, caution=1.0) -> list[int]:
    """Numbers of the candidates on the best path, from left to right.

    Args:
        ink, bank, baseline, candidates, caution: see
            :func:`~pixelgpt_fairseq.generation.shortest_path.shortest_path`.
        words: WordList.
    """
    if not len(candidates.pens):
        return []
    neighbors, kept = Neighbors(ink, bank, baseline, candidates), np.arange(len(candidates.pens))
    if (candidates.advances > 0).all():
        costs = path_costs(bank, candidates, neighbors, caution)
        kept = np.flatnonzero(costs < min(0.0, costs.min()) + _MARGIN)
        candidates = type(candidates)(*(part[kept] for part in candidates))
        neighbors = Neighbors(ink, bank, baseline, candidates)
    return kept[_path(bank, candidates, neighbors, words, caution)].tolist()


def _path(bank, candidates, neighbors, words, caution):
    costs = (candidates.gains + caution * glyph_costs(bank, candidates)).tolist()
    looks = [
        str(blank) if shape < 0 else bank.characters[shape]
        for shape, blank in zip(candidates.shapes.tolist(), candidates.blanks.tolist(), strict=True)
    ]
    moving = (candidates.advances > 0).tolist()
    following = _following(words)
    found = [()] * len(costs)  # for each candidate what paths that end with it have read: (cost, state, end before it)
    waiting = {_BETWEEN: (0.0, None)}  # state -> cost and end of the best path that leaves this column free
    for column in range(neighbors.columns - 1):
        start, stop = neighbors.begins[column], neighbors.begins[column + 1]
        there = neighbors.ending(column).tolist()
        if start < stop:
            pairs = neighbors.corrections_at(column).tolist()
            # A mark, which does not move the pen, comes after a letter and before the next one.
            marks = [number for number in range(start, stop) if not moving[number]]
            letters = [number for number in range(start, stop) if moving[number]]
            for numbers, before_gap in ((marks, {}), (letters, waiting)):
                for number in numbers:
                    ends = [(before, row[number - start]) for before, row in zip(there, pairs, strict=True)]
                    found[number] = _extended(ends, before_gap, found, costs[number], looks[number], following)
        for before in there:
            for place, (cost, state, _) in enumerate(found[before]):
                if state not in waiting or cost < waiting[state][0]:
                    waiting[state] = cost, (before, place)
        waiting = _after_gap(waiting, caution * GAP)
    return _traced(found)


def _extended(ends, waiting, found, own, look, following):
    """What paths that end with a candidate have read, the cheapest first: costs, states, and where each comes from.

    Args:
        ends: the candidates that end where this one begins, and what each costs more as its neighbor.
        waiting, found: see :func:`_path`.
        own, look: cost and characters of the candidate.
        following: see :func:`_following`.
    """
    best = {}

    def offer(state, cost, end):
        for state_after, more in following(state, look):
            known = best.get(state_after)
            if known is None or cost + more < known[0]:
                best[state_after] = cost + more, end

    for state, (cost, end) in waiting.items():
        offer(state, cost + own, end)
    for before, correction in ends:
        for place, (cost, state, _) in enumerate(found[before]):
            offer(state, cost + own + correction, (before, place))
    ordered = sorted(((cost, state, end) for state, (cost, end) in best.items()), key=lambda each: each[0])
    return ordered[:_KEPT]


def _after_gap(waiting, gap):
    """The cheapest states one column on; a path may begin at any column."""
    kept = sorted(waiting.items(), key=lambda item: item[1][0])[:_KEPT]
    following = {state: (cost + gap, end) for state, (cost, end) in kept}
    if _BETWEEN not in following or following[_BETWEEN][0] > 0:
        following[_BETWEEN] = 0.0, None
    return following


def _traced(found):
    """The candidates of the cheapest path that does not end within a listed word."""
    ends = (
        (cost, (number, place))
        for number, paths in enumerate(found)
        for place, (cost, state, _) in enumerate(paths)
        if _may_end(state)
    )
    cost, end = min(ends, default=(0.0, None))
    path = []
    while cost < 0 and end is not None:
        path.append(end[0])
        number, place = end
        end = found[number][place][2]
    return np.array(path[::-1], dtype=np.int64)


def _may_end(state):
    return isinstance(state, str) or state.is_word


@functools.lru_cache(maxsize=4)
def _following(words):
    """A function of a state and a glyph's characters: the states that follow, with what each costs more."""
    known = {}

    def following(state, look):
        found = known.get((state, look))
        if found is None:
            costs = {}
            for character in look:
                for after, cost in _states_after(words, state, character):
                    costs[after] = min(cost, costs.get(after, np.inf))
            if len(known) >= _REMEMBERED:
                known.clear()
            found = known[state, look] = list(costs.items())
        return found

    return following


def _states_after(words, state, character):
    letter = character.isalpha() or unicodedata.category(character)[0] == "M"
    if state != _OTHER:
        longer = (words.start if state == _BETWEEN else state).longer(character)
        if longer is not None:
            yield longer, 0.0
    if not letter and _may_end(state):
        yield _BETWEEN, 0.0
    elif letter and state == _OTHER:
        yield _OTHER, 0.0
    elif letter and state == _BETWEEN:
        yield _OTHER, _UNLISTED
