"""Passages of a corpus to indexed files, a chunk at a time, in one process or several."""

import collections
import os
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from fairseq.data.indexed_dataset import data_file_path, index_file_path

from pixelgpt_fairseq.data.indexed import IndexedWriter
from pixelgpt_fairseq.data.streams import COLUMNS, PIECES, PIXEL, TEXT
from pixelgpt_fairseq.preprocessing.workers import map_in_order
from pixelgpt_fairseq.rendering import TextRenderer
from pixelgpt_fairseq.rendering.renderer import MARGIN

CHUNK_CHARACTERS = 1 << 20


@dataclass
class Counts:
    """What a chunk or a split holds."""

    documents: int = 0
    pieces: int = 0
    patches: int = 0
    tokens: int = 0
    characters: int = 0

    def __add__(self, other):
        return Counts(*(ours + theirs for ours, theirs in zip(astuple(self), astuple(other), strict=True)))


class Piece(NamedTuple):
    """A document, or a part of one that fits a strip, binarised."""

    text: str
    patches: np.ndarray  # uint8 [n, 256], of three channels [n, 768]
    tokens: np.ndarray  # int64 [m]
    columns: np.ndarray  # int64 [m, 2]: the columns of the strip at which what each token shows begins and ends


# What an item of each stream is.
_ITEMS = {
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
    """Render and tokenise one passage.

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
    """The indexed files of a split, or of one chunk of it.

    Args:
        prefix: path of the files, to which each stream's name is added.
        streams: Streams, or just their types.
        lengths: what :meth:`lengths` returned: go on from there.
    """

    def __init__(self, prefix, streams, lengths=None):
        if not isinstance(streams, Streams):
            streams = Streams(streams)
        self.streams = streams
        self.writers = {
            stream: IndexedWriter(f"{prefix}.{stream}", dtype, stream in streams.index_only, lengths)
            for stream, dtype in streams.dtypes.items()
        }

    def add(self, stream, values):
        """Append an item to *stream*."""
        self.writers[stream].add(values)

    def move_in(self, other_prefix):
        """Append the files of a finished chunk, and remove them."""
        for stream, writer in self.writers.items():
            prefix = f"{other_prefix}.{stream}"
            writer.append(prefix)
            for path in IndexedWriter.files(prefix, writer.index_only):
                os.remove(path)

    def lengths(self):
        """How long each file is, by name."""
        return {name: length for writer in self.writers.values() for name, length in writer.lengths().items()}

    def sync(self):
        """Bring everything to the disk."""
        for writer in self.writers.values():
            writer.sync()

    def finish(self):
        """Finish a chunk, for :meth:`move_in`."""
        for writer in self.writers.values():
            writer.finish()

    def close(self):
        """Finish all files."""
        for writer in self.writers.values():
            writer.close()

    def files(self):
        """Paths of the files."""
        return [
            Path(name(writer.prefix))
            for writer in self.writers.values()
            for name in ((index_file_path,) if writer.index_only else (data_file_path, index_file_path))
        ]


def gather_chunks(passages):
    """Gather passages into lists of about ``CHUNK_CHARACTERS``."""
    chunk, length = [], 0
    for passage in passages:
        chunk.append(passage)
        length += len(passage.text)
        if length >= CHUNK_CHARACTERS:
            yield chunk
            chunk, length = [], 0
    if chunk:
        yield chunk


def binarize_chunks(jobs, config, tokenizer, streams, workers):
    """Binarise chunks in *workers* processes, never holding many of them at a time.

    Args:
        jobs: iterable of (list of Passage, path prefix for the chunk's files).
        config, tokenizer: RendererConfig; Tokenizer or None.
        streams: Streams.
        workers: processes; one is this process itself.

    Returns:
        generator of (prefix, Counts, Counter of characters, Position after it), in the order of *jobs*. Close it to end
        its processes.

    Raises:
        UserError: if a worker dies.
    """
    return map_in_order(_Worker, (config, tokenizer, streams), jobs, workers)


class _Worker:
    """Binarises chunks; one in each process."""

    def __init__(self, config, tokenizer, streams):
        self.renderer, self.tokenizer, self.streams = TextRenderer(config), tokenizer, streams

    def __call__(self, job):
        return self.binarize(*job)

    def binarize(self, passages, prefix):
        """Write the files of *prefix*; returns what :func:`binarize_chunks` yields."""
        counts, characters = Counts(), collections.Counter()
        writer = StreamWriter(prefix, self.streams)
        for passage in passages:
            characters.update(passage.text)
            counts.characters += len(passage.text)
            for piece in binarize_passage(passage, self.renderer, self.tokenizer):
                counts.pieces += 1
                counts.patches += len(piece.patches)
                counts.tokens += len(piece.tokens)
                for stream in self.streams.dtypes:
                    writer.add(stream, _ITEMS[stream](piece))
            if passage.ends_document:
                counts.documents += 1
                for stream, dtype in self.streams.dtypes.items():
                    writer.add(stream, np.empty(0, dtype=dtype))
        writer.finish()
        return prefix, counts, characters, passages[-1].after
