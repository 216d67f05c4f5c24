"""Registered criterions and scorers."""

from pixelgpt_fairseq.criterions import (  # noqa: F401
    patch_token_loss,
    rendered_classification,
    target_token_loss,
    text_scores,
)
