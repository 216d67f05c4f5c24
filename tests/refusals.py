"""How commands refuse, seen from within this process: one of their own takes seconds to start."""

import importlib.util

import fairseq_cli.train
import pytest
from fairseq_runs import run
from toy_corpus import ROOT, TOY_TRAINING

VALIDATION = ["--user-dir", "pixelgpt_fairseq", "--task", "rendered_pretraining", "--cpu", "--batch-size", "2"]


def script(name):
    """The ``main`` of a script."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def refusal(main, *arguments):
    """The line with which a script or a command of fairseq ends this process."""
    with pytest.raises(SystemExit) as ending:
        main([str(argument) for argument in arguments])
    message = ending.value.code
    assert isinstance(message, str), "exit status"
    assert message.startswith("error: ")
    assert "\n" not in message
    return message.removeprefix("error: ")


@pytest.fixture
def fairseq(tmp_path):
    """fairseq-train or fairseq-validate in this process; returns the line with which the package refuses."""

    def refused(*arguments, main=fairseq_cli.train.cli_main):
        options = VALIDATION
        if main is fairseq_cli.train.cli_main:
            options = [*TOY_TRAINING, "--max-update", 2, "--save-dir", tmp_path / "checkpoints"]
        return refusal(lambda _: run(main, *options, *arguments))

    return refused
