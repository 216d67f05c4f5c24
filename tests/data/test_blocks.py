import numpy as np
import pytest

from pixelgpt_fairseq.data.blocks import block_ranges

# Two documents: pieces of 3 and 4 rows; a piece of 5. An empty item ends each.
SIZES = [3, 4, 0, 5, 0]


@pytest.mark.parametrize(
    ("mode", "size", "expected"),
    [
        ("none", 8, [[0, 8], [8, 12]]),
        ("complete", 8, [[0, 7], [7, 12]]),
        ("complete", 9, [[0, 7], [7, 12]]),
        ("complete", 12, [[0, 12]]),
        ("complete_doc", 12, [[0, 7], [7, 12]]),
        ("eos", 8, [[0, 3], [3, 7], [7, 12]]),
    ],
)
def test_blocks_are_what_fairseq_means_by_the_mode(mode, size, expected):
    assert block_ranges(SIZES, size, mode).tolist() == expected


@pytest.mark.parametrize("mode", ["none", "complete", "complete_doc", "eos"])
def test_no_block_is_longer_than_asked_for_and_none_is_lost(mode):
    random = np.random.default_rng(0)
    sizes = random.integers(0, 40, 500)
    sizes[::5] = 0
    ranges = block_ranges(sizes, 16, mode)
    lengths = ranges[:, 1] - ranges[:, 0]
    assert lengths.max() <= 16
    covered = np.zeros(sizes.sum(), dtype=int)
    for start, stop in ranges:
        covered[start:stop] += 1
    assert covered.max() == 1
    # Only single rows, in which nothing can be predicted, are left out.
    alone = np.flatnonzero(covered == 0)
    assert len(alone) < 0.05 * len(covered)
    assert mode != "none" or len(alone) <= 1


def test_documents_do_not_share_blocks_in_complete_doc():
    sizes = np.array([2, 2, 0, 2, 0, 3, 3, 0])
    document_of = np.repeat(np.cumsum(sizes == 0), sizes)
    for start, stop in block_ranges(sizes, 100, "complete_doc"):
        assert len(set(document_of[start:stop])) == 1
