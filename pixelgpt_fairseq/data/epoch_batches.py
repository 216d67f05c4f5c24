"""An epoch iterator that records its position in updates; fairseq's own counts the batches of one worker."""

import logging

from fairseq.data.iterators import CountingIterator, EpochBatchIterator

from pixelgpt_fairseq.data.lazy_batches import LazyBatches

logger = logging.getLogger(__name__)


class UpdateBatchIterator(EpochBatchIterator):
    """fairseq's iterator over the batches of an epoch, with its position in updates.

    An update consists of ``num_shards * update_freq`` consecutive batches, which fairseq distributes to the workers in
    turn. Its batches therefore depend only on the product, and a run that is resumed with other factors of the same
    product keeps its order.

    Args:
        update_freq: function from an epoch (counted from 1) to its ``--update-freq``.
        order: option -> value (plain data) of everything that the order of batches depends on. It is saved in
            checkpoints; :meth:`load_state_dict` resumes exactly only if it is unchanged.
        describe_update: function from the batches of an update (lists of indices) to a dictionary that every sample of
            the update carries as ``sample["update"]``; None if samples carry nothing. Needs ``disable_shuffling``.
        options: as of EpochBatchIterator.
    """

    def __init__(self, *, update_freq, order, describe_update=None, **options):
        super().__init__(**options)
        self.update_freq, self.order, self.describe_update = update_freq, order, describe_update

    @property
    def updates_per_epoch(self):
        """Updates of the current epoch."""
        return -(-len(self) // self.update_freq(self.epoch))

    def state_dict(self):
        """The position in updates, and everything that the order depends on, as plain data."""
        state = super().state_dict()
        update_freq = self.update_freq(state["epoch"])
        return {
            **state,
            "num_shards": self.num_shards,
            "update_freq": update_freq,
            "updates_in_epoch": state["iterations_in_epoch"] // update_freq,
            "updates_per_epoch": self.updates_per_epoch,
            "order": self.order,
        }

    def load_state_dict(self, state_dict):
        """Resume where a checkpoint was; with another order, at the same share of the epoch, and log that."""
        if self.epoch != state_dict["epoch"]:
            self.epoch, self._frozen_batches = state_dict["epoch"], None
        update_freq = self.update_freq(self.epoch)
        position = state_dict["iterations_in_epoch"]
        differences = _differences(state_dict.get("order", self.order), self.order)
        if position and differences:
            updates = state_dict["updates_in_epoch"] * self.updates_per_epoch // state_dict["updates_per_epoch"]
            position = updates * update_freq
        elif position and (state_dict["num_shards"], state_dict["update_freq"]) != (self.num_shards, update_freq):
            position = state_dict["updates_in_epoch"] * update_freq
        if differences:
            place = f"going on at the same share of epoch {self.epoch}" if position else f"beginning epoch {self.epoch}"
            logger.warning(
                f"the order of training is not that of the checkpoint ({'; '.join(differences)}): {place}, after "
                f"{position // update_freq:,} of its {self.updates_per_epoch:,} updates"
            )
        super().load_state_dict({**state_dict, "iterations_in_epoch": position})

    @property
    def frozen_batches(self):
        """The batches of all workers in the current epoch."""
        if self._frozen_batches is None:
            batches = self.batch_sampler(self.dataset, self.epoch)
            # fairseq would make a tuple of arrays, with a hundred bytes for each.
            self._frozen_batches = batches if isinstance(batches, LazyBatches) else tuple(batches)
        return self._frozen_batches

    def ordered_batches(self, epoch, fix_batches_to_gpus, shuffle):
        """The batches of this worker. If the last update has too few batches, its empty ones come first.

        fairseq discards the statistics of a worker's update if its last batch is empty, but not its gradients.
        """
        if isinstance(self.frozen_batches, LazyBatches) and not shuffle:
            return self.frozen_batches[self.shard_id :: self.num_shards]  # every update is full
        batches = super().ordered_batches(epoch, fix_batches_to_gpus, shuffle)
        if len(batches) and not len(batches[-1]):
            update_freq = self.update_freq(epoch)
            start = (len(batches) - 1) // update_freq * update_freq
            batches.insert(start, batches.pop())
        return batches

    def close(self):
        """Stop the data loader's processes and release the data set; the iterator cannot be used afterwards."""
        self._cur_epoch_itr = self._next_epoch_itr = self.dataloader = None
        self.epoch_batch_sampler = None  # a reference cycle with this iterator
        # Remaining references to this iterator keep neither data nor batches alive.
        self.dataset = self.collate_fn = self.batch_sampler = self.describe_update = self._frozen_batches = None

    def _get_iterator_for_epoch(self, epoch, shuffle, fix_batches_to_gpus=False, offset=0):
        samples = super()._get_iterator_for_epoch(epoch, shuffle, fix_batches_to_gpus, offset)
        if samples is None or self.describe_update is None:
            return samples
        described = self._described(samples, self.frozen_batches, self.update_freq(epoch))
        return CountingIterator(described, start=samples.n, total=len(samples))

    def _described(self, samples, batches, update_freq):
        size, last = self.num_shards * update_freq, None
        for position, sample in enumerate(samples, start=samples.n):
            update = position // update_freq
            if update != last:
                last, described = update, self.describe_update(batches[update * size : (update + 1) * size])
            yield {**sample, "update": described} if sample else sample


def _differences(theirs, ours):
    """What differs, for people: ``["--batch-size 2, not 4"]``, ours first."""
    names = [name for name in {**theirs, **ours} if theirs.get(name) != ours.get(name)]
    return [f"{name} {_text(ours.get(name))}, not {_text(theirs.get(name))}" for name in names]


def _text(value):
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
