# ruff: noqa: RUF009, UP006, UP035, UP045  (fairseq reads Optional[...], List[...] and II(...) off its dataclasses)
"""Base class of all tasks: batch iterators, training and validation steps, and what checkpoints record."""

import functools
from dataclasses import dataclass, field
from typing import List, Optional

from fairseq.data.iterators import EpochBatchIterator
from fairseq.dataclass import FairseqDataclass
from fairseq.nan_detector import NanDetector
from fairseq.tasks import FairseqTask
from omegaconf import II, OmegaConf

from pixelgpt_fairseq.checkpoints.architecture import take_architecture, trained_settings
from pixelgpt_fairseq.criterions.speed import batch_flops, log_speed
from pixelgpt_fairseq.data.epoch_batches import UpdateBatchIterator
from pixelgpt_fairseq.data.sizes import lengths_checksum
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.models.architectures import take_patch_size
from pixelgpt_fairseq.tasks.early_stopping import early_stopping_state, restore_early_stopping


@dataclass
class RenderedTaskConfig(FairseqDataclass):
    """Options of all tasks, and the options of other groups that they read."""

    continue_anyway: bool = field(
        default=False,
        metadata={
            "help": "go on with the run in --save-dir though other settings made it: data, seed, rate, batch, ..."
        },
    )
    seed: int = II("common.seed")
    train_subset: str = II("dataset.train_subset")
    finetune_from_model: Optional[str] = II("checkpoint.finetune_from_model")
    continue_once: Optional[str] = II("checkpoint.continue_once")
    restore_file: Optional[str] = II("checkpoint.restore_file")
    save_dir: Optional[str] = II("checkpoint.save_dir")
    checkpoint_suffix: str = II("checkpoint.checkpoint_suffix")
    update_freq: List[int] = II("optimization.update_freq")


