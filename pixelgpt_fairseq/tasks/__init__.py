"""Registered tasks, and how their workers exchange objects."""

from pixelgpt_fairseq.tasks import (  # noqa: F401
    rendered_glue,
    rendered_pretraining,
    rendered_translation,
    rendered_xnli,
    worker_exchange,
)
