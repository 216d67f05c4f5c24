# ruff: noqa: E402 (what is set first has to be there when fairseq is imported)
import logging
import os

# fairseq starts a worker for each GPU that it finds when it is imported, even with --cpu; tests run on one worker, or
# say how many.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")

# Imported, fairseq asks for a package that nothing here needs; where tests run in several processes, pytest would print
# that after its summary.
logging.getLogger("fairseq.tasks.text_to_speech").setLevel(logging.WARNING)

import fairseq_cli.train  # noqa: F401 (first of fairseq: else another part of it sets up logging, down to debugging)
import quick_configs
import torch
from refusals import fairseq
from skips import pytest_runtest_makereport, pytest_terminal_summary
from toy_corpus import checkpoint, toy_data
from toy_finetuning import finetuned, toy_glue
from toy_translation import toy_translations, translator

__all__ = [
    "checkpoint",
    "fairseq",
    "finetuned",
    "pytest_runtest_makereport",
    "pytest_terminal_summary",
    "toy_data",
    "toy_glue",
    "toy_translations",
    "translator",
]

# Hundreds of tests start fairseq in this process.
quick_configs.install()
# Tests run in a process a core, each of which would otherwise start a thread a core.
torch.set_num_threads(1)
# scripts/bench_gpu.py runs the tests of models on a GPU so: whatever they make is made there.
if os.environ.get("PIXELGPT_TEST_DEVICE"):
    torch.set_default_device(os.environ["PIXELGPT_TEST_DEVICE"])
