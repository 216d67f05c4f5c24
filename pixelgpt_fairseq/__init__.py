"""PixelGPT for fairseq: importing it, as ``--user-dir`` does, registers its tasks, model, criterions and optimizer."""

import logging

from pixelgpt_fairseq._requirements import check_requirements

check_requirements()
# When imported, it asks for a package that nothing here needs.
logging.getLogger("fairseq.tasks.text_to_speech").setLevel(logging.WARNING)

from pixelgpt_fairseq import criterions, models, optim, tasks  # noqa: E402, F401
