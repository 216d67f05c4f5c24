"""A text corpus to a split of binarised data: strips, tokens and their alignment, whole or not at all.

Passages of the corpus are gathered into chunks; workers render and tokenise a chunk each into files of its own, which
are appended to the split in order: the result does not depend on the number of workers. Everything is written in a
hidden folder beside the split's files and moved into place at the end, the manifest last.
"""

import collections
import concurrent.futures
import itertools
import json
import os
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from fairseq.data.indexed_dataset import (
    MMapIndexedDatasetBuilder,
    best_fitting_int_dtype,
    data_file_path,
    index_file_path,
)
from tqdm import tqdm

from pixelgpt_fairseq.data import data_folder
from pixelgpt_fairseq.data.corpus import check_inputs, read_passages
from pixelgpt_fairseq.data.data_folder import COLUMNS, PIXEL, TEXT, DataFolder, write_whole
from pixelgpt_fairseq.data.tokens import TokenDictionary
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.rendering import TextRenderer, missing_characters, missing_summary
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

    def add(self, other):
        """Add *other*'s counts."""
        for name in vars(self):
            setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass
class Summary:
    """What :func:`binarize` wrote."""

    counts: Counts
    files: list[Path]
    seconds: float
    missing: list[str] = field(default_factory=list)  # a line for each script with characters that no font has

    @property
    def bytes(self):
        """Size of the files, in bytes."""
        return sum(path.stat().st_size for path in self.files)


class Piece(NamedTuple):
    """A document, or a part of one that fits a strip, binarised."""

    patches: np.ndarray  # uint8 [n, 256]
    tokens: np.ndarray  # int64 [m]
    columns: np.ndarray  # int64 [m]: the pixel column of the strip at which each token begins


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
        patches = renderer(text).patches()
        tokens = columns = np.empty(0, dtype=np.int64)
        if tokenizer:
            tokens, starts = tokenizer.encode(text)
            pens = renderer.pen_positions(text) + MARGIN
            columns = np.clip(pens[starts], 0, len(patches) * renderer.config.patch_size)
            if first:
                tokens = np.append(tokenizer.model.bos_id(), tokens)
                columns = np.append(pens[0], columns)
            if last:
                tokens = np.append(tokens, tokenizer.model.eos_id())
                columns = np.append(columns, pens[-1])
        yield Piece(patches if last else patches[:-1], tokens, columns)


class StreamWriter:
    """The indexed files of a split, or of one chunk of it.

    Args:
        prefix: path of the files without the stream's name, ``.bin`` and ``.idx``.
        dtypes: stream to element type.
    """

    def __init__(self, prefix, dtypes):
        self.paths = {stream: f"{prefix}.{stream}" for stream in dtypes}
        self.builders = {
            stream: MMapIndexedDatasetBuilder(data_file_path(self.paths[stream]), dtype=dtype)
            for stream, dtype in dtypes.items()
        }

    def add(self, stream, values):
        """Write an item, a 1-d array."""
        self.builders[stream].add_item(torch.from_numpy(values))

    def append(self, other_prefix):
        """Write all items of closed files."""
        for stream, builder in self.builders.items():
            builder.merge_file_(f"{other_prefix}.{stream}")

    def close(self):
        """Write the indices."""
        for stream, builder in self.builders.items():
            builder.finalize(index_file_path(self.paths[stream]))

    def files(self):
        """The files' paths, once closed."""
        return [Path(name(path)) for path in self.paths.values() for name in (data_file_path, index_file_path)]


class _ChunkWorker:
    """Binarises chunks; one in each process."""

    current = None

    def __init__(self, config, tokenizer, dtypes):
        self.renderer, self.tokenizer, self.dtypes = TextRenderer(config), tokenizer, dtypes

    @classmethod
    def start(cls, *args):
        cls.current = cls(*args)

    @classmethod
    def run(cls, job):
        return cls.current.binarize(*job)

    def binarize(self, passages, prefix):
        """Write the files of *prefix*; returns the counts and how often each character occurs."""
        counts, characters = Counts(), collections.Counter()
        writer = StreamWriter(prefix, self.dtypes)
        for passage in passages:
            characters.update(passage.text)
            counts.characters += len(passage.text)
            for piece in binarize_passage(passage, self.renderer, self.tokenizer):
                counts.pieces += 1
                counts.patches += len(piece.patches)
                counts.tokens += len(piece.tokens)
                writer.add(PIXEL, piece.patches.reshape(-1))
                if self.tokenizer:
                    writer.add(TEXT, piece.tokens)
                    writer.add(COLUMNS, piece.columns)
            if passage.ends_document:
                counts.documents += 1
                for stream, dtype in self.dtypes.items():
                    writer.add(stream, np.empty(0, dtype=dtype))
        writer.close()
        return prefix, counts, characters


