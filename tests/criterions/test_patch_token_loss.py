import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fairseq.logging import metrics
from gradients import gradients
from shared_fixtures import shared

from pixelgpt_fairseq.checkpoints.released import load_released
from pixelgpt_fairseq.criterions.patch_token_loss import (
    PatchTokenLoss,
    PatchTokenLossConfig,
    next_patch_loss,
    next_token_loss,
)
from pixelgpt_fairseq.data.patches import PATCH_LOSSES, patchify
from pixelgpt_fairseq.models.architectures import PixelGPTConfig
from pixelgpt_fairseq.models.pixelgpt import PixelGPTModel

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
        inputs["strip_patches"] = 60
    return {"modality": modality, "nsentences": len(lengths), "ntokens": int(mask.sum()), "net_input": inputs}


def rows(sample, chosen):
    inputs = {k: v[chosen] if torch.is_tensor(v) else v for k, v in sample["net_input"].items()}
    return {**sample, "nsentences": len(chosen), "net_input": inputs}


def criterion(**options):
    return PatchTokenLoss(PatchTokenLossConfig(**options), task=None)


def of_update(*samples):
    """Batches of pairs as an update: each carries the numbers of targets of all of them."""
    targets = {
        loss: sum(int(sample["net_input"][f"{loss}_mask"][:, 1:].sum()) for sample in samples)
        for loss in ("patch", "token")
    }
    return [{**sample, "update": {"batches": len(samples), "targets": targets}} for sample in samples]


@pytest.mark.parametrize("weights", [{}, {"patch_loss_weight": 10.0, "token_loss_weight": 0.5}])
@pytest.mark.parametrize("modality", ["pixel", "text", "pair"])
def test_parts_of_a_batch_add_up_to_the_batch(model, modality, weights):
    whole = batch(modality, [12, 50, 9, 3, 3])  # of very different lengths, in parts of very different sizes
    parts = [rows(whole, [0]), rows(whole, [1, 2, 3]), rows(whole, [4])]
    expected = gradients(model, criterion(**weights), [whole])
    found = gradients(model, criterion(**weights), of_update(*parts) if modality == "pair" else parts)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6)


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


@pytest.mark.parametrize("weights", [(1.0, 1.0), (10.0, 0.5)])
def test_the_losses_of_pairs_are_two_means_over_all_targets_added(model, weights):
    whole = batch("pair", [50, 5])
    patch, token = weights
    loss, sample_size, logged = criterion(patch_loss_weight=patch, token_loss_weight=token)(model, whole)
    assert logged["pair_token_targets"] == 49 + 4
    means = {name: logged[f"pair_{name}_sum"] / logged[f"pair_{name}_targets"] for name in ("patch", "token")}
    expected = patch * means["patch"] + token * means["token"]
    torch.testing.assert_close((loss / sample_size).double(), expected, rtol=1e-5, atol=0)
    # A token of the short pair has the same part in the loss as one of the long pair.
    logits = model(**whole["net_input"]).token_logits.detach().requires_grad_()
    sums, targets = next_token_loss(logits, whole["net_input"]["tokens"], whole["net_input"]["token_mask"])
    torch.testing.assert_close(means["token"], (sums.sum() / targets.sum()).detach().double(), rtol=1e-5, atol=0)


def test_weights_scale_what_is_trained_and_the_loss_that_chooses_but_not_each_loss(model):
    sample = batch("pair", [6, 4])
    loss, _, logged = criterion()(model, sample)
    weighted, _, weighted_logged = criterion(patch_loss_weight=0.0, token_loss_weight=2.0)(model, sample)
    token = logged["pair_token_sum"] / logged["pair_token_targets"]
    torch.testing.assert_close(weighted.double(), 2 * token, rtol=1e-5, atol=0)
    assert weighted != loss
    values, weighted_values = reported(logged), reported(weighted_logged)
    for name in ("pair_patch_loss", "pair_token_loss", "pair_ppl"):
        assert values[name] == weighted_values[name]
    assert values["loss"] == pytest.approx(float(loss.detach()), abs=1e-3)
    assert weighted_values["loss"] == pytest.approx(float(weighted.detach()), abs=1e-3)


def reported(*logs):
    """What fairseq prints of logging outputs."""
    with metrics.aggregate() as aggregate:
        PatchTokenLoss.reduce_metrics(logs)
    return aggregate.get_smoothed_values()


def test_targets_are_normalized_with_the_unbiased_variance():
    patches = torch.randint(256, (1, 2, 256), dtype=torch.uint8)
    target = (patches[0, 1].double() / 255).repeat_interleave(3)
    target = (target - target.mean()) / (target.var(unbiased=True) + 1e-6).sqrt()
    predictions = torch.randn(1, 2, 768)
    sums, targets = next_patch_loss(predictions, patches)
    assert targets.tolist() == [1]
    torch.testing.assert_close(sums[0], F.mse_loss(predictions[0, 0], target.float()))
    raw, _ = next_patch_loss(predictions, patches, patch_loss="mse")
    torch.testing.assert_close(raw[0], F.mse_loss(predictions[0, 0], (patches[0, 1] / 255).repeat_interleave(3)))


def test_binary_targets_are_the_white_pixels_of_each_channel():
    patches = torch.randint(256, (1, 2, 256), dtype=torch.uint8)
    patches[0, 1, :2] = torch.tensor([127, 128])
    white = (patches[0, 1] > 127).float().repeat_interleave(3)
    logits = torch.randn(1, 2, 768)
    (total,), targets = next_patch_loss(logits, patches, patch_loss="bce")
    assert white[:6].tolist() == [0, 0, 0, 1, 1, 1]
    assert targets.tolist() == [1]
    chances = logits[0, 0].double().sigmoid()
    expected = -(white * chances.log() + (1 - white) * (1 - chances).log()).mean()
    torch.testing.assert_close(total.double(), expected)


def test_only_normalized_targets_confuse_a_blank_with_the_separator():
    blank, black = (torch.full((1, 2, 256), value, dtype=torch.uint8) for value in (255, 0))
    predictions = torch.randn(1, 2, 768)
    for patch_loss in PATCH_LOSSES:
        one, other = (next_patch_loss(predictions, each, patch_loss=patch_loss)[0] for each in (blank, black))
        assert bool((one - other).abs() < 1e-6) == (patch_loss == "normalized_mse")


@pytest.mark.parametrize("patch_loss", PATCH_LOSSES)
def test_every_patch_loss_falls_by_its_gradient(model, patch_loss):
    sample, optimizer = batch("pixel", [6, 4]), torch.optim.SGD(model.parameters(), lr=0.05)
    losses = []
    for _ in range(4):
        optimizer.zero_grad()
        loss, size, _ = criterion(patch_loss=patch_loss)(model, sample)
        (loss / size).backward()
        optimizer.step()
        losses.append((loss / size).item())
    assert losses[-1] < losses[0]


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
    values = reported(summed)
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
