"""Registered tasks."""

from pixelgpt_fairseq.tasks import rendered_pretraining  # noqa: F401
