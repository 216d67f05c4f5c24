"""Nothing in a micro-batch makes the host wait for the device: what it must know, the collater has told it."""

from types import SimpleNamespace

import pytest
import torch
from naive import VOCABULARY, small_model
from torch.utils._python_dispatch import TorchDispatchMode

from pixelgpt_fairseq.criterions.patch_token_loss import PatchTokenLoss, PatchTokenLossConfig
from pixelgpt_fairseq.criterions.rendered_classification import (
    RenderedClassificationLoss,
    RenderedClassificationLossConfig,
)
from pixelgpt_fairseq.data.batches import collate
from pixelgpt_fairseq.models.packing import few_widths

# Operations whose result, or its shape, the host reads off the device.
READS = {"_local_scalar_dense", "nonzero", "bincount", "masked_select", "_unique2", "unique_consecutive", "equal"}


class DeviceReads(TorchDispatchMode):
    """Notes operations for which a host waits for its device."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.name().removeprefix("aten::").partition(".")[0]
        masks = [index for index in args[1] if index is not None] if name in ("index", "index_put") else []
        if name in READS or any(index.dtype in (torch.bool, torch.uint8) for index in masks):
            self.names.append(name)
        return function(*args, **(kwargs or {}))


def samples(modality, lengths, label=None):
    generator = torch.Generator().manual_seed(0)
    for i, length in enumerate(lengths):
        sample = {"id": i, "modality": modality}
        if modality != "text":
            sample["patches"] = torch.randint(256, (length, 256), dtype=torch.uint8, generator=generator)
        if modality != "pixel":
            sample["tokens"] = torch.randint(VOCABULARY, (length + i % 2,), generator=generator)
        yield sample if label is None else {**sample, "label": label}


def criterion_for(label):
    if label is None:
        return PatchTokenLoss(PatchTokenLossConfig(), task=None)
    task = SimpleNamespace(num_labels=3, regression=isinstance(label, float), metrics=("accuracy",), languages=())
    return RenderedClassificationLoss(RenderedClassificationLossConfig(), task)


@pytest.mark.parametrize("rounds_widths", [False, True], ids=["exact widths", "rounded widths"])
@pytest.mark.parametrize("label", [None, 2, 0.5], ids=["pretraining", "classification", "regression"])
@pytest.mark.parametrize("modality", ["pixel", "text", "pair"])
def test_no_number_is_read_off_the_device(modality, label, rounds_widths):
    model = small_model(num_labels=None if label is None else 1 if isinstance(label, float) else 3).train()
    model.rounds_widths = rounds_widths
    batch = collate(list(samples(modality, [9, 4, 6], label)), pad=0, strip_patches=20)
    criterion = criterion_for(label)
    with DeviceReads() as reads:
        loss, _, _ = criterion(model, batch)
        loss.backward()
    assert reads.names == []


@pytest.mark.parametrize("num_labels", [None, 3])
@pytest.mark.parametrize("modality", ["pixel", "text", "pair"])
def test_rounded_widths_and_lengths_of_the_collater_change_no_prediction(modality, num_labels):
    model = small_model(num_labels=num_labels).double().train()
    batch = collate(list(samples(modality, [9, 4, 6])), pad=0, strip_patches=20)["net_input"]
    assert batch["longest_row"] == (18 if modality == "pair" else 9)

    def run(rounds_widths, **inputs):
        model.rounds_widths = rounds_widths
        model.zero_grad()
        parts = [part for part in model(**inputs) if part is not None]
        sum(part.square().sum() for part in parts).backward()
        return parts + [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]

    expected = run(False, **{name: value for name, value in batch.items() if name != "longest_row"})
    for rounds_widths in (False, True):
        for ours, theirs in zip(run(rounds_widths, **batch), expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


def test_rounded_widths_are_few_and_cost_little():
    widths = [few_widths(width) for width in range(1, 1025)]
    assert len(set(widths)) == 28
    assert all(rounded % 8 == 0 and width <= rounded < width + 64 for width, rounded in enumerate(widths, start=1))
    assert all(rounded <= 1.25 * width for width, rounded in enumerate(widths, start=1) if width > 32)
    assert few_widths(1024) == 1024
