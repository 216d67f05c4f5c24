import collections

import numpy as np
import pytest
import torch
from fairseq.data import FairseqDataset

from pixelgpt_fairseq.data.modality_mixture import ModalityMixture, mixed_batches


class Stream(FairseqDataset):
    """Examples of the lengths given, each filled with its number."""

    def __init__(self, key, sizes):
        self.key, self.sizes = key, np.array(sizes)

    def __len__(self):
        return len(self.sizes)

    def __getitem__(self, i):
        shape = (self.sizes[i], 256) if self.key == "patches" else (self.sizes[i],)
        return {"id": i, self.key: torch.full(shape, i, dtype=torch.uint8 if self.key == "patches" else torch.int64)}


@pytest.fixture
def mixture():
    return ModalityMixture({"pixel": Stream("patches", [8] * 40), "text": Stream("tokens", [8] * 20)}, pad=2)


def draw(mixture, weights=(1, 1), group_size=2, seed=1, epoch=1, batch_size=2):
    return mixed_batches(
        mixture,
        weights,
        lambda indices: mixture.batch_by_size(indices, max_sentences=batch_size),
        group_size,
        seed,
        epoch,
    )


def modalities(mixture, batches):
    return [{mixture[i]["modality"] for i in batch} for batch in batches]


def test_every_group_is_of_one_modality(mixture):
    found = modalities(mixture, draw(mixture, group_size=3))
    for start in range(0, len(found), 3):
        group = found[start : start + 3]
        assert len(set.union(*group)) == 1


@pytest.mark.parametrize(("weights", "share"), [((1, 1), 0.5), ((3, 1), 0.25), ((1, 9), 0.9)])
def test_streams_are_drawn_by_weight(mixture, weights, share):
    found = modalities(mixture, draw(mixture, weights, group_size=1))
    assert len(found) == 30
    assert sum(names == {"text"} for names in found) / len(found) == pytest.approx(share, abs=0.02)


def test_a_stream_is_used_up_before_any_example_comes_again(mixture):
    counts = collections.Counter(i for batch in draw(mixture, (1, 5), group_size=1) for i in batch if i >= 40)
    assert set(counts) == set(range(40, 60))
    assert max(counts.values()) - min(counts.values()) <= 1


def test_order_depends_on_seed_and_epoch_alone(mixture):
    first = draw(mixture)
    np.random.seed(5)
    assert [list(batch) for batch in draw(mixture)] == [list(batch) for batch in first]
    assert [list(batch) for batch in draw(mixture, seed=2)] != [list(batch) for batch in first]
    assert [list(batch) for batch in draw(mixture, epoch=2)] != [list(batch) for batch in first]


@pytest.mark.parametrize("examples", [40, 41, 42, 43])
def test_two_workers_or_two_accumulated_batches_are_one_batch_twice_as_large(examples):
    mixture = ModalityMixture(
        {"pixel": Stream("patches", [8] * examples), "text": Stream("tokens", range(5, 25))}, pad=2
    )
    large = draw(mixture, group_size=1, batch_size=4)
    small = draw(mixture, group_size=2, batch_size=2)
    joined = [sorted([*first, *second]) for first, second in zip(small[::2], small[1::2], strict=True)]
    assert sorted(map(sorted, large)) == sorted(joined)


def test_a_stream_smaller_than_a_group_still_takes_part():
    mixture = ModalityMixture({"pixel": Stream("patches", [8] * 40), "text": Stream("tokens", [8])}, pad=2)
    found = modalities(mixture, draw(mixture, group_size=4))
    assert sum(names == {"text"} for names in found) >= 4


def test_batches_are_padded_to_their_longest_and_masked():
    mixture = ModalityMixture({"text": Stream("tokens", [3, 5])}, pad=2)
    batch = mixture.collater([mixture[0], mixture[1]])
    assert batch["net_input"]["tokens"].tolist() == [[0, 0, 0, 2, 2], [1, 1, 1, 1, 1]]
    assert batch["net_input"]["token_mask"].tolist() == [[True] * 3 + [False] * 2, [True] * 5]
    assert batch["ntokens"] == 8
    assert mixture.collater([]) == {}
    assert "token_mask" not in mixture.collater([mixture[1]])["net_input"]
