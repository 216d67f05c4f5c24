"""The order in which a stream is trained on: shuffled as a whole or, where it is large, in long runs of reading.

A large stream is cut into segments of consecutive examples. In every pass the segments are shuffled and dealt to a
fixed number of lanes. A lane fills its buffer with several segments, draws batches from all of them together, and
goes on to the next segments; the batches of the lanes take turns. So files are read in runs of whole segments, while
the examples of a batch come from many places. The lanes' buffers do not end at the same time.

Batch number *p* of a stream is trained on by worker ``p % workers``. If their number divides that of the lanes, each
worker reads lanes of its own, and no segment is read by two.
"""

import collections
import functools
import math

import numpy as np
from fairseq.data import data_utils

from pixelgpt_fairseq.data.lazy_batches import PackedBatches

LANES = 32
SEGMENT_POSITIONS = 1 << 16  # 16 MiB of gray patches
SHUFFLE_BUFFER = 1 << 27  # positions; the default of all lanes together


class Segments:
    """How a stream is cut into segments.

    Args:
        sizes: int ``[n]``: positions of the examples.
        buffer: positions that are shuffled together; a stream that has no more is one segment. None: any stream.

    Attributes:
        length: examples in a segment; the last one may have fewer.
        number: of segments.
        held: segments in the full buffer of a lane.
        lanes: number of lanes.
    """

    def __init__(self, sizes, buffer=None):
        self.examples, total = len(sizes), int(sizes.sum(dtype=np.int64))
        self.length, self.number, self.held, self.lanes = max(1, self.examples), 1, 1, 1
        if buffer is not None and total > buffer:
            self.length = max(1, SEGMENT_POSITIONS * self.examples // total)
            self.number = -(-self.examples // self.length)
            self.lanes = min(LANES, self.number)
            self.held = max(1, buffer // (SEGMENT_POSITIONS * LANES))

    def examples_of(self, segments):
        """int64 ``[n]``: the examples of these segments."""
        examples = (np.asarray(segments)[:, None] * self.length + np.arange(self.length)).reshape(-1)
        return examples[examples < self.examples]

    def count_examples(self, segments):
        """The number of examples of these segments."""
        last = self.number - 1
        return len(segments) * self.length - (last in segments) * (self.number * self.length - self.examples)

    def deal(self, random):
        """Shuffle the segments: for each lane, a list of arrays of the segments that its buffer holds in turn."""
        shuffled = random.permutation(self.number)
        dealt = []
        for lane in range(self.lanes):
            # The first buffers are of different lengths, from a half on, so that the lanes do not all begin to read at
            # the same time; what is left at the end is added to the last one, unless it makes half a buffer, too.
            first = -(-self.held * (self.lanes + lane + 1) // (2 * self.lanes))
            own = shuffled[lane :: self.lanes]
            dealt.append(np.split(own, range(first, len(own) - self.held // 2, self.held)))
        return dealt


class RecentSegments:
    """The segments that a process has read from lately: twice as many as are in the buffers of its worker's lanes.

    Args:
        segments: Segments.
        workers: of training.
    """

    def __init__(self, segments, workers):
        self.segments, self.recent = segments, collections.OrderedDict()
        self.most = 2 * segments.held * segments.lanes // math.gcd(segments.lanes, workers)

    def entered(self, example):
        """The segment of *example* as a ``range`` of examples, if it is time to read it as a whole; else None.

        That is so when the second of its examples is asked for. The first may be a single one that another worker left:
        towards the end of a pass, when some lanes have ended, others take their places.
        """
        segments = self.segments
        if segments.number == 1:
            return None
        number = example // segments.length
        times = self.recent.pop(number, 0) + 1
        self.recent[number] = times  # the last one now
        if len(self.recent) > self.most:
            self.recent.popitem(last=False)
        if times != 2:
            return None
        return range(number * segments.length, min((number + 1) * segments.length, segments.examples))


class EndlessBatches:
    """The batches of a stream, pass after pass over its examples, made when they are asked for.

    ``len`` is the number of batches in the first pass. Where ``--max-tokens`` makes the batches, it differs a little
    from pass to pass.

    Args:
        first: index of the stream's first example.
        sizes: int ``[n]``: positions of its examples.
        segments: Segments.
        limits: ``max_tokens`` and ``max_sentences`` of a batch.
        seed: tuple of int that determines the order.
    """

    def __init__(self, first, sizes, segments, limits, seed):
        self.first, self.sizes, self.segments, self.limits, self.seed = first, sizes, segments, limits, seed
        self._ends = []  # of the passes counted so far: the number of batches up to their ends
        self._pass = functools.lru_cache(2)(lambda number: _Pass(self, number))

    def __len__(self):
        self._count(1)
        return self._ends[0]

    def __getitem__(self, position):
        while not self._ends or position >= self._ends[-1]:
            self._count(len(self._ends) + 1)
        number = int(np.searchsorted(self._ends, position, side="right"))
        return self._pass(number)[position - (self._ends[number - 1] if number else 0)]

    def _count(self, passes):
        while len(self._ends) < passes:
            number = len(self._pass(len(self._ends)))
            self._ends.append(number + (self._ends[-1] if self._ends else 0))

    def count_batches(self, segments, place):
        """The number of batches that :meth:`batches` makes."""
        most = self.limits.get("max_sentences")
        if self.limits.get("max_tokens") is None and most:
            return -(-self.segments.count_examples(segments) // most)
        return len(self.batches(segments, place))

    def batches(self, segments, place):
        """The batches of one buffer, each of examples of similar length, in random order.

        Args:
            segments: int ``[n]``: what the buffer holds.
            place: tuple of int that tells the buffer from all others.

        Returns:
            PackedBatches
        """
        random = np.random.default_rng([*self.seed, *place])
        shuffled = random.permutation(self.segments.examples_of(segments))
        sizes = self.sizes[shuffled]
        lengths = sizes
        # Sorted up or down at random, so that the incomplete batch is not always the one of the longest examples.
        if random.choice([-1, 1]) < 0:
            lengths = sizes.max() - sizes
        order = np.argsort(lengths, kind="stable")
        made = data_utils.batch_by_size(
            self.first + shuffled[order], None, num_tokens_vec=sizes[order].astype(np.int64), **self.limits
        )
        return PackedBatches.shuffled(made, random, np.min_scalar_type(self.first + len(self.sizes)))


class _Pass:
    """The batches of one pass over a stream."""

    def __init__(self, stream, number):
        self.stream, self.number = stream, number
        self.lanes = stream.segments.deal(np.random.default_rng([*stream.seed, number]))
        counted = [
            [stream.count_batches(segments, self._place(lane, nth)) for nth, segments in enumerate(buffers)]
            for lane, buffers in enumerate(self.lanes)
        ]
        self.ends = [np.cumsum(counts) for counts in counted]  # of each lane's buffers, in batches
        totals = np.array([ends[-1] for ends in self.ends])
        # The lanes take turns until the shortest ends, then the others until the next one ends, and so on.
        self.shortest = np.argsort(totals, kind="stable")
        self.rounds = np.append(0, totals[self.shortest])  # turns of each lane up to the end of each
        taking_part = np.arange(len(totals), 0, -1)
        self.starts = np.append(0, np.cumsum(np.diff(self.rounds) * taking_part))
        self._held = [(None, None)] * len(totals)  # of each lane: the buffer that it took last, and its batches

    def _place(self, lane, nth):
        return (self.number, lane, nth) if self.stream.segments.number > 1 else (self.number,)

    def __len__(self):
        return int(self.starts[-1])

    def __getitem__(self, position):
        phase = int(np.searchsorted(self.starts, position, side="right")) - 1
        lanes = np.sort(self.shortest[phase:])
        turn, place = divmod(position - int(self.starts[phase]), len(lanes))
        lane, turn = int(lanes[place]), turn + int(self.rounds[phase])
        nth = int(np.searchsorted(self.ends[lane], turn, side="right"))
        if self._held[lane][0] != nth:
            self._held[lane] = nth, self.stream.batches(self.lanes[lane][nth], self._place(lane, nth))
        batches = self._held[lane][1]
        return batches[turn - (int(self.ends[lane][nth]) - len(batches))]
