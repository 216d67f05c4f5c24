"""PixelGPT for fairseq: ``--user-dir pixelgpt_fairseq`` registers its tasks, model and criterions."""

from pixelgpt_fairseq import criterions  # noqa: F401
