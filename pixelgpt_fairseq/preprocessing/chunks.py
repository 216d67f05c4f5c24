"""Passages of a corpus to strips, tokens and their alignment, and these to the indexed files of a shard."""

from dataclasses import astuple, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pixelgpt_fairseq.data.indexed import IndexedWriter
from pixelgpt_fairseq.data.streams import COLUMNS, PIECES, PIXEL, TEXT
from pixelgpt_fairseq.rendering.renderer import MARGIN


@dataclass
class Counts:
    """What a shard or a split holds."""

    documents: int = 0
    pieces: int = 0
    patches: int = 0
    tokens: int = 0
    characters: int = 0

    def __add__(self, other):
        return Counts(*(ours + theirs for ours, theirs in zip(astuple(self), astuple(other), strict=True)))


class Piece(NamedTuple):
    """A document, or a part of one that fits a strip, binarized."""

    text: str
    patches: np.ndarray  # uint8 [n, 256], of three channels [n, 768]
    tokens: np.ndarray  # int64 [m]
    columns: np.ndarray  # int64 [m, 2]: the columns of the strip at which what each token shows begins and ends


# What an item of each stream is.
ITEMS = {
    PIXEL: lambda piece: piece.patches.reshape(-1),
    PIECES: lambda piece: np.frombuffer(piece.text.encode(), dtype=np.uint8),
    TEXT: lambda piece: piece.tokens,
    COLUMNS: lambda piece: piece.columns.reshape(-1),
}


class Streams(NamedTuple):
    """What is written of a corpus."""

    dtypes: dict[str, type]  # stream -> type of its elements
    index_only: frozenset[str] = frozenset()  # streams of which the lengths of items are kept alone


def binarize_passage(passage, renderer, tokenizer=None):
    """Render and tokenize one passage.

    Yields:
        Piece: every piece of the document but its last lacks the separator patch; only the first has bos, only the last
        eos. Without a tokenizer, ``tokens`` and ``columns`` are empty.
    """
    spans = list(renderer.cut(passage.text))
    for number, (start, end) in enumerate(spans):
        text = passage.text[start:end]
        first = passage.starts_document and number == 0
        last = passage.ends_document and number == len(spans) - 1
        drawn = renderer(text)
        tokens, columns = np.empty(0, dtype=np.int64), np.empty((0, 2), dtype=np.int64)
        if tokenizer:
            tokens, starts = tokenizer.encode(text)
            if renderer.reads_left_to_right(text):
                columns = token_columns(text, starts, renderer.pen_positions(text) + MARGIN, drawn.pixels)
            else:
                columns = reordered_token_columns(text, starts, renderer.columns(text) + MARGIN)
            if first:
                tokens = np.append(tokenizer.bos, tokens)
                columns = np.vstack([columns[:1, [0, 0]], columns])
            if last:
                tokens = np.append(tokens, tokenizer.eos)
                columns = np.vstack([columns, columns[-1:, [1, 1]]])
        patches = drawn.patches()
        yield Piece(text, patches if last else patches[:-1], tokens, columns)


def token_columns(text, starts, pens, pixels):
    """Where in a strip each token is.

    Between words, where strips are cut into pairs, it is the ink that counts: a glyph begins a little before or after
    the pen. Within a word it is the pen.

    Args:
        text: what the strip shows.
        starts: int64 ``[m]``: the character at which each token's visible part begins.
        pens: int64 ``[len(text) + 1]``: the column at which each character begins.
        pixels: uint8 ``[height, width]`` or ``[height, width, 3]``: the strip with its separator.

    Returns:
        int64 ``[m, 2]``: the first column and the column after the last.
    """
    width = pixels.shape[1] - len(pixels)  # without the separator
    differs = (pixels[:, :width] != pixels[0, 0]).any(axis=0)  # from the background
    inked = np.flatnonzero(differs if differs.ndim == 1 else differs.any(axis=1))
    spaces = np.frombuffer(f" {text}".encode("utf-32-le", "surrogatepass"), dtype=np.uint32) == ord(" ")
    word = np.flatnonzero(spaces[starts] & (np.diff(starts, prepend=-1) > 0))  # tokens that begin a word
    pens = np.clip(pens, 0, width)
    # A word's ink lies between the middle of the space before it and that of the one after it.
    middles = (pens[starts[word]] + pens[np.maximum(starts[word] - 1, 0)]) // 2
    middles[:1] = 0
    begin, end = np.searchsorted(inked, np.stack([middles, np.append(middles[1:], width)]))
    left, right = pens[starts], np.append(pens[starts[1:]], pens[-1])
    visible = end > begin
    left[word[visible]] = inked[begin[visible]]
    right[np.append(word[1:] - 1, len(starts) - 1)[visible]] = inked[end[visible] - 1] + 1
    left = np.maximum.accumulate(left)
    return np.stack([left, np.maximum(np.maximum.accumulate(right), left)], axis=1)


def reordered_token_columns(text, starts, columns):
    """Where in a strip each token is, if not all of the text reads from left to right.

    Args:
        text: what the strip shows.
        starts: int64 ``[m]``: the character at which each token's visible part begins.
        columns: int64 ``[len(text), 2]``: the first column of each character, and the one after its last.

    Returns:
        int64 ``[m, 2]``: the first column and the column after the last, in no order; a blank has none.
    """
    found = []
    for start, end in zip(starts, np.append(starts[1:], len(text)), strict=True):
        # Several tokens may make one character: each is where that is.
        shown = [i for i in range(start, max(start + 1, end)) if not text[i : i + 1].isspace() and i < len(text)]
        if shown:
            found.append((columns[shown, 0].min(), columns[shown, 1].max()))
        else:
            middle = columns[min(start, len(text) - 1)].sum() // 2
            found.append((middle, middle))
    return np.array(found, dtype=np.int64).reshape(-1, 2)


class StreamWriter:
    """The indexed files of a shard.

    Args:
        folder: of the shard.
        streams: Streams, or just their types.
    """

    def __init__(self, folder, streams):
        if not isinstance(streams, Streams):
            streams = Streams(streams)
        self.writers = {
            stream: IndexedWriter(Path(folder) / stream, dtype, stream in streams.index_only)
            for stream, dtype in streams.dtypes.items()
        }

    def add(self, stream, values):
        """Append an item to *stream*."""
        self.writers[stream].add(values)

    def close(self):
        """Finish all files."""
        for writer in self.writers.values():
            writer.close()

    def abandon(self):
        """Close the files as they are."""
        for writer in self.writers.values():
            writer.abandon()

    def contents(self):
        """Of the finished files: name -> (bytes, CRC-32)."""
        return {name: found for writer in self.writers.values() for name, found in writer.contents.items()}