def binarize(
    inputs,
    destdir,
    split,
    config,
    tokenizer=None,
    documents="blank-line",
    encoding_errors="fail",
    max_missing=0.01,
    workers=1,
    overwrite=False,
    progress=True,
):
    """Render and tokenise text files into ``destdir`` as *split*.

    Args:
        inputs: paths of UTF-8 text files.
        destdir: the data folder (see :mod:`pixelgpt_fairseq.data.data_folder`), made if absent.
        split: ``train``, ``valid`` or ``test``.
        config: RendererConfig.
        tokenizer: Tokenizer, or None to render only.
        documents, encoding_errors: see :func:`~pixelgpt_fairseq.data.corpus.read_passages`.
        max_missing: the greatest share of visible characters that may lack a glyph in every font.
        workers: processes.
        overwrite: replace the split if it is there.
        progress: show a bar.

    Returns:
        Summary

    Raises:
        UserError: for bad input, a split that is there already, or settings that are not the folder's.
    """
    began = time.perf_counter()
    folder = DataFolder(destdir)
    check_inputs(inputs)
    check_destination(folder, split, overwrite)
    shared = shared_files(config, tokenizer)
    check_shared_files(folder, split, config, tokenizer)
    dtypes = {PIXEL: np.uint8}
    if tokenizer:
        dtypes[TEXT] = best_fitting_int_dtype(len(tokenizer))
        dtypes[COLUMNS] = best_fitting_int_dtype(config.max_patches * config.patch_size)

    partial = folder.path / f".{split}.partial"
    shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed
    partial.mkdir(parents=True)
    try:
        counts, characters = Counts(), collections.Counter()
        writer = StreamWriter(partial / split, dtypes)
        total = sum(os.path.getsize(path) for path in inputs)
        with tqdm(total=total, unit="B", unit_scale=True, desc=split, disable=not progress) as bar:
            passages = read_passages(inputs, documents, encoding_errors, on_bytes=bar.update)
            jobs = ((chunk, partial / f"{i:06d}") for i, chunk in enumerate(_chunks(passages)))
            for prefix, chunk_counts, chunk_characters in _run(jobs, (config, tokenizer, dtypes), workers):
                writer.append(prefix)
                for path in prefix.parent.glob(f"{prefix.name}.*"):
                    path.unlink()
                counts.add(chunk_counts)
                characters.update(chunk_characters)
                check_missing(characters, config, max_missing)
                bar.set_postfix_str(f"{counts.patches / (time.perf_counter() - began):,.0f} patches/s")
        writer.close()
        if not counts.pieces:
            raise UserError(f"{inputs[0]}: no text: only white space")
        manifest = {
            "version": data_folder.MANIFEST_VERSION,
            "split": split,
            **vars(counts),
            "files": {path.name: path.stat().st_size for path in writer.files()},
            "patch_values": config.patch_size**2,
            "documents_are": documents,
            "missing_characters": missing_characters(characters, config),
            "renderer": config.to_dict(),
            "tokenizer_sha256": tokenizer.sha256 if tokenizer else None,
        }
        move_into_place(folder, split, writer.files(), shared, manifest)
    except OSError as error:
        raise UserError(f"{error.filename or folder.path}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    missing = missing_summary(characters, config)
    return Summary(counts, folder.split_files(split), time.perf_counter() - began, missing)


def check_destination(folder, split, overwrite):
    """Refuse to touch a split that is there.

    Raises:
        UserError: unless *overwrite*.
    """
    there = folder.split_files(split)
    if there and not overwrite:
        raise UserError(f"{there[0]}: already there: choose another --destdir or --split, or pass --overwrite")


def check_shared_files(folder, split, config, tokenizer):
    """Refuse settings other than those of the folder's other splits.

    Raises:
        UserError: naming what differs.
    """
    others = [other for other in folder.splits() if other != split]
    if not others:
        return
    manifest = data_folder.read_json(folder.manifest_path(others[0]))
    differences = config.differences(type(config).from_dict(manifest["renderer"]))
    if differences:
        raise UserError(f"{folder.path}: split {others[0]} was rendered with other settings: {'; '.join(differences)}")
    if manifest["tokenizer_sha256"] != (tokenizer.sha256 if tokenizer else None):
        raise UserError(
            f"{folder.path}: split {others[0]} was binarised with another tokenizer: pass --tokenizer "
            f"{folder.path / data_folder.TOKENIZER_FILE}, or choose another --destdir"
        )


def move_into_place(folder, split, files, shared, manifest):
    """Make finished *files* the split: the old one goes, the files that all splits share come, the manifest is last."""
    # From here on a new split is in the making: without a manifest, no later step takes it for whole.
    folder.manifest_path(split).unlink(missing_ok=True)
    for path in folder.split_files(split):
        path.unlink()
    for name, content in shared.items():
        write_whole(folder.path / name, content)
    for path in files:
        os.replace(path, folder.path / path.name)
    write_whole(folder.manifest_path(split), json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")


def shared_files(config, tokenizer):
    """The folder's files that all splits share: name to content."""
    files = {data_folder.RENDERER_FILE: config.to_json_text()}
    if tokenizer:
        files[data_folder.TOKENIZER_FILE] = tokenizer.serialized
        files[data_folder.DICTIONARY_FILE] = TokenDictionary.from_tokenizer(tokenizer).to_text()
    return files


def _chunks(passages):
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


def _run(jobs, worker_args, workers):
    """Run *jobs* in *workers* processes and yield their results in order, never holding many jobs at a time."""
    if workers <= 1:
        worker = _ChunkWorker(*worker_args)
        yield from (worker.binarize(*job) for job in jobs)
        return
    with concurrent.futures.ProcessPoolExecutor(workers, initializer=_ChunkWorker.start, initargs=worker_args) as pool:
        waiting = collections.deque()
        try:
            for job in itertools.chain(jobs, itertools.repeat(None, 2 * workers)):
                if job is not None:
                    waiting.append(pool.submit(_ChunkWorker.run, job))
                if waiting and (job is None or len(waiting) > 2 * workers):
                    yield waiting.popleft().result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def check_missing(characters, config, max_missing):
    """Refuse a corpus of which too much lacks a glyph.

    Raises:
        UserError: naming scripts and counts.
    """
    lacking = sum(missing_characters(characters, config).values())
    visible = sum(count for character, count in characters.items() if not character.isspace())
    if lacking > max_missing * visible:
        fonts = ", ".join(font.name for font in config.fonts)
        summary = "; ".join(missing_summary(characters, config))
        raise UserError(f"no glyph in {fonts} for {summary}: add a font with --font, or allow more with --max-missing")
