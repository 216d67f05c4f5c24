"""What is too large to be shuffled as a whole: read in long runs, and shuffled nevertheless."""

import os
import resource

import numpy as np
import pytest
from test_modality_mixture import Stream

from pixelgpt_fairseq.data import shuffling
from pixelgpt_fairseq.data.indexed import IndexedRows, IndexedWriter
from pixelgpt_fairseq.data.modality_mixture import MixtureOrder, ModalityMixture

SEGMENT = 1024  # positions
LENGTHS = np.random.default_rng(0).integers(40, 90, 20_000)  # positions; about 15 examples a segment
LIMITS = ({"max_sentences": 8}, {"max_tokens": 700})
by_limits = pytest.mark.parametrize("limits", LIMITS, ids=["sentences", "tokens"])


class PrefetchedStream(Stream):
    """Remembers the runs that are to be read, and counts what is read alone."""

    supports_prefetch = True

    def __init__(self, *args):
        super().__init__(*args)
        self.runs, self.there, self.alone = [], set(), 0

    def prefetch(self, indices):
        self.runs.append(indices)
        self.there.update(indices)

    def __getitem__(self, i):
        self.alone += i not in self.there
        return {"id": i, "tokens": self.sizes[i]}


@pytest.fixture(autouse=True)
def small_segments(monkeypatch):
    monkeypatch.setattr(shuffling, "SEGMENT_POSITIONS", SEGMENT)


def mixture_of(lengths=LENGTHS, buffer=32 * 16 * SEGMENT):
    return ModalityMixture({"text": PrefetchedStream("tokens", lengths)}, pad=2, shuffle_buffer=buffer)


def one_pass(mixture, limits, seed=1):
    order = MixtureOrder(mixture, (1,), limits, seed)
    return order.streams[0], list(order.batches(1, 1))


@by_limits
def test_every_example_comes_once_before_any_comes_again(limits):
    stream, batches = one_pass(mixture_of(), limits)
    assert stream.segments.number > 1000
    assert sorted(np.concatenate(batches)) == list(range(len(LENGTHS)))
    again = [stream[position] for position in range(len(batches), 2 * len(batches) + 10)]
    counts = np.bincount(np.concatenate(again), minlength=len(LENGTHS))
    assert set(counts) <= {1, 2}
    assert not np.array_equal(again[0], batches[0])


@pytest.mark.parametrize("examples", [1, 2, 33, 500, 515, 1111])
def test_streams_of_any_size(examples):
    stream, batches = one_pass(mixture_of(LENGTHS[:examples], 0), LIMITS[0])
    assert sorted(np.concatenate(batches)) == list(range(examples))
    assert len(stream) == len(batches)


@pytest.mark.parametrize("workers", [1, 4, 32])
def test_files_are_read_in_long_runs_and_by_one_worker_each(workers):
    _, batches = one_pass(mixture_of(), LIMITS[0])
    runs, alone = [], 0
    for rank in range(workers):
        mixture = mixture_of()
        mixture.prefetch_for(workers)
        for batch in batches[rank::workers]:
            for i in batch:
                mixture[i]
        runs += mixture.datasets[0].runs
        alone += mixture.datasets[0].alone
    segments = mixture.segments[0]
    assert np.mean([len(run) for run in runs]) > 0.99 * segments.length
    assert 0.98 * segments.number < len(runs) < 1.04 * segments.number
    assert alone < 1.2 * segments.number  # the first of each; towards the end of a pass, some others


def test_the_buffers_of_all_workers_are_what_was_asked_for():
    mixture = mixture_of(np.tile(LENGTHS, 3))
    _, batches = one_pass(mixture, LIMITS[0])
    segments = mixture.segments[0]
    first, last = {}, {}
    for position, batch in enumerate(batches):
        for segment in set(batch // segments.length):
            first.setdefault(segment, position)
            last[segment] = position
    begun, ended = np.sort(list(first.values())), np.sort(list(last.values()))
    held = [np.searchsorted(begun, t, side="right") - np.searchsorted(ended, t) for t in range(0, len(batches), 16)]
    assert np.median(held) <= 32 * 16
    assert max(held) < 32 * 16 * 1.3
    # Lanes do not all begin at the same time.
    assert max(np.histogram(begun, bins=range(0, len(batches), 8))[0][100:-1]) < 32 * 16 / 8


@by_limits
def test_lengths_are_as_alike_as_if_all_were_sorted(limits, monkeypatch):
    """A batch of 8 is to a lane's 120 segments of 1,024 positions what one of 32 pairs is to those of the default."""
    monkeypatch.setattr(shuffling, "LANES", 8)
    documents = np.random.default_rng(0).lognormal(4.2, 0.7, 30_000).astype(int) + 1
    lengths = np.concatenate([documents[documents < 128], documents % 128 + 2, np.full((documents // 128).sum(), 128)])
    padding, spreads = {}, {}
    for buffer in (8 * 120 * SEGMENT, None):
        mixture = mixture_of(lengths, buffer)
        _, batches = one_pass(mixture, limits)
        padding[buffer] = sum(len(batch) * lengths[batch].max() for batch in batches) / lengths.sum()
        updates = [np.concatenate(batches[i : i + 8]) for i in range(0, len(batches), 8)]
        spreads[buffer] = np.median([lengths[update].std() for update in updates])
    assert mixture_of(lengths, 8 * 120 * SEGMENT).segments[0].number > 1
    (ours, whole), (our_spread, its) = padding.values(), spreads.values()
    assert ours < 1.01 * whole
    assert our_spread > 0.9 * its


def test_a_batch_has_examples_of_many_places():
    mixture = mixture_of(np.full(30_000, 64))
    _, batches = one_pass(mixture, LIMITS[0])
    places = [len(set(batch // mixture.segments[0].length)) for batch in batches]
    assert np.mean(places) > 0.7 * 8


def test_what_the_buffer_holds_is_shuffled_as_a_whole():
    total = int(LENGTHS.sum())
    assert mixture_of(buffer=total).segments[0].number == 1
    assert mixture_of(buffer=total - 1).segments[0].number > 1
    _, whole = one_pass(mixture_of(buffer=total), LIMITS[0])
    _, unbounded = one_pass(mixture_of(buffer=None), LIMITS[0])
    assert all(map(np.array_equal, whole, unbounded))


def test_the_system_is_asked_for_runs_of_a_file_and_across_files(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("os.posix_fadvise", lambda _, *range_and_advice: asked.append(range_and_advice[:2]))
    monkeypatch.setattr("pixelgpt_fairseq.data.indexed._PREFETCHED_AT_ONCE", 1000)
    prefixes = [tmp_path / name for name in "abc"]
    for prefix in prefixes:
        writer = IndexedWriter(prefix, np.uint8)
        writer.add(np.zeros(256 * 10, dtype=np.uint8))
        writer.close()
    IndexedRows(prefixes, 256).prefetch(4, 12)
    assert asked == [(1024, 1000), (2024, 536), (0, 512)]


def test_more_files_than_a_process_may_open(tmp_path):
    prefixes = [tmp_path / str(number) for number in range(200)]
    for prefix in prefixes:
        writer = IndexedWriter(prefix, np.uint8)
        writer.add(np.arange(8, dtype=np.uint8))
        writer.close()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    open_now = max(map(int, os.listdir("/proc/self/fd")))  # what other tests left open counts
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_now + 140, limits[1]))
    try:
        rows = IndexedRows(prefixes, 2)
        assert [len(rows[i]) for i in range(200)] == [4] * 200
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
