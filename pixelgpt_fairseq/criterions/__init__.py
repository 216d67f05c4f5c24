"""Registered criterions."""

from pixelgpt_fairseq.criterions import patch_token_loss, rendered_classification  # noqa: F401
