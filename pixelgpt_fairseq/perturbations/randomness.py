"""Choices by a generator's ``random()`` alone.

Python promises the same numbers from ``random.Random(seed).random()`` in every version, but not the same results from
its ``shuffle`` and ``choice``. NumPy's generators have ``random()`` as well, so either kind can be given.
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
    """An index, as likely as its weight is large."""
    rest = rng.random() * sum(weights)
    for index, weight in enumerate(weights):
        rest -= weight
        if rest < 0:
            return index
    return len(weights) - 1
