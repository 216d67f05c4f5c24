"""Classification and regression on the logits of the class head, with the task's metrics over the whole data set."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import FairseqDataclass
from fairseq.logging import metrics

from pixelgpt_fairseq.criterions.metrics import confusion_matrix, log_classes, log_languages, log_scores
from pixelgpt_fairseq.errors import UserError


@dataclass
class RenderedClassificationLossConfig(FairseqDataclass):
    """Options of ``--criterion rendered_classification``: none."""


@register_criterion("rendered_classification", dataclass=RenderedClassificationLossConfig)
class RenderedClassificationLoss(FairseqCriterion):
    """Cross-entropy (in nats), or the squared error of a score, summed over examples.

    Training logs the loss and, for classes, the accuracy. Validation logs all metrics of the task and, where examples
    are of several languages, the accuracy of each language and their average. Workers exchange nothing but sums: each
    worker writes its regression scores into a tensor with one row per example of the data set, and these tensors are
    added up. (fairseq's exchange of lists works only on GPUs and within a size limit.)
    """

    def __init__(self, cfg, task):
        super().__init__(task)
        self.num_labels, self.regression, self.metrics = task.num_labels, task.regression, task.metrics
        self.languages = task.languages  # names; () where there is nothing to tell apart

    def forward(self, model, sample, reduce=True):
        """Loss of a batch (see :func:`~pixelgpt_fairseq.data.batches.collate`).

        Returns:
            (loss, sample_size, logging_output)

        Raises:
            UserError: if the examples have no labels.
        """
        if "labels" not in sample:
            raise UserError("these examples have no labels: choose another --train-subset or --valid-subset")
        labels = sample["labels"]
        logits = model(**sample["net_input"]).class_logits.float()
        loss = self.compute_loss(logits, labels)
        predicted = logits.squeeze(-1) if self.regression else logits.argmax(dim=-1)
        # Summed over workers: only numbers, with the same keys on every worker.
        logged = {
            "loss": loss.detach().double(),
            "ntokens": sample["ntokens"],
            "nsentences": sample["nsentences"],
            "sample_size": sample["nsentences"],
        }
        if not self.regression:
            logged["confusion"] = confusion_matrix(
                predicted.detach(), labels, self.num_labels, sample.get("languages"), max(1, len(self.languages))
            )
        elif not self.training:
            logged["scores"] = self._score_table(predicted.detach(), sample)
        return loss, sample["nsentences"], logged

    def compute_loss(self, logits, labels):
        """The loss summed over a batch: what a criterion with a loss of its own overrides.

        Args:
            logits: float32 ``[B, C]``; of a regression ``[B, 1]``, the predicted scores.
            labels: int64 ``[B]``, the classes; of a regression float ``[B]``, the scores.
        """
        if self.regression:
            return F.mse_loss(logits.squeeze(-1), labels.to(logits.dtype), reduction="sum")
        return F.cross_entropy(logits, labels, reduction="sum")

    def empty_output(self):
        """The logging output of an empty batch."""
        counts = dict.fromkeys(("loss", "ntokens", "nsentences", "sample_size"), 0)
        if self.regression:
            return {**counts, "scores": torch.zeros(0, 3, dtype=torch.float64)}
        matrices = max(1, len(self.languages))
        return {**counts, "confusion": torch.zeros(matrices * self.num_labels**2, dtype=torch.float64)}

    def log_metrics(self, logging_outputs):
        """Log what was logged by *logging_outputs* (of batches, or of workers) as metrics of all their examples."""
        examples = sum(output["sample_size"] for output in logging_outputs)
        metrics.log_scalar("loss", sum(output["loss"] for output in logging_outputs) / examples, examples, round=4)
        if not self.regression:
            names = ("accuracy",) if self.training else self.metrics
            confusion = sum(output["confusion"] for output in logging_outputs)
            log_classes(confusion.view(-1, self.num_labels**2).sum(dim=0), names)
            if self.languages and not self.training:
                log_languages(confusion, self.num_labels, self.languages)
        elif not self.training:
            rows = torch.cat([output["scores"] for output in logging_outputs])
            log_scores(rows[rows[:, 2] > 0, :2], self.metrics)

    @classmethod
    def reduce_metrics(cls, logging_outputs):
        """Nothing: what to log depends on the task, which calls :meth:`log_metrics`."""

    @staticmethod
    def logging_outputs_can_be_summed():
        """Nothing but sums is logged."""
        return True

    def _score_table(self, predicted, sample):
        """float64 ``[B, 3]`` (with several workers: a row for every example): predicted, true, 1 where there is one."""
        rows = torch.stack([predicted.double(), sample["labels"], torch.ones_like(sample["labels"])], dim=1)
        if not torch.distributed.is_initialized() or torch.distributed.get_world_size() == 1:
            return rows
        table = rows.new_zeros(sample["examples"], 3)
        table[sample["id"]] = rows
        return table
