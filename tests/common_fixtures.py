"""What every process that runs tests begins with: fixtures that tests in several folders share, and settings."""

import gc
import os

import fairseq_cli.train  # noqa: F401 (first of fairseq: else another part of it sets up logging, down to debugging)
import processes
import torch
from refusals import fairseq
from toy_corpus import TOY_TRAINING, checkpoint, toy_data
from toy_finetuning import TRAINING, finetuned, toy_glue
from toy_translation import toy_translations, translator

__all__ = ["checkpoint", "fairseq", "finetuned", "toy_data", "toy_glue", "toy_translations", "translator"]

# Hundreds of tests start fairseq in this process, dozens in others: those are forked from one that has run nothing.
processes.start_server([*TOY_TRAINING, "data"], [*TRAINING, "data"])
# The garbage collector looks at all that torch and fairseq are made of again and again: a seventh of the tests' time.
gc.set_threshold(50_000, 20, 20)
# Tests run in a process a core, each of which would otherwise start a thread a core.
torch.set_num_threads(1)
# scripts/bench_gpu.py runs the tests of models on a GPU so: whatever they make is made there.
if os.environ.get("PIXELGPT_TEST_DEVICE"):
    torch.set_default_device(os.environ["PIXELGPT_TEST_DEVICE"])
