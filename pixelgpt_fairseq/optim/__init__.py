"""Registered optimizers."""

from pixelgpt_fairseq.optim import fused_adamw  # noqa: F401
