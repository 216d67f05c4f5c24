import collections

import numpy as np
import pytest
import torch
from fairseq.data import FairseqDataset

from pixelgpt_fairseq.data.modality_mixture import MixtureOrder, ModalityMixture


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


def draw(mixture, weights=(1, 1), group_size=2, seed=1, epoch=1, batch_size=2, **limits):
    limits = limits or {"max_sentences": batch_size}
    order = MixtureOrder(mixture, weights, limits, seed)
    return order.batches(epoch, group_size, [group_size] * (epoch - 1))


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


@pytest.mark.parametrize(("limits", "group_size"), [({"max_sentences": 3}, 8), ({"max_tokens": 60}, 4)])
def test_nothing_is_left_out_for_good(limits, group_size):
    lengths = np.random.default_rng(0).integers(5, 40, 50)
    mixture = ModalityMixture({"pixel": Stream("patches", lengths), "text": Stream("tokens", [8] * 31)}, pad=2)
    seen = np.zeros(len(mixture), dtype=int)
    for epoch in range(1, 15):
        for batch in draw(mixture, (1, 3), group_size, epoch=epoch, **limits):
            seen[batch] += 1
        for stream in mixture.stream_indices():  # every example comes once before any comes again
            assert np.ptp(seen[stream]) <= 1
    assert seen.min() >= 3


def test_an_epoch_goes_on_where_the_one_before_stopped():
    mixture = ModalityMixture({"text": Stream("tokens", range(5, 68))}, pad=2)  # 63 batches of one, groups of 32
    first, second = (np.concatenate(draw(mixture, (1,), 32, epoch=epoch, batch_size=1)) for epoch in (1, 2))
    assert sorted(first[:63]) == list(range(63))
    assert sorted(np.concatenate([first[63:], second[:62]])) == list(range(63))


def test_another_update_frequency_in_an_earlier_epoch_leaves_nothing_out():
    mixture = ModalityMixture({"text": Stream("tokens", range(5, 68))}, pad=2)
    order = MixtureOrder(mixture, (1,), {"max_sentences": 1}, 1)
    epochs = np.concatenate([*order.batches(1, 8), *order.batches(2, 32, [8]), *order.batches(3, 8, [8, 32])])
    for start in range(0, len(epochs) - 63, 63):
        assert sorted(epochs[start : start + 63]) == list(range(63))


def test_batches_have_like_lengths_and_updates_random_ones():
    lengths = np.random.default_rng(0).lognormal(4, 0.8, 20_000).astype(int) + 2
    mixture = ModalityMixture({"text": Stream("tokens", lengths)}, pad=2)
    for limits in ({"max_sentences": 16}, {"max_tokens": 2000}):
        batches = draw(mixture, (1,), 8, **limits)
        padded = sum(len(batch) * lengths[batch].max() for batch in batches)
        used = sum(lengths[batch].sum() for batch in batches)
        in_order = np.argsort(lengths, kind="stable")
        least = sum(len(batch) * lengths[batch].max() for batch in mixture.batch_by_size(in_order, **limits))
        assert padded / used < 1.01 * least / lengths.sum()  # of all examples sorted
        updates = [np.concatenate(batches[i : i + 8]) for i in range(0, len(batches), 8)]
        # Each example counts alike: with --max-tokens, batches of short ones have more.
        spreads = [lengths[update].std() for update in updates]
        assert np.median(spreads) > 0.6 * lengths.std()
        assert np.mean([np.ptp(lengths[update]) < 0.5 * np.median(lengths) for update in updates]) < 0.05


def test_an_update_knows_its_targets_and_is_of_one_modality():
    blocks = {"pixel": Stream("patches", [8] * 4), "text": Stream("tokens", [3, 5, 9, 9])}
    for key, stream in zip(("patch", "token"), blocks.values(), strict=True):
        stream.num_targets = lambda indices, key=key, stream=stream: {key: int((stream.sizes[indices] - 1).sum())}
    mixture = ModalityMixture(blocks, pad=2)
    assert mixture.describe_update([[0, 1], [3]]) == {"batches": 2, "targets": {"patch": 21}}
    assert mixture.describe_update([[4], [5, 7]]) == {"batches": 2, "targets": {"token": 2 + 4 + 8}}
    with pytest.raises(AssertionError, match=r"an update of several modalities \(pixel, text\)"):
        mixture.describe_update([[3], [4]])


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
