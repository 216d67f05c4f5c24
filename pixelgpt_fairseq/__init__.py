"""PixelGPT for fairseq: the door that ``--user-dir`` opens, and :func:`load` for people who work in Python.

Importing a part of the package (``pixelgpt_fairseq.rendering``, say) loads neither torch nor fairseq.
"""

import importlib
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
    _import("pixelgpt_fairseq.training.registration")


def load(path, device="cpu", dtype=None):
    """Read a trained model with its renderer and tokenizer; see :func:`pixelgpt_fairseq.inference.loading.load`."""
    return _import("pixelgpt_fairseq.inference.loading").load(path, device, dtype)


def _import(name):
    # Parts of fairseq set up logging when they are imported, unless it is done: every library's messages, down to those
    # for debugging, would be printed. How a program logs is its own choice.
    done, logger = logging.NullHandler(), logging.getLogger()
    logger.addHandler(done)
    try:
        return importlib.import_module(name)
    finally:
        logger.removeHandler(done)


if "fairseq" in sys.modules:
    register()
