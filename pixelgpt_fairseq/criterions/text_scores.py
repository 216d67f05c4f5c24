"""How near generated texts are to their references: BLEU, chrF and the character error rate, from sums.

Registers two scorers for ``fairseq-generate --scoring``, ``cer`` and ``chrf++``, beside fairseq's own ``sacrebleu``,
``chrf`` and ``wer``. What validation logs is pooled over batches and workers, so it is the score of the whole data set.
"""

import functools
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import torch
from fairseq.dataclass import FairseqDataclass
from fairseq.logging import metrics
from fairseq.scoring import BaseScorer, register_scorer

from pixelgpt_fairseq.errors import UserError


def edit_distance(text: Sequence[Hashable], reference: Sequence[Hashable]) -> int:
    """The fewest insertions, deletions and replacements of items, such as characters, that make *reference* of *text*.

    Myers' bit-parallel algorithm (1999): a column of the table of distances is two integers, the bits of which say
    where the distance rises and where it falls, so that each character of *reference* takes a few operations.
    """
    if not text or not reference:
        return len(text) + len(reference)
    places = {}
    for position, character in enumerate(text):
        places[character] = places.get(character, 0) | 1 << position
    every, last = (1 << len(text)) - 1, 1 << (len(text) - 1)
    rises, falls, distance = every, 0, len(text)
    for character in reference:
        same = places.get(character, 0)
        diagonal = (((same & rises) + rises) ^ rises) | same | falls
        rise, fall = falls | (every & ~(diagonal | rises)), rises & diagonal
        distance += bool(rise & last) - bool(fall & last)
        rise, fall = (rise << 1 | 1) & every, (fall << 1) & every
        rises, falls = fall | (every & ~(diagonal | rise)), rise & diagonal
    return distance


def _sacrebleu():
    try:
        import sacrebleu
    except ImportError:
        raise UserError("BLEU and chrF need the package sacrebleu: pip install sacrebleu") from None
    return sacrebleu


def bleu_sums(texts, references) -> torch.Tensor:
    """What BLEU is computed from: float64 ``[10]``: n-grams that match, n-grams, characters of texts and references."""
    bleu = _sacrebleu().corpus_bleu(texts, [references])
    return torch.tensor([*bleu.counts, *bleu.totals, bleu.sys_len, bleu.ref_len], dtype=torch.float64)


def bleu_of(sums) -> float:
    """BLEU in percent, as sacrebleu computes it of a corpus."""
    values = [int(value) for value in sums]
    compute = _sacrebleu().metrics.BLEU.compute_bleu
    return compute(values[:4], values[4:8], values[8], values[9], smooth_method="exp").score


def chrf_sums(texts, references) -> torch.Tensor:
    """What chrF is computed from: float64 ``[18]``."""
    statistics = _sacrebleu().metrics.CHRF()._extract_corpus_statistics(texts, [references])
    return torch.tensor(statistics, dtype=torch.float64).sum(0)


def chrf_of(sums) -> float:
    """The chrF (chrF2) in percent, as sacrebleu computes it of a corpus."""
    return _sacrebleu().metrics.CHRF()._compute_score_from_stats([int(value) for value in sums]).score


def cer_sums(texts, references) -> torch.Tensor:
    """What the character error rate is computed from: float64 ``[2]``: edits, and characters of references."""
    edits = sum(edit_distance(text, reference) for text, reference in zip(texts, references, strict=True))
    return torch.tensor([edits, sum(map(len, references))], dtype=torch.float64)


def cer_of(sums) -> float:
    """The character error rate in percent: above 100 where texts are much longer than their references."""
    return 100 * float(sums[0]) / max(float(sums[1]), 1.0)


# name: (number of sums, texts and references to sums, sums to the score)
TEXT_SCORES = {"bleu": (10, bleu_sums, bleu_of), "chrf": (18, chrf_sums, chrf_of), "cer": (2, cer_sums, cer_of)}
FALLING = ("cer",)  # the lower, the better


def text_sums(names, texts=(), references=()) -> dict[str, torch.Tensor]:
    """The sums of scores by the keys of a logging output; zeros for no texts."""
    return {
        f"_{name}": TEXT_SCORES[name][1](list(texts), list(references))
        if len(texts)
        else torch.zeros(TEXT_SCORES[name][0], dtype=torch.float64)
        for name in names
    }


def log_text_scores(names, logging_outputs):
    """Pool the sums of :func:`text_sums`, and derive the scores *names*, in percent."""
    for name in names:
        # All batches or workers together; a meter adds up what several calls log.
        metrics.log_scalar_sum(f"_{name}", sum(output[f"_{name}"].cpu() for output in logging_outputs))
        metrics.log_derived(name, functools.partial(_score, name))


def _score(name, meters):
    sums = meters[f"_{name}"].sum if f"_{name}" in meters else 0
    if not torch.is_tensor(sums) or not sums.any():  # nothing since the meters were last reset
        return None
    return round(TEXT_SCORES[name][2](sums), 2)


@dataclass
class CerScorerConfig(FairseqDataclass):
    """Options of ``--scoring cer``."""

    cer_lowercase: bool = field(default=False, metadata={"help": "compare lower-cased texts"})


@register_scorer("cer", dataclass=CerScorerConfig)
class CerScorer(BaseScorer):
    """Character error rate: edits per character of the reference, in percent."""

    def add_string(self, ref, pred):
        """Add a reference and the text that was generated."""
        texts = (ref.lower(), pred.lower()) if self.cfg.cer_lowercase else (ref, pred)
        super().add_string(*texts)

    def score(self) -> float:
        """In percent."""
        return cer_of(cer_sums(self.pred, self.ref))

    def result_string(self) -> str:
        """What fairseq-generate prints."""
        edits, characters = map(int, cer_sums(self.pred, self.ref))
        exact = sum(pred == ref for pred, ref in zip(self.pred, self.ref, strict=True))
        return (
            f"CER: {self.score():.2f} ({edits:,} edits, {characters:,} characters; "
            f"{exact:,} of {len(self.ref):,} texts exact)"
        )


@dataclass
class ChrfPlusPlusScorerConfig(FairseqDataclass):
    """Options of ``--scoring chrf++``: none."""


@register_scorer("chrf++", dataclass=ChrfPlusPlusScorerConfig)
class ChrfPlusPlusScorer(BaseScorer):
    """chrF++: chrF with n-grams of up to two words."""

    def score(self) -> float:
        """In percent."""
        return self._corpus().score

    def result_string(self) -> str:
        """What fairseq-generate prints."""
        return self._corpus().format()

    def _corpus(self):
        return _sacrebleu().corpus_chrf(self.pred, [self.ref], word_order=2)
