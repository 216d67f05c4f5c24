import collections

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelgpt_fairseq.data.classification import ClassificationDataset
from pixelgpt_fairseq.data.languages import LanguagesDataset, epoch_shares

LANGUAGES = ("en", "de", "sw", "th")
COUNTS = {"de": 4, "en": 40, "sw": 12}


class Strips(list):
    """Strips of random lengths, whose first value is their number."""

    def __init__(self, numbers, lengths):
        super().__init__(
            torch.full((length, 4), number, dtype=torch.int16) for number, length in zip(numbers, lengths, strict=True)
        )
        self.sizes = np.array(lengths)


def dataset(counts=COUNTS, shuffle=True, labeled=True, **options):
    random, parts, start = np.random.default_rng(0), {}, 0
    for language, count in counts.items():
        strips = Strips(range(start, start + count), random.integers(2, 30, count))
        labels = np.arange(count) % 3 if labeled else None
        parts[language] = ClassificationDataset("pixel", strips, labels=labels)
        start += count
    return LanguagesDataset(parts, LANGUAGES, shuffle, **options)


def languages_of(whole):
    """The name of every example's language."""
    return np.array([LANGUAGES[whole[i]["language"]] for i in range(len(whole))])


def of_language(examples):
    return collections.Counter(LANGUAGES[example["language"]] for example in examples)


def test_examples_keep_their_number_their_language_and_their_label():
    whole = dataset()
    assert len(whole) == sum(COUNTS.values())
    for i in range(len(whole)):
        example = whole[i]
        assert example["id"] == i == example["patches"][0, 0]
        assert len(example["patches"]) == whole.sizes[i] == whole.num_tokens(i) == whole.size(i)
        assert example["label"] == whole.labels[i]
    assert languages_of(whole).tolist() == [name for name, count in COUNTS.items() for _ in range(count)]


def test_batches_tell_the_language_of_each_example():
    whole = dataset()
    batch = whole.collater([whole[0], whole[4], whole[55]])
    assert batch["languages"].tolist() == [1, 0, 2]
    assert batch["id"].tolist() == [0, 4, 55]
    assert batch["examples"] == len(whole)
    assert whole.collater([]) == {}


def test_an_epoch_has_every_example_once_in_an_order_of_its_own():
    whole, again, other = dataset(seed=1), dataset(seed=1), dataset(seed=2)
    orders = []
    for epoch in (1, 2):
        for each in (whole, again, other):
            each.set_epoch(epoch)
        orders.append(whole.ordered_indices())
        assert sorted(orders[-1]) == list(range(len(whole)))
        np.testing.assert_array_equal(orders[-1], again.ordered_indices())
        assert not np.array_equal(orders[-1], other.ordered_indices())
    assert not np.array_equal(*orders)


def test_validation_goes_by_length_whatever_the_language():
    whole = dataset(shuffle=False)
    order = whole.ordered_indices()
    assert sorted(order) == list(range(len(whole)))
    assert np.all(np.diff(whole.sizes[order]) >= 0)
    languages = languages_of(whole)[order]
    assert np.count_nonzero(languages[1:] != languages[:-1]) > len(COUNTS)


def test_a_higher_temperature_takes_more_of_the_languages_that_have_few():
    of_few = []
    for temperature in (1.0, 2.0, 5.0, float("inf")):
        whole = dataset(sampling_temperature=temperature)
        order = whole.ordered_indices()
        assert len(order) == len(whole)
        of_few.append(of_language(whole[i] for i in order)["de"])
    assert of_few == sorted(of_few)
    assert of_few[0] == 4
    assert of_few[-1] == round(len(whole) / 3)


def test_what_a_temperature_draws_is_spread_evenly_and_differs_from_epoch_to_epoch():
    whole, again = dataset(sampling_temperature=3.0), dataset(sampling_temperature=3.0)
    drawn = []
    for epoch in (1, 2):
        whole.set_epoch(epoch)
        again.set_epoch(epoch)
        times = np.bincount(whole.ordered_indices(), minlength=len(whole))
        np.testing.assert_array_equal(times, np.bincount(again.ordered_indices(), minlength=len(whole)))
        for language in COUNTS:
            assert np.ptp(times[languages_of(whole) == language]) <= 1
        drawn.append(times)
    assert not np.array_equal(*drawn)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=15), st.floats(0.5, 100))
def test_shares_of_an_epoch_add_up_to_all_examples(sizes, temperature):
    shares = epoch_shares(sizes, temperature)
    assert shares.sum() == sum(sizes)
    assert np.all(shares >= 0)
    np.testing.assert_array_equal(epoch_shares(sizes, 1.0), sizes)
    assert np.ptp(epoch_shares(sizes, float("inf"))) <= 1


def test_labels_are_there_only_if_every_language_has_some():
    assert dataset(labeled=False).labels is None
    assert "labels" not in dataset(labeled=False).collater([dataset(labeled=False)[0]])


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_batches_of_several_languages_have_hardly_any_padding(temperature):
    whole = dataset({"en": 400, "de": 300, "th": 100}, sampling_temperature=temperature)
    batches = whole.batch_by_size(whole.ordered_indices(), max_tokens=240)
    languages = languages_of(whole)
    used = sum(whole.sizes[batch].sum() for batch in batches)
    room = sum(len(batch) * whole.sizes[batch].max() for batch in batches)
    assert used / room > 0.95
    assert np.mean([len(set(languages[batch])) > 1 for batch in batches]) > 0.8
