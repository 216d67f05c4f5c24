"""Next patch prediction and next token prediction, one or both (paper, section 3)."""

import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import FairseqDataclass
from fairseq.logging import metrics

from pixelgpt_fairseq.data.patches import gray_to_rgb_patches, normalize_gray_patches, normalize_patches, scale_pixels

MODALITIES = ("pixel", "text", "pair")
LOSSES = ("patch", "token")


@dataclass
class PatchTokenLossConfig(FairseqDataclass):
    """Options of ``--criterion patch_token_loss``."""

    patch_loss_weight: float = field(default=1.0, metadata={"help": "weight of next patch prediction"})
    token_loss_weight: float = field(default=1.0, metadata={"help": "weight of next token prediction"})
    raw_patch_targets: bool = field(
        default=False,
        metadata={"help": "regress pixel values, not values normalised within each patch (norm_pix_loss false)"},
    )


@register_criterion("patch_token_loss", dataclass=PatchTokenLossConfig)
class PatchTokenLoss(FairseqCriterion):
    """Mean squared error of the next patch, cross-entropy of the next token.

    A batch of one modality is divided by its number of targets: patches, or tokens. In a batch of pairs the two losses
    have different numbers of targets but gradients one denominator: there each pair's own two means are added, and the
    batch is divided by its number of pairs. Either way workers and ``--update-freq`` add up to the single large batch.

    Reported are the means over all targets, each loss and modality by itself, in nats.
    """

    def __init__(self, cfg, task):
        super().__init__(task)
        self.weights = {"patch": cfg.patch_loss_weight, "token": cfg.token_loss_weight}
        self.raw_patch_targets = cfg.raw_patch_targets

    def forward(self, model, sample, reduce=True):
        """Loss of a batch (see :func:`~pixelgpt_fairseq.data.batches.collate`).

        Returns:
            (loss, sample_size, logging_output): gradients are those of ``loss`` divided by the sum of all sample sizes.
        """
        inputs = sample["net_input"]
        output = model(**inputs)
        sums = {}  # loss: (sums [rows], numbers of targets [rows])
        if "patches" in inputs:
            sums["patch"] = next_patch_loss(
                output.patch_predictions, inputs["patches"], inputs.get("patch_mask"), not self.raw_patch_targets
            )
        if "tokens" in inputs:
            sums["token"] = next_token_loss(output.token_logits, inputs["tokens"], inputs.get("token_mask"))
        if len(sums) == 1:
            (name, (row_sums, row_targets)), *_ = sums.items()
            loss = self.weights[name] * row_sums.sum()
            sample_size = row_targets.sum()
        else:
            loss = sum(
                self.weights[name] * (row_sums / row_targets.clamp(min=1)).sum()
                for name, (row_sums, row_targets) in sums.items()
            )
            sample_size = torch.tensor(sample["nsentences"], device=loss.device)
        return loss, sample_size, self._logging_output(sample, sums, sample_size)

    def _logging_output(self, sample, sums, sample_size):
        # All workers must log the same keys and types: absent modalities log zeros.
        zero = torch.zeros((), dtype=torch.float64, device=sample_size.device)
        logged = {
            f"{modality}_{loss}_{what}": zero
            for modality in MODALITIES
            for loss in LOSSES
            for what in ("sum", "targets")
        }
        for loss, (row_sums, row_targets) in sums.items():
            key = f"{sample['modality']}_{loss}"
            logged[f"{key}_sum"] = row_sums.detach().sum().double()
            logged[f"{key}_targets"] = row_targets.sum().double()
        logged["sample_size"] = sample_size.double()
        logged["nsentences"] = zero + sample["nsentences"]
        logged["ntokens"] = zero + sample["ntokens"]
        return logged

    @classmethod
    def reduce_metrics(cls, logging_outputs):
        """Log each modality's losses, the perplexity of its tokens, and the mean over modalities as ``loss``."""
        totals = {key: sum(output[key] for output in logging_outputs) for key in logging_outputs[0]}
        for modality in MODALITIES:
            for loss in LOSSES:
                targets = totals[f"{modality}_{loss}_targets"]
                if targets == 0:
                    continue
                name = f"{modality}_{loss}_loss"
                metrics.log_scalar(name, totals[f"{modality}_{loss}_sum"] / targets, targets, round=4)
                if loss == "token":
                    metrics.log_derived(f"{modality}_ppl", lambda meters, name=name: _perplexity(_mean(meters, name)))
        metrics.log_derived("loss", _mean_over_modalities)

    @staticmethod
    def logging_outputs_can_be_summed():
        """Nothing but sums is logged."""
        return True


def next_patch_loss(predictions, patches, mask=None, normalise=True):
    """Mean squared error between each prediction and the patch that follows.

    Args:
        predictions: ``[B, L, 768]``; the one at position i is for patch i + 1.
        patches: uint8 ``[B, L, 256]`` (gray) or ``[B, L, 768]``.
        mask: bool ``[B, L]``: the patches in use; None if all are.
        normalise: targets are normalised within each patch (norm_pix_loss).

    Returns:
        (sums, targets): for each row the sum over its target patches, and their number, both ``[B]``. A patch's error
        is the mean over its 768 values.
    """
    targets = _patch_targets(patches[:, 1:], predictions.shape[-1], normalise)
    errors = F.mse_loss(predictions[:, :-1].float(), targets, reduction="none").mean(dim=-1)
    return _row_sums(errors, mask)


def next_token_loss(logits, tokens, mask=None):
    """Cross-entropy between each prediction and the token that follows, in nats.

    Args:
        logits: ``[B, L, V]``; those at position i are for token i + 1.
        tokens: int64 ``[B, L]``.
        mask: bool ``[B, L]``: the tokens in use; None if all are.

    Returns:
        (sums, targets): as :func:`next_patch_loss`.
    """
    targets = tokens[:, 1:]
    losses = F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), targets.flatten(), reduction="none")
    return _row_sums(losses.view_as(targets), mask)


def _patch_targets(patches, values, normalise):
    """What a prediction of *values* numbers is compared with: float32 ``[B, L, values]``."""
    channels = values // patches.shape[-1]  # a gray patch stands for the same value in each channel
    if normalise:
        return normalize_patches(patches) if channels == 1 else normalize_gray_patches(patches, channels)
    return gray_to_rgb_patches(scale_pixels(patches), channels)


def _row_sums(losses, mask):
    if mask is None:
        return losses.sum(dim=1), losses.new_full((len(losses),), losses.shape[1])
    in_use = mask[:, 1:].to(losses.dtype)
    return (losses * in_use).sum(dim=1), in_use.sum(dim=1)


def _mean(meters, name):
    """A meter's mean, or None if nothing was logged since it was last reset."""
    mean = meters[name].avg if name in meters else None
    return None if mean is None else float(mean)


def _perplexity(loss):
    # Far from convergence the exponential says nothing, and may overflow.
    return None if loss is None else round(math.exp(min(loss, 50.0)), 2)


def _mean_over_modalities(meters):
    """The mean over the modalities seen of each one's loss; a pair's is the sum of its two."""
    losses = []
    for modality in MODALITIES:
        means = [mean for loss in LOSSES if (mean := _mean(meters, f"{modality}_{loss}_loss")) is not None]
        if means:
            losses.append(sum(means))
    return round(sum(losses) / len(losses), 4) if losses else None
