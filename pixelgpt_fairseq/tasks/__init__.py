"""Registered tasks, and how their workers exchange objects."""

from pixelgpt_fairseq.tasks import rendered_glue, rendered_pretraining, rendered_xnli, worker_exchange  # noqa: F401
