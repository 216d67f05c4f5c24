"""PixelGPT for fairseq: the door that ``--user-dir`` opens, and :func:`load` for people who work in Python.

Importing a part of the package (``pixelgpt_fairseq.rendering``, say) loads neither torch nor fairseq.
"""

import logging
import sys

from pixelgpt_fairseq._requirements import check_requirements

check_requirements()
# When imported, this part of fairseq asks for a package that nothing here needs.
logging.getLogger("fairseq.tasks.text_to_speech").setLevel(logging.WARNING)


def register():
    """Register tasks, models, criterions and the optimizer with fairseq, and the checks that its commands begin with.

    fairseq's commands need not call it: importing this package where fairseq is loaded, as ``--user-dir`` does, calls
    it. A program that imports this package before fairseq does, if it means to use fairseq's own functions.
    """
    from pixelgpt_fairseq.training import registration  # noqa: F401


def load(path, device="cpu", dtype=None):
    """Read a trained model with its renderer and tokenizer; see :func:`pixelgpt_fairseq.inference.loading.load`."""
    from pixelgpt_fairseq.inference import loading

    return loading.load(path, device, dtype)


if "fairseq" in sys.modules:
    register()
