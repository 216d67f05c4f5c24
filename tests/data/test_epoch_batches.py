"""The iterator of training, on examples that are nothing but their lengths, shuffled by fairseq as for fine-tuning."""

import itertools

import numpy as np
import pytest
from fairseq.data import FairseqDataset
from fairseq.data.iterators import GroupedIterator

from pixelgpt_fairseq.data.by_length import BatchedByLength
from pixelgpt_fairseq.data.epoch_batches import UpdateBatchIterator

LENGTHS = np.random.default_rng(0).lognormal(3, 0.8, 1003).astype(int) + 2


class Lengths(BatchedByLength, FairseqDataset):
    def __init__(self, sizes=LENGTHS, seed=1):
        super().__init__(shuffle=True, seed=seed)
        self.sizes = sizes

    def __len__(self):
        return len(self.sizes)

    def __getitem__(self, i):
        return int(i)

    def collater(self, samples):
        return {"id": samples} if samples else {}


def workers(number, update_freq, batch_size=8, sizes=LENGTHS):
    iterators = []
    for rank in range(number):
        dataset = Lengths(sizes)

        def draw(dataset, epoch):
            dataset.set_epoch(epoch)
            return dataset.batch_by_size(dataset.ordered_indices(), max_sentences=batch_size)

        iterators.append(
            UpdateBatchIterator(
                update_freq=lambda epoch: update_freq,
                order={"--batch-size": batch_size, "workers x --update-freq": number * update_freq},
                dataset=dataset,
                collate_fn=dataset.collater,
                batch_sampler=draw,
                num_shards=number,
                shard_id=rank,
            )
        )
    return iterators


def updates(iterators, number=None):
    """The next updates: for each worker the samples of its batches."""
    epochs = [GroupedIterator(each.next_epoch_itr(), each.update_freq(each.next_epoch_idx)) for each in iterators]
    taken = []
    while epochs[0].has_next() and len(taken) != number:
        taken.append([next(epoch) for epoch in epochs])
    return taken


def ids(update):
    return sorted(i for samples in update for sample in samples for i in sample.get("id", []))


def test_lengths_are_alike_in_a_batch_and_random_in_an_update_of_one_worker():
    iterators = workers(1, update_freq=4)
    found = updates(iterators)
    assert sorted(itertools.chain.from_iterable(map(ids, found))) == list(range(len(LENGTHS)))
    batches = [sample["id"] for ((*samples,),) in found for sample in samples]
    padded = sum(len(batch) * LENGTHS[batch].max() for batch in batches)
    in_order = np.sort(LENGTHS)
    least = sum(len(batch) * batch.max() for batch in np.split(in_order, range(8, len(in_order), 8)))
    assert padded < 1.1 * least
    assert np.median([LENGTHS[ids(update)].std() for update in found]) > 0.5 * LENGTHS.std()


@pytest.mark.parametrize("examples", [1003, 977, 8 * 9])
@pytest.mark.parametrize(("number", "update_freq"), [(4, 2), (2, 4), (1, 8)])
def test_an_epoch_that_is_not_full_goes_on_with_the_same_product(examples, number, update_freq):
    sizes = LENGTHS[:examples]
    whole = [ids(update) for update in updates(workers(8, 1, sizes=sizes))]
    first = workers(8, 1, sizes=sizes)
    done = updates(first, 1)
    iterators = workers(number, update_freq, sizes=sizes)
    for each in iterators:
        each.load_state_dict(first[0].state_dict())
    left = updates(iterators)
    assert [ids(update) for update in done + left] == whole
    for samples in left[-1]:  # fairseq would leave out a worker whose last batch is empty
        assert samples[-1] or not any(samples)


def test_the_end_of_an_epoch_is_the_beginning_of_the_next():
    first = workers(1, 4)
    updates(first)
    state = first[0].state_dict()
    assert (state["epoch"], state["iterations_in_epoch"], state["updates_in_epoch"]) == (2, 0, 0)
    (again,) = workers(1, 4)
    again.load_state_dict(state)
    assert list(map(ids, updates([again]))) == list(map(ids, updates(first)))


def test_more_workers_past_half_of_an_epoch(caplog):
    first = workers(1, 1)
    done = len(updates(first, 100))
    iterators = workers(2, 1)
    for each in iterators:
        each.load_state_dict(first[0].state_dict())
    per_epoch = iterators[0].updates_per_epoch
    assert len(updates(iterators)) == per_epoch - done * per_epoch // first[0].updates_per_epoch
    assert "workers x --update-freq 2, not 1): going on at the same share of epoch 1, after 50 of its 63" in caplog.text
