"""Registered tasks."""

from pixelgpt_fairseq.tasks import rendered_glue, rendered_pretraining, rendered_xnli  # noqa: F401
