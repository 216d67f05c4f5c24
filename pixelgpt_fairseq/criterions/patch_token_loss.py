"""Next patch prediction and next token prediction, one or both (paper, section 3)."""

import math
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.logging import metrics

from pixelgpt_fairseq.criterions.linear_cross_entropy import compiled_once, linear_cross_entropy
from pixelgpt_fairseq.data.patches import (
    BCE,
    NORMALIZED_MSE,
    PATCH_LOSSES,
    binarize_patches,
    gray_to_rgb_patches,
    normalize_gray_patches,
    normalize_patches,
    scale_pixels,
)
from pixelgpt_fairseq.data.streams import LOSSES, PRETRAINING_STREAMS


def reported_losses(modalities) -> list[str]:
    """Names of what is logged of batches of *modalities*, see :meth:`PatchTokenLoss.reduce_metrics`."""
    names = [f"{modality}_{loss}_loss" for modality in modalities for loss in PRETRAINING_STREAMS[modality].losses]
    return [
        "loss",
        *names,
        *(f"{modality}_ppl" for modality in modalities if "token" in PRETRAINING_STREAMS[modality].losses),
    ]


@dataclass
class PatchTokenLossConfig(FairseqDataclass):
    """Options of ``--criterion patch_token_loss``."""

    patch_loss_weight: float = field(default=1.0, metadata={"help": "weight of next patch prediction"})
    token_loss_weight: float = field(default=1.0, metadata={"help": "weight of next token prediction"})
    patch_loss: ChoiceEnum(PATCH_LOSSES) = field(
        default=NORMALIZED_MSE,
        metadata={
            "help": "what a patch is predicted as: values normalized within each patch (norm_pix_loss, as the released "
            "models), from which blank patches and separators cannot be told; pixel values; or the logit of each "
            "pixel's being white"
        },
    )


