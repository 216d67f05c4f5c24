"""Registered criterions."""

from pixelgpt_fairseq.criterions import patch_token_loss  # noqa: F401
