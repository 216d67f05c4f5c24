"""What the server of ``processes.py`` has before a process is forked from it, and needs seconds for."""

import fairseq_cli.train
import fairseq_cli.validate
import quick_configs
import quick_files
import torch._dynamo

import pixelgpt_fairseq.training.registration

__all__ = ["fairseq_cli", "pixelgpt_fairseq", "torch"]  # all that torch imports at the first update, too

quick_configs.install()
quick_files.install()
quick_configs.merged("config", strict=False)  # what fairseq asks for at the start of every command