@register_criterion("patch_token_loss", dataclass=PatchTokenLossConfig)
class PatchTokenLoss(FairseqCriterion):
    """Mean squared error (or binary cross-entropy) of the next patch, cross-entropy of the next token.

    Each loss is the mean over all its targets in an update, and of pairs the two means are added. An update of patches
    or of tokens is divided by its number of targets. For the two losses of pairs, fairseq's one denominator is not
    enough: each batch divides its sums by the numbers of targets of the whole update, which it carries (see
    :meth:`~pixelgpt_fairseq.data.modality_mixture.ModalityMixture.describe_update`). Either way workers and
    ``--update-freq`` add up to the single large batch.

    Reported are these means, each loss and modality by itself, tokens in nats. ``loss`` adds them up by
    ``--patch-loss-weight`` and ``--token-loss-weight`` and is the mean over the modalities.
    """

    def __init__(self, cfg, task):
        super().__init__(task)
        self.weights = {"patch": cfg.patch_loss_weight, "token": cfg.token_loss_weight}
        self.patch_loss = str(cfg.patch_loss)

    def forward(self, model, sample, reduce=True):
        """Loss of a batch (see :func:`~pixelgpt_fairseq.data.batches.collate`).

        Returns:
            (loss, sample_size, logging_output): gradients are those of ``loss`` divided by the sum of all sample sizes.
            A batch of pairs without ``sample["update"]`` is an update by itself.
        """
        inputs = sample["net_input"]
        on_gpu = any(torch.is_tensor(given) and given.is_cuda for given in inputs.values())
        options = {"compiled": model.config.compile and on_gpu}
        heads = {}
        if "patches" in inputs:
            arguments = inputs["patches"], inputs.get("patch_mask"), self.patch_loss
            heads["patch_head"] = partial(patch_head_loss, *arguments, **options)
        if "tokens" in inputs:
            heads["token_head"] = partial(token_head_loss, inputs["tokens"], inputs.get("token_mask"), **options)
        output = model(**inputs, **heads)
        losses = {"patch": output.patch_predictions, "token": output.token_logits}
        losses = {name: HeadLoss(*loss) for name, loss in losses.items() if loss is not None}
        if len(losses) == 1:
            ((name, of_head),) = losses.items()
            loss, sample_size = self.weights[name] * of_head.sum, of_head.targets
        else:
            alone = {"batches": 1, "targets": {name: of_head.targets for name, of_head in losses.items()}}
            update = sample.get("update", alone)
            loss = update["batches"] * sum(
                self.weights[name] * of_head.sum / update["targets"][name] for name, of_head in losses.items()
            )
            # Every batch counts as one, so fairseq divides the sum of all by their number.
            sample_size = loss.new_ones((), dtype=torch.long)
        return loss, sample_size, self._logging_output(sample, losses, sample_size)

    def empty_output(self):
        """The logging output of an empty batch."""
        return self._logging_output({"nsentences": 0, "ntokens": 0}, {}, torch.zeros(()))

    def _logging_output(self, sample, losses, sample_size):
        # All workers must log the same keys and types: absent modalities log zeros.
        zero = torch.zeros((), dtype=torch.float64, device=sample_size.device)
        logged = {
            f"{modality}_{loss}_{what}": zero
            for modality in PRETRAINING_STREAMS
            for loss in LOSSES
            for what in ("sum", "targets")
        }
        for loss, of_head in losses.items():
            key = f"{sample['modality']}_{loss}"
            logged[f"{key}_sum"] = of_head.sum.detach().double()
            logged[f"{key}_targets"] = of_head.targets.double()
        # Loss weights are equal in all batches, so their sum over workers is divided by the number of batches.
        logged["batches"] = zero + 1
        for loss, weight in self.weights.items():
            logged[f"{loss}_weight"] = zero + weight
        logged["sample_size"] = sample_size.double()
        logged["nsentences"] = zero + sample["nsentences"]
        logged["ntokens"] = zero + sample["ntokens"]
        return logged

    @classmethod
    def reduce_metrics(cls, logging_outputs):
        """Log each modality's losses, the perplexity of its tokens, and as ``loss`` the mean of the weighted losses."""
        # A single device read; fairseq has just synchronized with the GPU to check the gradients.
        keys = [key for key in logging_outputs[0] if key.endswith(("_sum", "_targets", "_weight", "batches"))]
        totals = sum(torch.stack([torch.as_tensor(output[key]) for key in keys]).cpu() for output in logging_outputs)
        totals = dict(zip(keys, totals.tolist(), strict=True))
        for modality in PRETRAINING_STREAMS:
            for loss in LOSSES:
                targets = totals[f"{modality}_{loss}_targets"]
                if targets == 0:
                    continue
                name = f"{modality}_{loss}_loss"
                metrics.log_scalar(name, totals[f"{modality}_{loss}_sum"] / targets, targets, round=4)
                if loss == "token":
                    metrics.log_derived(f"{modality}_ppl", lambda meters, name=name: _perplexity(_mean(meters, name)))
        weights = {loss: totals[f"{loss}_weight"] / totals["batches"] for loss in LOSSES}
        metrics.log_derived("loss", lambda meters: _mean_over_modalities(meters, weights))

    @staticmethod
    def logging_outputs_can_be_summed():
        """Nothing but sums is logged."""
        return True


class HeadLoss(NamedTuple):
    """The loss of a head over a batch; scalars on the device of the batch."""

    sum: torch.Tensor  # over targets
    targets: torch.Tensor  # their number


def patch_head_loss(patches, mask, patch_loss, hidden, weight, compiled=False):
    """Next patch prediction from hidden states ``[B, L', H]``, L' <= L, and the patch head's weight ``[values, H]``.

    Arguments as those of :func:`next_patch_loss`.

    Returns:
        HeadLoss
    """
    loss = compiled_once(_patch_row_sums) if compiled else _patch_row_sums
    patches, mask = _cut(patches, hidden), _cut(mask, hidden)
    sums, targets = loss(hidden, weight, patches, mask, patch_loss)
    return HeadLoss(sums.sum(), targets.sum())


def token_head_loss(tokens, mask, hidden, weight, compiled=False):
    """Next token prediction from hidden states ``[B, L', H]``, L' <= L, and the token head's weight ``[V, H]``.

    The same as :func:`next_token_loss` of their product, which never exists as a whole (see
    :mod:`~pixelgpt_fairseq.criterions.linear_cross_entropy`). Arguments and result as of :func:`patch_head_loss`.
    """
    targets, in_use = next_tokens(_cut(tokens, hidden), _cut(mask, hidden))
    flat = (part.flatten() for part in (targets, in_use.float()))
    total, _ = linear_cross_entropy(hidden.flatten(0, 1), weight, *flat, compiled=compiled)
    return HeadLoss(total, in_use.sum())


