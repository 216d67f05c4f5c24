"""What fairseq's commands print on a terminal, in a file, and of losses that an update does not have."""

import io
import logging
import sys
import warnings

import pytest
from fairseq.logging.progress_bar import SimpleProgressBar
from fairseq_runs import train
from naive import small_model
from omegaconf import OmegaConf
from toy_corpus import TOY_TRAINING

from pixelgpt_fairseq.training import quiet


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_a_terminal_has_a_line_where_files_have_everything(stream):
    handler = logging.StreamHandler(stream())
    if quiet.is_terminal(handler):
        handler.addFilter(quiet.ShortOnTerminal(handler))
    logger = logging.Logger("fairseq_cli.train")
    logger.addHandler(handler)
    for message in (OmegaConf.create({"task": {"data": "here", "seed": 1}, "model": None}), small_model(), "a line"):
        logger.info(message)
    printed = handler.stream.getvalue()
    assert printed.endswith("a line\n")
    if stream is Terminal:
        assert printed.count("\n") == 3
        assert printed.startswith("configuration: 2 options; --log-file")
        assert "PixelGPTModel: " in printed
    else:
        assert "'data': 'here'" in printed
        assert "(q_proj)" in printed


def test_losses_that_there_are_not_are_not_shown():
    assert SimpleProgressBar([])._format_stats({"text_token_loss": None, "loss": 1.5}) == {"loss": "1.5"}


def test_a_log_tells_no_loss_of_an_absent_modality_and_keeps_the_configuration(toy_data, tmp_path):
    options = "--modalities text,pixel --max-update 2 --disable-validation --no-save --log-format simple".split()
    log = train(toy_data, *TOY_TRAINING, *options, "--save-dir", tmp_path).log
    assert "pixel_patch_loss=" in log or "text_token_loss=" in log
    assert "=None" not in log
    assert "{'_name': None, 'common':" in log


def test_warnings_that_a_user_asks_for_stay(monkeypatch):
    monkeypatch.setattr(sys, "warnoptions", ["default"])
    monkeypatch.setattr(quiet.progress_bar, "BaseProgressBar", type("Bar", (), {"_format_stats": None}))
    with warnings.catch_warnings():
        before = list(warnings.filters)
        quiet.install()
        assert warnings.filters == before
