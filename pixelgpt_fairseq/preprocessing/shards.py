"""A corpus as shards: stretches of its documents, each rendered and tokenized by one worker, whole or absent.

One process reads the corpus, cuts it into stretches and writes their text to small files; a worker makes a shard of
each in a folder with a temporary name, and renames the folder when everything in it is on the disk. How long a stretch
is follows from what was read before it, so that the shards are the same however many workers make them, and in however
many runs. A stretch has whole documents.
"""

import collections
import json
import os
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from pixelgpt_fairseq.data.data_folder import IDS_FILE, SHARD_FILE, shard_name
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.preprocessing.chunks import ITEMS, Counts, StreamWriter, binarize_passage
from pixelgpt_fairseq.preprocessing.partial_folder import sync_shard
from pixelgpt_fairseq.rendering import TextRenderer
from pixelgpt_fairseq.sources.passages import Passage, Position
from pixelgpt_fairseq.storage.files import checked_json, move, open_without_following, read_checked_json, scratch_folder

SHARD_CHARACTERS = 1 << 20
# A stretch is at least this share of what was read before it: a terabyte makes some ten thousand shards.
_SHARE_OF_EARLIER = 1 / 1536


@dataclass
class ShardRecord:
    """What a finished shard holds.

    Attributes:
        number: counted from 0.
        after: Position at which the next stretch begins.
        counts: Counts.
        characters: how often each character occurs.
        files: name -> (bytes, CRC-32).
    """

    number: int
    after: Position
    counts: Counts
    characters: collections.Counter
    files: dict[str, tuple[int, int]]


@dataclass
class Stretch:
    """What a worker needs to make a shard: the file of its text, and the folder of shards."""

    number: int
    text_path: Path
    shards_path: Path
    after: Position


def stretch_length(characters_before):
    """Characters after which a stretch ends with the next document."""
    return max(SHARD_CHARACTERS, int(characters_before * _SHARE_OF_EARLIER))


def stretches(read, finished, folder, shards_path):
    """Read a corpus and write the texts of those stretches of which no shard is finished.

    Args:
        read: function from a Position to the passages that come from there on.
        finished: ShardRecords of finished shards by number; what they are made of is not read again.
        folder: in which texts are written.
        shards_path: the folder of shards.

    Yields:
        ShardRecord or Stretch, in the order of the corpus.
    """
    position, characters, number, passages = Position(), 0, 0, None
    while True:
        record = finished.get(number)
        if record:
            # Where reading has begun, it goes on: standard input could not begin again.
            position = record.after if passages is None else _pass_over(passages, record.counts.characters)
            characters += record.counts.characters
            yield record
        else:
            passages = read(position) if passages is None else passages
            path = Path(folder) / f"{shard_name(number)}.stretch"
            written, position = _write_stretch(path, passages, stretch_length(characters), position)
            if not written:
                return
            characters += written
            yield Stretch(number, path, Path(shards_path), position)
        number += 1


def _pass_over(passages, characters):
    """Read so many characters of whole passages; returns the Position after them."""
    position = None
    while characters > 0:
        passage = next(passages)
        characters, position = characters - len(passage.text), passage.after
    return position


def _write_stretch(path, passages, length, position):
    """Write passages to a file until they have *length* characters and the document ends.

    Returns:
        (characters written, Position after them); no file is left if there were none.
    """
    written = 0
    with open(path, "wb", opener=open_without_following) as file:
        for passage in passages:
            line = json.dumps(
                [passage.text, passage.starts_document, passage.ends_document, passage.id], ensure_ascii=False
            )
            file.write(line.encode() + b"\n")
            written, position = written + len(passage.text), passage.after
            if written >= length and passage.ends_document:
                break
    if not written:
        path.unlink()
    return written, position


def read_stretch(path):
    """The passages in a file of text that :func:`stretches` wrote."""
    with open(path, "rb") as file:
        for line in file:
            text, starts_document, ends_document, document_id = json.loads(line)
            yield Passage(text, starts_document, ends_document, id=document_id)


class ShardMaker:
    """Makes shards; one in each process, on this machine or another.

    Args:
        config, tokenizer: RendererConfig; Tokenizer or None.
        streams: Streams.
    """

    def __init__(self, config, tokenizer, streams):
        self.renderer, self.tokenizer, self.streams = TextRenderer(config), tokenizer, streams

    def __call__(self, stretch):
        """Make the shard of a Stretch, or find it made; returns its ShardRecord.

        Raises:
            UserError: if it cannot be written.
        """
        path = stretch.shards_path / shard_name(stretch.number)
        if path.exists():  # by a worker that was lost before it could say so
            return read_record(path)
        try:
            with scratch_folder(path) as scratch:
                record = self._make(stretch, scratch)
                write_record(scratch, record)
                sync_shard(scratch)
                move(scratch, path)
        except OSError as error:
            if path.exists():  # a worker that was given up for lost was not
                return read_record(path)
            raise UserError(f"{error.filename or path}: {error.strerror or error}") from None
        return record

    def _make(self, stretch, folder):
        counts, characters, ids = Counts(), collections.Counter(), []
        writer = StreamWriter(folder, self.streams)
        try:
            for passage in read_stretch(stretch.text_path):
                characters.update(passage.text)
                counts.characters += len(passage.text)
                for piece in binarize_passage(passage, self.renderer, self.tokenizer):
                    counts.pieces += 1
                    counts.patches += len(piece.patches)
                    counts.tokens += len(piece.tokens)
                    for stream in self.streams.dtypes:
                        writer.add(stream, ITEMS[stream](piece))
                if passage.ends_document:
                    ids.append(passage.id or "")
                    counts.documents += 1
                    for stream, dtype in self.streams.dtypes.items():
                        writer.add(stream, np.empty(0, dtype=dtype))
            writer.close()
        except BaseException:
            writer.abandon()
            raise
        # How much of the file was read depends on where reading began.
        after = stretch.after._replace(stored=0)
        files = {**writer.contents(), **(_write_ids(folder, ids) if any(ids) else {})}
        return ShardRecord(stretch.number, after, counts, characters, files)


def _write_ids(folder, ids):
    """Write the ids of the documents of a shard, a line each; returns name -> (bytes, CRC-32)."""
    content = "".join(f"{document_id}\n" for document_id in ids).encode()
    with open(Path(folder) / IDS_FILE, "wb", opener=open_without_following) as file:
        file.write(content)
    return {IDS_FILE: (len(content), zlib.crc32(content))}


def write_record(folder, record):
    """Write the record of a shard into its folder, below its own checksum."""
    characters = dict(sorted(record.characters.items()))
    with open(Path(folder) / SHARD_FILE, "wb", opener=open_without_following) as file:
        file.write(checked_json({**asdict(record), "after": list(record.after), "characters": characters}))


def read_record(folder):
    """The record of a finished shard.

    Raises:
        ValueError: if the shard is damaged: files that are not as long as they were, or a record that is not whole.
    """
    folder = Path(folder)
    try:
        values = read_checked_json(folder / SHARD_FILE)
        record = ShardRecord(
            values["number"],
            Position(*values["after"]),
            Counts(**values["counts"]),
            collections.Counter(values["characters"]),
            {name: tuple(found) for name, found in values["files"].items()},
        )
        for name, (size, _) in record.files.items():
            if os.path.getsize(folder / name) != size:
                raise ValueError(folder / name)
    except (OSError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(folder) from error
    return record
