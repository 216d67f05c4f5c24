"""The loss of translations is that of their targets alone."""

import pytest
import torch
import torch.nn.functional as F
from naive import VOCABULARY, small_model

from pixelgpt_fairseq.criterions.target_token_loss import TargetTokenLoss, TargetTokenLossConfig
from pixelgpt_fairseq.data.batches import collate

SOURCES, TARGETS = [5, 2, 7], [4, 6, 3]
WIDTH = 12


def batch(modality):
    generator = torch.Generator().manual_seed(0)
    rows = []
    for number, (source, target) in enumerate(zip(SOURCES, TARGETS, strict=True)):
        length = target + (source if modality == "text" else 0)
        row = {"id": number, "modality": modality}
        row["tokens"] = torch.randint(VOCABULARY, (length,), generator=generator)
        if modality == "pair":
            row["patches"] = torch.randint(256, (source, 256), dtype=torch.uint8, generator=generator)
        rows.append(row)
    sources = SOURCES if modality == "text" else [0] * len(SOURCES)
    return rows, {**collate(rows, pad=0, strip_patches=WIDTH), "source_tokens": torch.tensor(sources)}


def criterion():
    return TargetTokenLoss(TargetTokenLossConfig(), task=None)


@pytest.mark.parametrize("modality", ["pair", "text"])
def test_only_the_tokens_of_targets_count(modality):
    model = small_model()
    rows, sample = batch(modality)
    loss, targets, logged = criterion()(model, sample)
    expected = 0
    for row, source in zip(rows, sample["source_tokens"].tolist(), strict=True):
        given = {"patches": row["patches"][None], "strip_patches": WIDTH} if modality == "pair" else {}
        logits = model(tokens=row["tokens"][None], **given).token_logits[0]
        expected += F.cross_entropy(logits[source:-1], row["tokens"][source + 1 :], reduction="sum")
    assert targets == sum(TARGETS) - len(TARGETS)  # bos is given
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-4)
    assert logged["loss"] == pytest.approx(float(loss.detach()))


@pytest.mark.parametrize("modality", ["pair", "text"])
def test_every_parameter_has_a_gradient(modality):
    model = small_model().train()
    criterion()(model, batch(modality)[1])[0].backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert model.lm_pixel_head.weight.grad.abs().max() == 0  # patches are read, not predicted
    if modality == "pair":
        assert model.model.embed_patches["patch_embeddings"].projection.weight.grad.abs().max() > 0


def test_no_examples_log_what_examples_log():
    ours, theirs = criterion().empty_output(), criterion()(small_model(), batch("text")[1])[2]
    assert list(ours) == list(theirs)
    assert {name: value.dtype for name, value in ours.items()} == {name: value.dtype for name, value in theirs.items()}
    assert not any(ours.values())
