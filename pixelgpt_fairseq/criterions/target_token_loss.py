"""Next token prediction on the targets of translations alone; sources are read, not predicted."""

import math
from dataclasses import dataclass
from functools import partial

import torch
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import FairseqDataclass
from fairseq.logging import metrics

from pixelgpt_fairseq.criterions.linear_cross_entropy import linear_cross_entropy
from pixelgpt_fairseq.criterions.patch_token_loss import HeadLoss, next_tokens


@dataclass
class TargetTokenLossConfig(FairseqDataclass):
    """Options of ``--criterion target_token_loss``: none."""


@register_criterion("target_token_loss", dataclass=TargetTokenLossConfig)
class TargetTokenLoss(FairseqCriterion):
    """Cross-entropy of the tokens of the target and of the end after it, in nats; the mean over those of an update."""

    def __init__(self, cfg, task):
        super().__init__(task)

    def forward(self, model, sample, reduce=True):
        """Loss of a batch (see :meth:`~pixelgpt_fairseq.data.translations.TranslationDataset.collater`).

        Returns:
            (loss, sample_size, logging_output): a sum over target tokens, and their number.
        """
        inputs = sample["net_input"]
        head = partial(
            target_head_loss,
            inputs["tokens"],
            inputs.get("token_mask"),
            sample["source_tokens"],
            compiled=model.config.compile and inputs["tokens"].is_cuda,
        )
        # What the patch head would predict is not asked for; it takes part with a zero, for data parallelism.
        output = model(**inputs, token_head=head, patch_head=_nothing)
        of_head = output.token_logits
        loss = of_head.sum if output.patch_predictions is None else of_head.sum + output.patch_predictions
        return loss, of_head.targets, self._logging_output(sample, of_head)

    def empty_output(self):
        """The logging output of no examples."""
        return self._logging_output({"nsentences": 0, "ntokens": 0}, HeadLoss(torch.zeros(()), torch.zeros(())))

    @staticmethod
    def _logging_output(sample, of_head):
        zero = torch.zeros((), dtype=torch.float64, device=of_head.sum.device)
        return {
            "loss": of_head.sum.detach().double(),
            "sample_size": of_head.targets.double(),
            "nsentences": zero + sample["nsentences"],
            "ntokens": zero + sample["ntokens"],
        }

    @classmethod
    def reduce_metrics(cls, logging_outputs):
        """Log the mean ``loss`` of a target token, and the perplexity."""
        targets = sum(float(output["sample_size"]) for output in logging_outputs)
        loss = sum(float(output["loss"]) for output in logging_outputs)
        metrics.log_scalar("loss", loss / max(targets, 1), targets, round=4)
        metrics.log_derived("ppl", lambda meters: round(math.exp(min(float(meters["loss"].avg), 50.0)), 2))

    @staticmethod
    def logging_outputs_can_be_summed():
        """Nothing but sums is logged."""
        return True


def target_head_loss(tokens, mask, source_tokens, hidden, weight, compiled=False):
    """Next token prediction of targets, from hidden states ``[B, L', H]`` and the token head's weight ``[V, H]``.

    Args:
        tokens: int64 ``[B, L]``: of sources, and of targets with the bos before each.
        mask: bool ``[B, L]``: the tokens in use; None if all are.
        source_tokens: int64 ``[B]``: how many of them are the source. The token after them is the target's bos.

    Returns:
        HeadLoss
    """
    width = hidden.shape[1]
    targets, in_use = next_tokens(tokens[:, :width], None if mask is None else mask[:, :width])
    in_use = in_use & (torch.arange(width, device=tokens.device) >= source_tokens.unsqueeze(1))
    flat = (part.flatten() for part in (targets, in_use.float()))
    total, _ = linear_cross_entropy(hidden.flatten(0, 1), weight, *flat, compiled=compiled)
    return HeadLoss(total, in_use.sum())


def _nothing(hidden, weight):
    """A patch head that predicts nothing: a zero that depends on it."""
    return hidden[:0].sum() + weight[:0].sum()