def next_patch_loss(predictions, patches, mask=None, patch_loss=NORMALIZED_MSE):
    """How far each prediction is from the patch that follows.

    Args:
        predictions: ``[B, L, 768]``; the one at position i is for patch i + 1.
        patches: uint8 ``[B, L, 256]`` (gray) or ``[B, L, 768]``.
        mask: bool ``[B, L]``: the patches in use; None if all are.
        patch_loss: ``normalized_mse``: mean squared error from the values normalized within each patch; ``mse``: from
            the pixel values, 0 to 1; ``bce``: predictions are logits of white pixels, binary cross-entropy in nats.

    Returns:
        (sums, targets): for each row the sum over its target patches, and their number, both ``[B]``. A patch's error
        is the mean over its 768 values.
    """
    targets = _patch_targets(patches[:, 1:], predictions.shape[-1], patch_loss)
    compare = F.binary_cross_entropy_with_logits if patch_loss == BCE else F.mse_loss
    errors = compare(predictions[:, :-1].float(), targets, reduction="none").mean(dim=-1)
    if mask is None:
        return errors.sum(dim=1), errors.new_full((len(errors),), errors.shape[1])
    in_use = mask[:, 1:].to(errors.dtype)
    return (errors * in_use).sum(dim=1), in_use.sum(dim=1)


def next_token_loss(logits, tokens, mask=None):
    """Cross-entropy between each prediction and the token that follows, in nats.

    Args:
        logits: ``[B, L, V]``; those at position i are for token i + 1.
        tokens: int64 ``[B, L]``.
        mask: bool ``[B, L]``: the tokens in use; None if all are.

    Returns:
        (sums, targets): as :func:`next_patch_loss`.
    """
    targets, in_use = next_tokens(tokens, mask)  # shift the tokens, not the logits, which would have to be copied
    losses = F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), reduction="none")
    in_use = in_use.to(losses.dtype)
    return (losses.view_as(targets) * in_use).sum(dim=1), in_use.sum(dim=1)


def _patch_row_sums(hidden, weight, patches, mask, patch_loss):
    return next_patch_loss(F.linear(hidden, weight), patches, mask, patch_loss)


def next_tokens(tokens, mask):
    """What each position predicts, int64 ``[B, L]``, and whether that is a token in use, bool ``[B, L]``."""
    following = torch.ones_like(tokens, dtype=torch.bool) if mask is None else mask
    return F.pad(tokens[:, 1:], (0, 1)), F.pad(following[:, 1:], (0, 1))


def _cut(columns, hidden):
    """The columns of ``[B, L, ...]`` for which there are hidden states; the others are in use in no row."""
    return None if columns is None else columns[:, : hidden.shape[1]]


def _patch_targets(patches, values, patch_loss):
    """What a prediction of *values* numbers is compared with: float32 ``[B, L, values]``."""
    channels = values // patches.shape[-1]  # a gray patch stands for the same value in each channel
    if patch_loss == NORMALIZED_MSE:
        return normalize_patches(patches) if channels == 1 else normalize_gray_patches(patches, channels)
    values_of = binarize_patches if patch_loss == BCE else scale_pixels
    return gray_to_rgb_patches(values_of(patches), channels)


def _mean(meters, name):
    """A meter's mean, or None if nothing was logged since it was last reset."""
    mean = meters[name].avg if name in meters else None
    return None if mean is None else float(mean)


def _perplexity(loss):
    # Far from convergence the exponential is meaningless and may overflow.
    return None if loss is None else round(math.exp(min(loss, 50.0)), 2)


def _mean_over_modalities(meters, weights):
    """The mean over the modalities seen of each one's weighted loss; a pair's is the sum of its two."""
    losses = []
    for modality in PRETRAINING_STREAMS:
        means = {loss: _mean(meters, f"{modality}_{loss}_loss") for loss in LOSSES}
        if any(mean is not None for mean in means.values()):
            losses.append(sum(weights[loss] * mean for loss, mean in means.items() if mean is not None))
    return round(sum(losses) / len(losses), 4) if losses else None
