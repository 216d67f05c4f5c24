import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fairseq.logging import metrics
from shared_fixtures import shared

from pixelgpt_fairseq.criterions.patch_token_loss import (
    PatchTokenLoss,
    PatchTokenLossConfig,
    next_patch_loss,
    next_token_loss,
)
from pixelgpt_fairseq.data.patches import patchify
from pixelgpt_fairseq.models.pixelgpt import PixelGPTConfig, PixelGPTModel
from pixelgpt_fairseq.models.released_checkpoint import load_released

VOCABULARY = 50


@pytest.fixture
def model():
    torch.manual_seed(0)
    config = PixelGPTConfig(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=48,
        max_position_embeddings=128,
        initializer_range=0.2,
    )
    return PixelGPTModel(config, vocab_size=VOCABULARY)


def batch(modality, lengths, seed=0):
    random = torch.Generator().manual_seed(seed)
    longest = max(lengths)
    mask = torch.arange(longest) < torch.tensor(lengths)[:, None]
    inputs = {}
    if modality != "text":
        inputs["patches"] = torch.randint(256, (len(lengths), longest, 256), generator=random, dtype=torch.uint8)
        inputs["patch_mask"] = mask
    if modality != "pixel":
        inputs["tokens"] = torch.randint(VOCABULARY, (len(lengths), longest), generator=random)
        inputs["token_mask"] = mask
    if modality == "pair":
        inputs["strip_patches"] = 40
    return {"modality": modality, "nsentences": len(lengths), "ntokens": int(mask.sum()), "net_input": inputs}


def rows(sample, chosen):
    inputs = {k: v[chosen] if torch.is_tensor(v) else v for k, v in sample["net_input"].items()}
    return {**sample, "nsentences": len(chosen), "net_input": inputs}


def criterion(**options):
    return PatchTokenLoss(PatchTokenLossConfig(**options), task=None)


def gradients(model, criterion, samples):
    model.zero_grad()
    total = 0
    for sample in samples:
        loss, sample_size, _ = criterion(model, sample)
        loss.backward()
        total += float(sample_size)
    return {name: p.grad / total for name, p in model.named_parameters()}


@pytest.mark.parametrize("modality", ["pixel", "text", "pair"])
def test_parts_of_a_batch_add_up_to_the_batch(model, modality):
    whole = batch(modality, [12, 5, 9, 3])
    expected = gradients(model, criterion(), [whole])
    parts = gradients(model, criterion(), [rows(whole, [0, 1, 2]), rows(whole, [3])])
    for name, gradient in expected.items():
        torch.testing.assert_close(parts[name], gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("modality", ["pixel", "text"])
def test_padding_is_no_target_and_the_loss_is_the_mean_over_targets(model, modality):
    sample = batch(modality, [12, 5])
    loss, sample_size, _ = criterion()(model, sample)
    assert sample_size == 11 + 4
    alone = []
    for row, length in enumerate([12, 5]):
        one = rows(sample, [row])
        one["net_input"] = {k: v[:, :length] for k, v in one["net_input"].items() if not k.endswith("mask")}
        alone.append(criterion()(model, one)[0])
    torch.testing.assert_close(loss, sum(alone))


def test_the_losses_of_a_pair_are_two_means_added(model):
    sample = rows(batch("pair", [12]), [0])
    loss, sample_size, logged = criterion()(model, sample)
    expected = sum(logged[f"pair_{name}_sum"] / logged[f"pair_{name}_targets"] for name in ("patch", "token"))
    torch.testing.assert_close((loss / sample_size).double(), expected, rtol=1e-5, atol=0)


def test_weights_scale_what_is_trained_but_not_what_is_reported(model):
    sample = batch("pair", [6, 4])
    loss, _, logged = criterion()(model, sample)
    weighted, _, weighted_logged = criterion(patch_loss_weight=0.0, token_loss_weight=2.0)(model, sample)
    token_only = sum(
        (sums / targets)
        for sums, targets in zip(
            *next_token_loss(model(**sample["net_input"]).token_logits, *list(sample["net_input"].values())[2:4]),
            strict=True,
        )
    )
    torch.testing.assert_close(weighted, 2 * token_only)
    assert weighted != loss
    assert weighted_logged == logged


def test_targets_are_normalised_with_the_unbiased_variance():
    patches = torch.randint(256, (1, 2, 256), dtype=torch.uint8)
    target = (patches[0, 1].double() / 255).repeat_interleave(3)
    target = (target - target.mean()) / (target.var(unbiased=True) + 1e-6).sqrt()
    predictions = torch.randn(1, 2, 768)
    sums, targets = next_patch_loss(predictions, patches)
    assert targets.tolist() == [1]
    torch.testing.assert_close(sums[0], F.mse_loss(predictions[0, 0], target.float()))
    raw, _ = next_patch_loss(predictions, patches, normalise=False)
    torch.testing.assert_close(raw[0], F.mse_loss(predictions[0, 0], (patches[0, 1] / 255).repeat_interleave(3)))


def test_all_modalities_log_the_same_keys_and_types(model):
    logs = [criterion()(model, batch(modality, [4, 3]))[2] for modality in ("pixel", "text", "pair")]
    for log in logs:
        assert list(log) == list(logs[0])
        assert {value.dtype for value in log.values()} == {torch.float64}


def test_reported_losses_are_means_over_all_batches_for_each_modality(model):
    logs = [
        criterion()(model, batch(m, lengths))[2] for m, lengths in (("pixel", [9]), ("pixel", [3, 2]), ("text", [5]))
    ]
    summed = {key: sum(log[key] for log in logs) for key in logs[0]}
    with metrics.aggregate() as aggregate:
        PatchTokenLoss.reduce_metrics([summed])
    values = aggregate.get_smoothed_values()
    patch = float((logs[0]["pixel_patch_sum"] + logs[1]["pixel_patch_sum"]) / (8 + 2 + 1))
    token = float(logs[2]["text_token_sum"] / 4)
    assert float(values["pixel_patch_loss"]) == pytest.approx(patch, abs=1e-4)
    assert float(values["text_token_loss"]) == pytest.approx(token, abs=1e-4)
    assert values["text_ppl"] == pytest.approx(np.exp(token), rel=1e-3)
    assert values["loss"] == pytest.approx((patch + token) / 2, abs=1e-4)
    assert "pair_patch_loss" not in values


def test_losses_equal_the_published_codes():
    fixture = np.load(shared("reference/model/causal_lm_io.npz"))
    model = load_released(shared("reference/model/causal_lm"))
    patches = patchify(torch.from_numpy(fixture["pixels"]))
    patch_mask, token_mask = (torch.from_numpy(fixture[name]).bool() for name in ("patch_mask", "token_mask"))
    tokens = torch.from_numpy(fixture["input_ids"])
    with torch.no_grad():
        sums, targets = next_patch_loss(
            model(patches=patches, patch_mask=patch_mask).patch_predictions, patches, patch_mask
        )
        assert float(sums.sum() / targets.sum()) == pytest.approx(float(fixture["loss_pixel"]), abs=1e-5)
        sums, targets = next_token_loss(model(tokens=tokens, token_mask=token_mask).token_logits, tokens, token_mask)
        assert float(sums.sum() / targets.sum()) == pytest.approx(float(fixture["loss_token"]), abs=1e-5)
