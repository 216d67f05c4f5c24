"""Trained models in Python: see :func:`pixelgpt_fairseq.load`."""
