import torch
from refusals import fairseq
from toy_corpus import toy_data

__all__ = ["fairseq", "toy_data"]

# Tests run in a process a core, each of which would otherwise start a thread a core.
torch.set_num_threads(1)
