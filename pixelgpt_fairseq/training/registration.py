"""Importing this module registers all of the package's components with fairseq, and prepares fairseq's commands."""

import logging

# When imported, this part of fairseq asks for a package that nothing here needs.
logging.getLogger("fairseq.tasks.text_to_speech").setLevel(logging.WARNING)

from pixelgpt_fairseq import criterions, models, optim, tasks  # noqa: E402, F401
from pixelgpt_fairseq.training import checkpoint_saving, startup  # noqa: E402

startup.install()
checkpoint_saving.install()
