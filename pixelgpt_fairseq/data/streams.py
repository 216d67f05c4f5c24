"""Names: what a data folder holds, how it stores it, and what a model reads of it."""

from collections.abc import Callable
from typing import NamedTuple

from pixelgpt_fairseq.registries import check_free

# The streams of a split, one pair of indexed files each.
PIXEL, PIECES, TEXT, COLUMNS, TARGET = STREAMS = ("pixel", "pieces", "text", "columns", "target")
PAIR = "pair"  # a strip and the tokens of the same text
# What a model can be trained on and asked about; wherever they are listed, in this order.
MODALITIES = (TEXT, PIXEL, PAIR)
# What is stored of a corpus: its patches, its text (rendered while training), or both.
STORES = ("patches", "text", "both")

PATCH, TOKEN = LOSSES = ("patch", "token")  # what is predicted


class PretrainingStream(NamedTuple):
    """What ``--modalities`` of pretraining names."""

    losses: tuple[str, ...]
    load: Callable


PRETRAINING_STREAMS: dict[str, PretrainingStream] = {}  # by name; losses are reported in this order


def register_stream(name, losses):
    """Decorator: let ``--modalities`` of pretraining name this stream.

    The function takes the task (``task.cfg``, ``task.dictionary``), the DataFolder, the name of the split and its
    patches (IndexedRows; None if no stream of the run has any). It returns a data set with ``sizes`` whose samples are
    ``{"id": int, "patches": uint8 [n, values], "tokens": int64 [m]}``, one of the two or both, and whose method
    ``num_targets(indices)`` gives the number of targets of each loss. If its ``supports_prefetch`` is true, its method
    ``prefetch(indices)`` is told of each ``range`` of examples that is about to be read, where the stream is large.

    Args:
        name: of the stream.
        losses: ``("patch",)``, ``("token",)``, or both for patches that tokens follow.

    Raises:
        ValueError: if a loss is neither, or another function has the name.
    """
    if not losses or not set(losses) <= set(LOSSES):
        raise ValueError(f"stream {name}: losses are {' and '.join(LOSSES)}, not {losses!r}")

    def register(function):
        held = PRETRAINING_STREAMS.get(name)
        check_free("stream", name, held and held.load, function)
        PRETRAINING_STREAMS[name] = PretrainingStream(tuple(losses), function)
        return function

    return register
