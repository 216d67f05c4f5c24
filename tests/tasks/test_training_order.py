"""In which batches and updates a run trains, and where a run that is resumed goes on."""

import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fairseq.data.iterators import GroupedIterator
from fairseq_runs import train, validate
from gradients import gradients
from omegaconf import OmegaConf
from toy_corpus import TOY_TRAINING

from pixelgpt_fairseq.criterions.patch_token_loss import PatchTokenLoss, PatchTokenLossConfig
from pixelgpt_fairseq.models.architectures import PixelGPTConfig
from pixelgpt_fairseq.models.pixelgpt import PixelGPTModel
from pixelgpt_fairseq.tasks.rendered_pretraining import RenderedPretrainingConfig, RenderedPretrainingTask

ALL = "text,pixel,pair"


def setup_task(data, update_freq=1, **options):
    cfg = OmegaConf.structured(RenderedPretrainingConfig)
    given = {"tokens_per_sample": 64, "seed": 1, "train_subset": "train", "modalities": ALL}
    task = RenderedPretrainingTask.setup_task(
        OmegaConf.merge(cfg, {"data": str(data), **given, "update_freq": [update_freq], **options})
    )
    task.load_dataset("train")
    return task


def workers(data, number, update_freq=1, max_sentences=2, max_tokens=None, seed=1, **options):
    """An iterator for each worker of a run, as the trainer gets it."""
    tasks = [setup_task(data, update_freq, **options) for _ in range(number)]
    limits = {"max_sentences": max_sentences, "max_tokens": max_tokens, "seed": seed}
    return [
        task.get_batch_iterator(
            task.dataset("train"), **limits, num_shards=number, shard_id=rank, max_positions=64,
            update_epoch_batch_itr=False,
        )
        for rank, task in enumerate(tasks)
    ]  # fmt: skip


def updates(iterators, number=None):
    """The next updates of an epoch: lists of the samples of all workers."""
    epochs = [
        GroupedIterator(iterator.next_epoch_itr(), iterator.update_freq(iterator.next_epoch_idx))
        for iterator in iterators
    ]
    taken = []
    while epochs[0].has_next() and len(taken) != number:
        taken.append([sample for epoch in epochs for sample in next(epoch)])
    return taken


def ids(update):
    return sorted(int(i) for sample in update for i in sample["id"])


def modalities(update):
    return {sample["modality"] for sample in update}


# The objective


@pytest.mark.parametrize("limits", [{"max_sentences": 7}, {"max_sentences": None, "max_tokens": 150}])
def test_workers_and_accumulated_batches_add_up_to_the_single_large_batch(toy_data, limits):
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1}
    config = PixelGPTConfig(**sizes, intermediate_size=48, initializer_range=0.2)
    model = PixelGPTModel(config, vocab_size=400)
    criterion = PatchTokenLoss(PatchTokenLossConfig(patch_loss_weight=10.0, token_loss_weight=0.5), task=None)
    iterators = workers(toy_data, 2, update_freq=3, **limits)
    dataset = iterators[0].dataset
    seen = set()
    for update in [*updates(iterators), *updates(iterators)]:
        (modality,) = modalities(update)
        uneven = len({sample["nsentences"] for sample in update}) > 1
        if (modality, uneven) in seen:
            continue
        seen.add((modality, uneven))
        assert len(update) == 6
        large = dataset.collater([dataset[i] for i in ids(update)])
        expected = gradients(model, criterion, [large])
        for name, gradient in gradients(model, criterion, update).items():
            torch.testing.assert_close(gradient, expected[name], rtol=1e-3, atol=1e-5)
    assert {("pair", True), ("pixel", True), ("text", True)} <= seen or limits.get("max_tokens")
    assert {modality for modality, _ in seen} == {"pixel", "text", "pair"}


# The order


def test_every_update_is_of_one_modality_on_all_workers(toy_data):
    found = [modalities(update) for update in updates(workers(toy_data, 2, update_freq=2))]
    assert {len(names) for names in found} == {1}
    assert set.union(*found) == {"pixel", "text", "pair"}


def test_batches_of_two_modalities_never_meet_in_an_update(toy_data, monkeypatch):
    def batch(self, position):
        return [len(self.sizes) - 1] if position % 2 else [0]  # a pair, or a text

    monkeypatch.setattr("pixelgpt_fairseq.data.shuffling.EndlessBatches.__getitem__", batch)
    with pytest.raises(AssertionError, match=r"an update of several modalities \(text, pair\)"):
        updates(workers(toy_data, 2))


@pytest.mark.parametrize("optimizer", [object(), SimpleNamespace(scaler=None)], ids=["fp32", "bf16"])
def test_a_task_that_is_given_two_modalities_for_an_update_says_so(toy_data, optimizer):
    task = setup_task(toy_data)
    task._check_modality("text", optimizer, 7)
    task._check_modality("pixel", optimizer, 8)
    with pytest.raises(AssertionError, match="update 9 is of two modalities, pixel and pair"):
        task._check_modality("pair", optimizer, 8)
    # fp16: an update whose gradients overflow is left out, and the next has its number.
    task._check_modality("text", SimpleNamespace(scaler=object()), 8)


def test_lengths_are_alike_in_a_batch_and_random_in_an_update(toy_data):
    iterators = workers(toy_data, 2, update_freq=4, sample_break_mode="eos")
    sizes = iterators[0].dataset.sizes
    overall = {}
    spreads, within = [], []
    for indices in iterators[0].dataset.stream_indices():
        overall[iterators[0].dataset[int(indices[0])]["modality"]] = sizes[indices].std()
    for update in updates(iterators):
        (modality,) = modalities(update)
        spreads.append(sizes[ids(update)].std() / overall[modality])
        within += [sizes[sample["id"].numpy()].std() / overall[modality] for sample in update]
    assert np.median(spreads) > 0.6
    assert np.median(within) < 0.05


