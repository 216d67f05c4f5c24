"""A text corpus to a split of binarised data: strips, tokens and their alignment, whole or not at all.

Passages of the corpus are gathered into chunks; workers render and tokenise a chunk each into files of its own, which
are appended to the split in order: the result does not depend on the number of workers. Everything is written in a
hidden folder beside the split's files and moved into place at the end, the manifest last.
"""

import collections
import contextlib
import fcntl
import json
import os
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from fairseq.data.indexed_dataset import best_fitting_int_dtype
from tqdm import tqdm

from pixelgpt_fairseq.data import data_folder
from pixelgpt_fairseq.data.chunks import Counts, StreamWriter, binarize_chunks, gather_chunks
from pixelgpt_fairseq.data.corpus import check_inputs, read_passages
from pixelgpt_fairseq.data.data_folder import COLUMNS, PIXEL, TEXT, DataFolder, settings_differences
from pixelgpt_fairseq.data.tokens import TokenDictionary
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.rendering import TextRenderer, missing_characters, missing_summary


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
        UserError: for bad input, a split that is there already, settings that are not the folder's, or files that
            cannot be written. The folder is then as it was before.
    """
    began = time.perf_counter()
    folder = DataFolder(destdir)
    try:
        check_inputs(inputs)
        check_destination(folder, split, overwrite)
        check_shared_files(folder, split, config, tokenizer, overwrite)
        config = TextRenderer(config).config  # its fonts are there and can draw
        dtypes = {PIXEL: np.uint8}
        if tokenizer:
            dtypes[TEXT] = best_fitting_int_dtype(len(tokenizer))
            dtypes[COLUMNS] = best_fitting_int_dtype(config.max_patches * config.patch_size)
        with partial_folder(folder, split) as partial:
            counts, characters = Counts(), collections.Counter()
            writer = StreamWriter(partial / split, dtypes)
            total = sum(os.path.getsize(path) for path in inputs)
            with tqdm(total=total, unit="B", unit_scale=True, desc=split, disable=not progress) as bar:
                passages = read_passages(inputs, documents, encoding_errors, on_bytes=bar.update)
                jobs = ((chunk, partial / f"{i:06d}") for i, chunk in enumerate(gather_chunks(passages)))
                with contextlib.closing(binarize_chunks(jobs, config, tokenizer, dtypes, workers)) as results:
                    for prefix, chunk_counts, chunk_characters in results:
                        writer.move_in(prefix)
                        counts.add(chunk_counts)
                        characters.update(chunk_characters)
                        check_missing(characters, config, max_missing)
                        bar.set_postfix_str(f"{counts.patches / (time.perf_counter() - began):,.0f} patches/s")
            writer.close()
            manifest = {
                "version": data_folder.MANIFEST_VERSION,
                "split": split,
                **vars(counts),
                "files": {path.name: path.stat().st_size for path in writer.files()},
                "patch_values": config.patch_values,
                "documents_are": documents,
                "missing_characters": missing_characters(characters, config),
                **_settings(config, tokenizer),
            }
            check_shared_files(folder, split, config, tokenizer, overwrite)  # another split may have come meanwhile
            move_into_place(folder, split, writer.files(), shared_files(config, tokenizer), manifest)
    except OSError as error:
        raise UserError(f"{error.filename or folder.path}: {error.strerror or error}") from error
    except MemoryError:
        raise UserError("memory ran out: choose fewer --workers") from None
    missing = missing_summary(characters, config)
    return Summary(counts, folder.split_files(split), time.perf_counter() - began, missing)


@contextlib.contextmanager
def partial_folder(folder, split):
    """A hidden folder for what is not finished yet, for one run at a time; removed in the end, whatever happens.

    If a run is killed, the folder stays, and the next run empties it.
    """
    there = folder.path.exists()
    path = folder.path / f".{split}.partial"
    path.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{path}: another run is writing this split now: wait for it, or end it") from None
        except OSError:  # a file system without locks
            pass
        try:
            for left in path.iterdir():
                left.unlink()
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)
            if not there:
                with contextlib.suppress(OSError):  # not empty
                    folder.path.rmdir()
    finally:
        os.close(handle)


def move_into_place(folder, split, files, shared, manifest):
    """Make the finished *files* of a partial folder the split, in the place of an older one.

    All is written before anything is touched, then files are only renamed: a full disk cannot come between. While there
    is no manifest, no later step takes the split for whole.

    Args:
        folder: DataFolder.
        split: name of the split.
        files: paths of the new files, in one folder.
        shared: name -> content of the files that all splits share.
        manifest: the manifest, as plain values.
    """
    partial = files[0].parent
    manifest_path = folder.manifest_path(split)
    small = {**shared, manifest_path.name: json.dumps(manifest, indent=1, ensure_ascii=False).encode() + b"\n"}
    for name, content in small.items():
        (partial / name).write_bytes(content)
    new = [*(path.name for path in files), *shared]
    manifest_path.unlink(missing_ok=True)
    for path in folder.split_files(split):
        if path.name not in new:
            path.unlink()
    for name in new:
        os.replace(partial / name, folder.path / name)
    os.replace(partial / manifest_path.name, manifest_path)


def check_destination(folder, split, overwrite):
    """Refuse to touch a split that is there.

    Raises:
        UserError: unless *overwrite*.
    """
    there = folder.split_files(split)
    if there and not overwrite:
        raise UserError(f"{there[0]}: already there: choose another --destdir or --split, or pass --overwrite")


def check_shared_files(folder, split, config, tokenizer, overwrite=False):
    """Refuse settings other than those of the folder's other splits, and a tokenizer in the place of another.

    Raises:
        UserError: naming what differs.
    """
    others = [other for other in folder.splits() if other != split]
    if others:
        settings = folder.read_manifest(others[0])
        differences = settings_differences(_settings(config, tokenizer), settings)
        if differences:
            advice = "leave out what differs, or choose another --destdir"
            if settings["tokenizer_sha256"] != (tokenizer.sha256 if tokenizer else None):
                advice = f"pass --tokenizer {folder.path / data_folder.TOKENIZER_FILE}, or choose another --destdir"
            raise UserError(f"{folder.path}: split {others[0]} has other settings: {'; '.join(differences)}: {advice}")
    path = folder.path / data_folder.TOKENIZER_FILE
    if path.exists() and tokenizer and path.read_bytes() != tokenizer.serialized and not overwrite:
        raise UserError(f"{path}: already there, another tokenizer: choose another --destdir, or pass --overwrite")


def _settings(config, tokenizer):
    """What :meth:`DataFolder.settings` will give."""
    return {
        "renderer": config.to_dict() if config else None,
        "tokenizer_sha256": tokenizer.sha256 if tokenizer else None,
    }


def shared_files(config, tokenizer):
    """The folder's files that all splits share: name to content; *config* is None for strips that others drew."""
    files = {data_folder.RENDERER_FILE: config.to_json_text().encode()} if config else {}
    if tokenizer:
        files[data_folder.TOKENIZER_FILE] = tokenizer.serialized
        files[data_folder.DICTIONARY_FILE] = TokenDictionary.from_tokenizer(tokenizer).to_text().encode()
    return files


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
