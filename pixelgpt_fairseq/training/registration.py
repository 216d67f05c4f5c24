"""Importing this module registers all of the package's components with fairseq, and prepares fairseq's commands."""

from pixelgpt_fairseq import criterions, models, optim, tasks  # noqa: F401
from pixelgpt_fairseq.training import checkpoint_saving, quiet, startup

startup.install()
checkpoint_saving.install()
quiet.install()
