"""What all tasks share: how their batches reach fairseq's trainer."""

from fairseq.data.iterators import EpochBatchIterator
from fairseq.nan_detector import NanDetector
from fairseq.tasks import FairseqTask

from pixelgpt_fairseq.errors import UserError, exit_on_user_error
from pixelgpt_fairseq.tasks.early_stopping import early_stopping_state, restore_early_stopping


class RenderedTask(FairseqTask):
    """Reads patches, tokens or both, in batches that :meth:`make_batches` draws anew for every epoch.

    Attributes:
        dictionary: TokenDictionary, or None for pixels alone.
        shuffle_batches: whether fairseq shuffles the batches of an epoch; if not, their order is final.
        criterion_name: what ``--criterion`` must be.
    """

    dictionary = None
    shuffle_batches = True
    criterion_name = None

    @classmethod
    def reported_metrics(cls, cfg, subset):
        """Names of what validation on *subset* logs, for ``--best-checkpoint-metric``; *cfg* are the task's options."""
        raise NotImplementedError

    @classmethod
    def check_labels(cls, cfg, subset, option):
        """Check that *subset*, which *option* names, has the labels that the task needs: none."""

    @property
    def source_dictionary(self):
        """TokenDictionary, or None for pixels alone."""
        return self.dictionary

    @property
    def target_dictionary(self):
        """TokenDictionary, or None for pixels alone."""
        return self.dictionary

    def max_positions(self):
        """None: whatever is longer than the task's limits is cut; the model's are checked when it is built."""
        return None

    def make_batches(self, dataset, epoch, seed, num_shards, **limits):
        """The batches of an epoch, of all workers.

        Args:
            epoch: counted from 1.
            num_shards: number of workers.
            limits: ``max_tokens`` and ``max_sentences`` for the data set's ``batch_by_size``.

        Returns:
            Lists of indices.
        """
        raise NotImplementedError

    @exit_on_user_error
    def train_step(self, sample, model, criterion, optimizer, update_num, ignore_grad=False):
        """As every fairseq task; gradients that are not finite end the run with one line.

        To look at every loss would make the host wait for the GPU. But fairseq looks at the norm of an update's
        gradients, and where it is not finite, runs the update once more under its NanDetector, which cannot cope with
        models whose output has absent parts.

        Raises:
            UserError: in that second run.
        """
        model.connect_optimizer(optimizer)
        hooks = model.model._forward_hooks.values()
        if any(isinstance(getattr(hook, "__self__", None), NanDetector) for hook in hooks):
            raise UserError(
                f"update {update_num + 1}: the loss or its gradients are not finite: choose a lower --lr, a longer "
                "--warmup-updates or --clip-norm 1.0; with --fp16, try --bf16"
            )
        return super().train_step(sample, model, criterion, optimizer, update_num, ignore_grad)

    @exit_on_user_error
    def get_batch_iterator(
        self,
        dataset,
        max_tokens=None,
        max_sentences=None,
        seed=1,
        num_shards=1,
        shard_id=0,
        num_workers=0,
        epoch=1,
        data_buffer_size=0,
        skip_remainder_batch=False,
        **kwargs,
    ):
        """As :meth:`FairseqTask.get_batch_iterator`, of the batches of :meth:`make_batches`.

        ``--required-batch-size-multiple`` is not for here: the batches that it would cut off count as they are.

        Raises:
            UserError: if an example is longer than ``--max-tokens``.
        """
        # As fairseq's own: one iterator, with its workers, serves all epochs of a dataset.
        if dataset in self.dataset_to_epoch_iter:
            return self.dataset_to_epoch_iter[dataset]
        if max_tokens is not None and max_tokens < dataset.sizes.max():
            raise UserError(f"--max-tokens {max_tokens} is less than one example of {dataset.sizes.max()} positions")
        self.dataset_to_epoch_iter[dataset] = EpochBatchIterator(
            dataset=dataset,
            collate_fn=dataset.collater,
            batch_sampler=lambda dataset, epoch: self.make_batches(
                dataset, epoch, seed, num_shards, max_tokens=max_tokens, max_sentences=max_sentences
            ),
            seed=seed,
            num_shards=num_shards,
            shard_id=shard_id,
            num_workers=num_workers,
            epoch=epoch,
            buffer_size=data_buffer_size,
            skip_remainder_batch=skip_remainder_batch,
            disable_shuffling=not self.shuffle_batches,
            reuse_dataloader=True,
        )
        return self.dataset_to_epoch_iter[dataset]

    @exit_on_user_error
    def valid_step(self, sample, model, criterion):
        """As every fairseq task; a worker for which no batch is left has an empty one, which is no mistake."""
        if not sample:
            return 0, 0, criterion.empty_output()
        return super().valid_step(sample, model, criterion)

    def get_checkpoint_dict(self):
        """What fairseq is to keep in a checkpoint for resuming: what ``--patience`` has counted."""
        return {type(self).__name__: {"early_stopping": early_stopping_state()}}

    def set_checkpoint_dict(self, state):
        """Take over what :meth:`get_checkpoint_dict` gave, when a run is resumed."""
        restore_early_stopping(state["early_stopping"])
