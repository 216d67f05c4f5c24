"""Random choices that use nothing but a generator's ``random()``.

Python promises that ``random.Random(seed).random()`` gives the same numbers in every version, but not that ``shuffle``
and ``choice`` do. NumPy's generators have ``random()`` as well, so that both kinds can be used.
"""


def draw(rng, items):
    """One of *items* (a sequence), all equally likely."""
    return items[int(rng.random() * len(items))]


def shuffled(rng, items) -> list:
    """*items* in a random order, all orders equally likely."""
    items = list(items)
    for last in range(len(items) - 1, 0, -1):
        other = int(rng.random() * (last + 1))
        items[last], items[other] = items[other], items[last]
    return items


def draw_weighted(rng, weights) -> int:
    """An index, drawn with a probability in proportion to its weight."""
    rest = rng.random() * sum(weights)
    for index, weight in enumerate(weights):
        rest -= weight
        if rest < 0:
            return index
    return len(weights) - 1
