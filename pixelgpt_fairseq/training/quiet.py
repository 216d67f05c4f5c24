"""What fairseq's commands print that tells a user nothing: left out, or shortened on a terminal.

Nothing is lost: ``--log-file`` and an output that goes to a file have the whole configuration and model, warnings come
back by ``python -W default`` or ``PYTHONWARNINGS``, and no warning of this package, or about a user's options, is among
those below. Programs that use fairseq's functions themselves are left alone.
"""

import logging
import sys
import warnings

from fairseq.logging import progress_bar
from omegaconf import DictConfig
from torch import nn

# What fairseq's own way of using Hydra and torch makes these say, whatever the user does: (message, module).
_WARNINGS = (
    (r"hydra\.experimental\.\w+\(\) is no longer experimental", ""),
    (r"\s*The version_base parameter is not specified", ""),
    (r"\s*The strict flag in the compose API is deprecated", ""),
    (r"In '.*': Usage of deprecated keyword in package header", ""),
    (r"\s*'.*' is validated against ConfigStore schema with the same name", ""),
    (r"`torch\.cuda\.amp\.\w+\(args\.\.\.\)` is deprecated", r"fairseq\."),
    (r"'pin_memory' argument is set as true but no accelerator is found", ""),
)


def install():
    """Make fairseq's commands quieter, where this process runs one. Called once, by the registration."""
    if not any(name.startswith("fairseq_cli.") for name in sys.modules):
        return
    if not sys.warnoptions:
        for message, module in _WARNINGS:
            warnings.filterwarnings("ignore", message=message, module=module)
    base = progress_bar.BaseProgressBar
    base._format_stats = _without_absent(base._format_stats)
    for handler in logging.getLogger().handlers:
        if is_terminal(handler):
            handler.addFilter(ShortOnTerminal(handler))


def _without_absent(format_stats):
    """Leave out losses of modalities that had no batch since the last line, which fairseq shows as None."""

    def without_absent(self, stats):
        return format_stats(self, {name: value for name, value in stats.items() if value is not None})

    return without_absent


def is_terminal(handler):
    """Whether a logging handler writes to a terminal."""
    stream = getattr(handler, "stream", None)
    return stream is not None and hasattr(stream, "isatty") and stream.isatty()


class ShortOnTerminal(logging.Filter):
    """One line instead of fairseq-train's configuration (7,000 characters) and its tree of modules.

    Args:
        handler: the logging handler that it filters.
    """

    def __init__(self, handler):
        super().__init__()
        self.handler = handler

    def filter(self, record):
        """Whether the handler is to print *record* as it is."""
        if isinstance(record.msg, DictConfig):
            short = f"configuration: {sum(len(group) for group in record.msg.values() if group)} options"
        elif isinstance(record.msg, nn.Module):
            short = f"{type(record.msg).__name__}: {sum(1 for _ in record.msg.modules())} modules"
        else:
            return True
        whole = "; --log-file FILE, or an output that is no terminal, has all"
        self.handler.emit(logging.makeLogRecord({**vars(record), "msg": short + whole, "args": ()}))
        return False