class RenderedTask(FairseqTask):
    """Reads patches, tokens or both, in batches that are drawn anew for every epoch of training.

    Attributes:
        dictionary: TokenDictionary, or None for pixels alone.
        shuffle_batches: whether fairseq shuffles the batches of an epoch; if not, their order is final.
        criterion_name: what ``--criterion`` must be.
        strip_patches: the strip width W of a pair, where the positions of its text begin; None without pairs.
        resume_interval_updates: see :mod:`pixelgpt_fairseq.training.checkpoint_saving`.
        last_saved_update: number of updates after which this process last saved a checkpoint; None before.
    """

    dictionary = None
    shuffle_batches = True
    criterion_name = None
    strip_patches = None
    resume_interval_updates = 1
    last_saved_update = None
    _training = (None, None)  # the data set that is trained on, and its iterator
    _update = (None, None)  # number and modality of the update that is being made

    @classmethod
    def reported_metrics(cls, cfg, subset):
        """Names of the metrics that validation on *subset* logs, given the task's options *cfg*."""
        raise NotImplementedError

    @classmethod
    def modalities_of(cls, cfg):
        """The modalities that the task's options *cfg* select."""
        raise NotImplementedError

    @classmethod
    def check_labels(cls, cfg, subset, option):
        """Check that *subset*, the value of *option*, has the labels that the task needs (by default none)."""

    @functools.cached_property
    def trained_settings(self):
        """``data_settings`` of the checkpoint that training starts from; empty for random weights."""
        return trained_settings(self.cfg)

    def load_state_dict(self, state_dict):
        """Restore the task state of a checkpoint."""
        self.trained_settings = dict(state_dict.get("data_settings") or {})
        super().load_state_dict({name: value for name, value in state_dict.items() if name != "data_settings"})

    def build_model(self, cfg, from_checkpoint=False):
        """Build the model, with the architecture of the checkpoint that training starts from, if there is one."""
        if from_checkpoint:
            self.__dict__.setdefault("trained_settings", {})
        else:
            take_architecture(cfg, self.cfg)
        if getattr(self, "uses_patches", True):
            take_patch_size(cfg, getattr(self, "data_settings", None))
        model = super().build_model(cfg, from_checkpoint)
        model.checkpoint_settings = self.trained_settings
        if self.strip_patches is not None:
            model.data_settings["pair_patches"] = self.strip_patches
        self.state.merge_state_dict({"data_settings": model.data_settings})
        return model

    @property
    def source_dictionary(self):
        """TokenDictionary, or None for pixels alone."""
        return self.dictionary

    @property
    def target_dictionary(self):
        """TokenDictionary, or None for pixels alone."""
        return self.dictionary

    def max_positions(self):
        """None: examples are cut to the task's limits, and those are checked against the model's when it is built."""
        return None

    def training_batches(self, dataset, seed, num_shards, **limits):
        """How the training batches of an epoch are drawn: here of similar lengths, shuffled by fairseq.

        Args:
            dataset: with :class:`~pixelgpt_fairseq.data.by_length.BatchedByLength`, unless a task overrides this.
            num_shards: number of workers.
            limits: ``max_tokens`` and ``max_sentences`` for the data set's ``batch_by_size``.

        Returns:
            function from an epoch (counted from 1) to the batches of all workers, each a list of indices.
        """

        def draw(epoch):
            dataset.set_epoch(epoch)
            return dataset.batch_by_size(dataset.ordered_indices(), **limits)

        return draw

    def validation_batches(self, dataset, **limits):
        """Batches, each a list of indices, that contain every example exactly once; here the shortest first."""
        return dataset.batch_by_size(dataset.by_length(), **limits)

    def training_order(self):
        """The task's options that the order of training batches depends on: option -> value (plain data)."""
        return {}

    def describe_update(self, dataset):
        """Information about the update that each of its samples carries, see UpdateBatchIterator; None: nothing."""
        return None

    def update_freq(self, epoch):
        """The number of batches per worker in an update of *epoch*."""
        values = self._update_freqs()
        return values[min(epoch, len(values)) - 1]

    def _update_freqs(self):
        # A task that is set up in Python may lack fairseq's other option groups.
        values = OmegaConf.select(self.cfg, "update_freq", throw_on_resolution_failure=False)
        return list(values or [1])

    def train_step(self, sample, model, criterion, optimizer, update_num, ignore_grad=False):
        """FairseqTask.train_step that also counts operations and reports gradients that are not finite.

        Checking every loss would make the host wait for the GPU. fairseq checks the gradient norm of each update; if it
        is not finite, fairseq repeats the update under its NanDetector, which fails on models whose output has
        absent parts. So the repetition is reported here. The dummy batch that fairseq substitutes for a worker's empty
        batch contributes nothing.

        Raises:
            UserError: if the gradients of the update were not finite.
            AssertionError: if batches of two modalities meet in one update.
        """
        model.connect_optimizer(optimizer)
        hooks = model.model._forward_hooks.values()
        if any(isinstance(getattr(hook, "__self__", None), NanDetector) for hook in hooks):
            raise UserError(
                f"update {update_num + 1}: the loss or its gradients are not finite: choose a lower --lr, a longer "
                "--warmup-updates or --clip-norm 1.0; with --fp16, try --bf16"
            )
        if not ignore_grad:
            self._check_modality(sample["modality"], optimizer, update_num)
        loss, sample_size, logged = super().train_step(sample, model, criterion, optimizer, update_num, ignore_grad)
        logged = {**logged, "flops": batch_flops(model, sample)}
        if ignore_grad:
            sample_size, logged = sample_size * 0, {name: value * 0 for name, value in logged.items()}
        return loss, sample_size, logged

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
        disable_iterator_cache=False,
        skip_remainder_batch=False,
        update_epoch_batch_itr=None,
        training=None,
        **kwargs,
    ):
        """As :meth:`FairseqTask.get_batch_iterator`, over the batches that this task draws.

        ``--required-batch-size-multiple`` is ignored.

        Args:
            training: draw training batches; otherwise every example appears once. None: what the calling code of
                fairseq expects; for other callers, whether *dataset* is the training split.

        Raises:
            UserError: if an example is longer than ``--max-tokens``.
        """
        if training is None:
            # All callers within fairseq pass max_positions; only the trainer's training loop passes
            # update_epoch_batch_itr.
            validating = "max_positions" in kwargs and update_epoch_batch_itr is None
            training = not validating and dataset is self.datasets.get(self.cfg.train_subset)
        # As in fairseq, one iterator with its data-loader workers serves all epochs of a data set.
        cached = not disable_iterator_cache and not update_epoch_batch_itr
        known, iterator = self._training if training else (dataset, self.dataset_to_epoch_iter.get(dataset))
        if cached and known is dataset and iterator is not None:
            return iterator
        longest = max(part.max() for part in dataset.size_parts())
        if max_tokens is not None and max_tokens < longest:
            raise UserError(f"--max-tokens {max_tokens} is less than one example of {longest} positions")
        limits = {"max_tokens": max_tokens, "max_sentences": max_sentences}
        options = {
            "dataset": dataset,
            "collate_fn": dataset.collater,
            "seed": seed,
            "num_shards": num_shards,
            "shard_id": shard_id,
            "num_workers": num_workers,
            "epoch": epoch,
            "buffer_size": data_buffer_size,
            "reuse_dataloader": cached or training,
            "persistent_workers": cached or training,
        }
        if not training:
            batches = self.validation_batches(dataset, **limits)
            iterator = EpochBatchIterator(batch_sampler=batches, disable_shuffling=True, **options)
            if cached:
                self.dataset_to_epoch_iter[dataset] = iterator
            return iterator
        if self._training[1] is not None:
            self._training[1].close()
        draw = self.training_batches(dataset, seed, num_shards, **limits)
        iterator = UpdateBatchIterator(
            batch_sampler=lambda dataset, epoch: draw(epoch),
            update_freq=self.update_freq,
            order={
                "--seed": seed,
                "--batch-size": max_sentences,
                "--max-tokens": max_tokens,
                "workers x --update-freq": [num_shards * each for each in self._update_freqs()],
                **self.training_order(),
                "checksum of the data's lengths": lengths_checksum(dataset.size_parts()),
            },
            describe_update=self.describe_update(dataset),
            # If the task fixes the order of batches, every update is complete.
            skip_remainder_batch=skip_remainder_batch and self.shuffle_batches,
            disable_shuffling=not self.shuffle_batches,
            **options,
        )
        self._training = dataset, iterator
        return iterator

    def valid_step(self, sample, model, criterion):
        """FairseqTask.valid_step that accepts the empty batch of a worker for which no batch is left."""
        if not sample:
            return 0, 0, criterion.empty_output()
        return super().valid_step(sample, model, criterion)

    def get_checkpoint_dict(self):
        """State that fairseq saves in checkpoints: the early-stopping count of ``--patience``."""
        return {type(self).__name__: {"early_stopping": early_stopping_state()}}

    def set_checkpoint_dict(self, state):
        """Restore the result of :meth:`get_checkpoint_dict` when a run is resumed."""
        restore_early_stopping(state["early_stopping"])

    def _check_modality(self, modality, optimizer, update_num):
        number, found = self._update
        # With loss scaling, an update whose gradients overflow is skipped, and the next one gets its number.
        if number == update_num and found != modality and getattr(optimizer, "scaler", None) is None:
            raise AssertionError(f"update {update_num + 1} is of two modalities, {found} and {modality}")
        self._update = update_num, modality

    def reduce_metrics(self, logging_outputs, criterion):
        """Log fairseq's own metrics and, in training, the speed of each GPU."""
        super().reduce_metrics(logging_outputs, criterion)
        if criterion.training:
            log_speed(logging_outputs)