# Validation


def test_validation_on_the_training_split_has_every_example_once(toy_data):
    task = setup_task(toy_data)
    dataset = task.dataset("train")
    trained = task.get_batch_iterator(dataset, max_sentences=2, max_positions=64, update_epoch_batch_itr=False)
    # As fairseq-validate, and as the trainer of a run that validates on what it trains on.
    validated = task.get_batch_iterator(dataset, max_sentences=2, max_positions=64)
    found = [int(i) for sample in validated.next_epoch_itr(shuffle=False) for i in sample["id"]]
    assert sorted(found) == list(range(len(dataset)))
    assert len(list(trained.next_epoch_itr())) > 3
    assert task.get_batch_iterator(dataset, max_sentences=2, max_positions=64) is validated


def test_fairseq_validate_measures_the_training_split(toy_data, checkpoint, monkeypatch):
    seen = []
    step = RenderedPretrainingTask.valid_step

    def valid_step(self, sample, *rest):
        seen.extend(sample["id"].tolist())
        return step(self, sample, *rest)

    monkeypatch.setattr(RenderedPretrainingTask, "valid_step", valid_step)
    options = "--user-dir pixelgpt_fairseq --task rendered_pretraining --cpu --batch-size 16 --valid-subset train"
    validate(toy_data, *options.split(), "--path", checkpoint)
    assert sorted(seen) == list(range(len(setup_task(toy_data).dataset("train"))))


# Where a resumed run goes on


def resumed(state, *run, **options):
    """The updates that are left in the epoch of *state*."""
    iterators = workers(*run, **options)
    for iterator in iterators:
        iterator.load_state_dict(state)
    return updates(iterators)


@pytest.mark.parametrize("epoch", [1, 2])
@pytest.mark.parametrize(("number", "update_freq", "buffer"), [(2, 2, 1 << 20), (4, 1, 1), (1, 4, 1)])
def test_the_same_product_of_workers_and_update_frequency_goes_on_exactly(
    toy_data, caplog, monkeypatch, epoch, number, update_freq, buffer
):
    monkeypatch.setattr("pixelgpt_fairseq.data.shuffling.SEGMENT_POSITIONS", 256)
    first = workers(toy_data, 2, update_freq=2, shuffle_buffer=buffer)
    assert all((segments.number == 1) == (buffer > 1) for segments in first[0].dataset.segments)
    for _ in range(epoch - 1):
        updates(first)
    done = updates(first, 5)
    state = first[0].state_dict()
    assert (state["epoch"], state["updates_in_epoch"]) == (epoch, 5)
    left = resumed(state, toy_data, number, update_freq=update_freq, shuffle_buffer=buffer)
    whole = workers(toy_data, 2, update_freq=2, shuffle_buffer=buffer)
    for _ in range(epoch - 1):
        updates(whole)
    assert [ids(update) for update in done + left] == [ids(update) for update in updates(whole)]
    assert {len(modalities(update)) for update in left} == {1}
    assert "the order of training is not" not in caplog.text


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"update_freq": 3}, "workers x --update-freq 6, not 2"),
        ({"update_freq": 1, "max_sentences": 3}, "--batch-size 3, not 2"),
        ({"update_freq": 1, "max_tokens": 300}, "--max-tokens 300, not None"),
        ({"update_freq": 1, "seed": 3}, "--seed 3, not 1"),
        ({"update_freq": 1, "modality_weights": "1,1,5"}, "--modality-weights 1.0,1.0,5.0, not 1.0,1.0,1.0"),
        ({"update_freq": 1, "modalities": "pixel,text"}, "--modalities pixel,text, not text,pixel,pair"),
        ({"update_freq": 1, "shuffle_buffer": 5}, "--shuffle-buffer 5, not 134217728"),
        ({"update_freq": 1, "pair_tokens": 20}, "checksum of the data's lengths"),
    ],
)
def test_another_order_goes_on_at_the_same_share_of_the_epoch_and_says_so(toy_data, caplog, changed, named):
    first = workers(toy_data, 2)
    total = len(updates(first))
    done = len(updates(first, total // 2))
    state = first[0].state_dict()
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        iterators = workers(toy_data, 2, **changed)
        iterators[0].load_state_dict(state)
    (line,) = [record.getMessage() for record in caplog.records if "order of training" in record.getMessage()]
    assert named in line
    per_epoch = iterators[0].updates_per_epoch
    assert f"at the same share of epoch 2, after {done * per_epoch // state['updates_per_epoch']} of its" in line
    iterators[1].load_state_dict(state)
    left = updates(iterators)
    assert abs(len(left) / per_epoch - 0.5) < 0.1
    assert {len(modalities(update)) for update in left} == {1}


def test_a_run_resumed_with_another_update_frequency_trains_on(toy_data, tmp_path):
    options = [*TOY_TRAINING, "--modalities", ALL, "--disable-validation", "--batch-size", "8", "--save-dir", tmp_path]
    train(toy_data, *options, "--max-update", "5", "--update-freq", "1")
    run = train(toy_data, *options, "--max-update", "9", "--update-freq", "2", "--continue-anyway")
    assert "workers x --update-freq 2, not 1" in run.log
    assert len(run.losses()) == 4
