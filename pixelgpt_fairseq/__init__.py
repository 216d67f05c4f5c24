"""PixelGPT for fairseq: importing it, as ``--user-dir`` does, registers its tasks, model, criterions and optimizer.

It also has fairseq's commands check what they are told, see :mod:`pixelgpt_fairseq.startup`, and write each checkpoint
once, see :mod:`pixelgpt_fairseq.checkpoint_saving`.
"""

import logging

from pixelgpt_fairseq._requirements import check_requirements

check_requirements()
# When imported, it asks for a package that nothing here needs.
logging.getLogger("fairseq.tasks.text_to_speech").setLevel(logging.WARNING)

from pixelgpt_fairseq import checkpoint_saving, criterions, models, optim, startup, tasks  # noqa: E402, F401

startup.install()
checkpoint_saving.install()
