"""A text corpus to a split of binarized data: strips, tokens and their alignment, whole or not at all.

The split is a set of shards, see :mod:`~pixelgpt_fairseq.preprocessing.shards`. They are made in a hidden folder beside
the data and moved into place together at the end, the manifest last. An interrupted run that is started again makes
only the missing shards.
"""

import collections
import contextlib
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from fairseq.data.indexed_dataset import best_fitting_int_dtype
from tqdm import tqdm

from pixelgpt_fairseq.data import data_folder
from pixelgpt_fairseq.data.data_folder import DataFolder, settings_differences
from pixelgpt_fairseq.data.streams import COLUMNS, PIECES, PIXEL, TEXT
from pixelgpt_fairseq.data.tokens import TokenDictionary, Tokenizer, train_tokenizer
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.preprocessing.chunks import Counts, Streams
from pixelgpt_fairseq.preprocessing.partial_folder import (
    SHARDS,
    check_destination,
    clear,
    is_moving,
    move_into_place,
    partial_folder,
    remove_shard,
    shard_listing,
    stage,
)
from pixelgpt_fairseq.preprocessing.repair import repair_split
from pixelgpt_fairseq.preprocessing.shards import ShardMaker, ShardRecord, read_record, stretches
from pixelgpt_fairseq.preprocessing.unfinished_work import describe_work, finished_work
from pixelgpt_fairseq.preprocessing.workers import map_in_order
from pixelgpt_fairseq.rendering import TextRenderer, missing_characters, missing_summary
from pixelgpt_fairseq.sources.bad_rows import SkippedRows, refuse_bad_row
from pixelgpt_fairseq.sources.corpus import read_passages
from pixelgpt_fairseq.sources.corpus_checks import check_inputs
from pixelgpt_fairseq.sources.corpus_inputs import input_size
from pixelgpt_fairseq.sources.row_documents import Fields
from pixelgpt_fairseq.storage.files import check_absent, sync, write_whole


@dataclass
class Summary:
    """What :func:`binarize` wrote."""

    counts: Counts
    files: list[Path]
    seconds: float
    missing: list[str] = field(default_factory=list)  # a line for each script with characters that no font has
    resumed: Counts = field(default_factory=Counts)  # the part that an earlier run had finished
    skipped: SkippedRows = field(default_factory=SkippedRows)  # rows that could not be used
    repaired: list[str] = field(default_factory=list)  # names of damaged shards that were made again

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
    store="patches",
    max_missing=0.01,
    workers=1,
    overwrite=False,
    progress=True,
    fields=Fields(),  # noqa: B008
    skip_bad_rows=False,
    scheduler=None,
    repair=False,
):
    """Render and tokenize a corpus into ``destdir`` as *split*.

    A run that was ended, by whatever, makes only the shards that are missing when it is started again.

    Args:
        inputs: paths of files: see :func:`~pixelgpt_fairseq.sources.corpus_inputs.find_inputs`.
        destdir: the data folder (see :mod:`pixelgpt_fairseq.data.data_folder`), made if absent.
        split: ``train``, ``valid`` or ``test``.
        config: RendererConfig.
        tokenizer: Tokenizer; an int, to train one of so many tokens on the inputs; or None, to render only.
        documents, encoding_errors: see :func:`~pixelgpt_fairseq.sources.corpus.read_passages`.
        store: ``patches``; ``text``, from which they are rendered again while training; or ``both``.
        max_missing: the greatest share of visible characters that may lack a glyph in every font.
        workers: processes.
        overwrite: replace the split if it is there, and an unfinished one that was made of something else.
        progress: show a bar, and say what is kept of a run that was ended.
        fields: Fields of the rows of JSON lines and Parquet.
        skip_bad_rows: pass over rows that cannot be used, and count them.
        scheduler: address of a Dask scheduler whose workers, on any machines that see the same files, take the place of
            *workers*.
        repair: the split is there: read all of it, and make its damaged shards again.

    Returns:
        Summary

    Raises:
        UserError: for bad input, a split that is there already, settings that are not the folder's, or files that
            cannot be written. The folder is then as it was before, but for the finished part in a hidden folder.
    """
    began = time.perf_counter()
    folder = DataFolder(destdir)
    say = _say if progress else _say_nothing
    skipped = SkippedRows()
    try:
        check_inputs(inputs, documents, fields)
        if not repair:
            check_destination(folder, split, overwrite)
        elif isinstance(tokenizer, int):
            tokenizer = folder.tokenizer()
        if not repair and not isinstance(tokenizer, int):
            check_shared_files(folder, split, config, tokenizer, overwrite)
        config = TextRenderer(config).config  # its fonts are there and can draw

        def read(position):
            skipped.count = position.bad_rows
            on_bad_row = skipped if skip_bad_rows else refuse_bad_row
            return read_passages(inputs, documents, encoding_errors, position, fields, on_bad_row)

        def maker():
            return ShardMaker, (config, tokenizer, _streams(config, tokenizer, store))

        if repair:
            differences = settings_differences(_settings(config, tokenizer), folder.read_manifest(split))
            if differences:
                raise UserError(f"{folder.path}, {split}: rendered with other settings: {'; '.join(differences)}")
            repaired = repair_split(
                folder, split, read, lambda jobs: map_in_order(*maker(), jobs, workers, scheduler=scheduler), say
            )
            return _summary(folder, split, config, began, skipped=skipped, repaired=repaired)
        work = describe_work(inputs, documents, encoding_errors, store, config, tokenizer, fields, skip_bad_rows)
        with partial_folder(folder, split, resumable=True, say=say) as partial:
            staged = partial / folder.manifest_path(split).name
            finished = finished_work(partial, work, staged.name, overwrite, say)
            resumed = sum((record.counts for record in finished.values()), start=Counts())
            if resumed.pieces:
                say(f"{folder.path}, {split}: going on after {resumed.documents:,} documents that are rendered already")
            if not staged.exists():
                if isinstance(tokenizer, int):
                    on_bad_row = SkippedRows() if skip_bad_rows else refuse_bad_row  # counted when they are rendered
                    passages = read_passages(inputs, documents, encoding_errors, fields=fields, on_bad_row=on_bad_row)
                    texts = (passage.text for passage in passages)
                    tokenizer = _train_tokenizer(partial, texts, tokenizer, say)

                sizes = [input_size(path) for path in inputs]
                with tqdm(total=sum(sizes) or None, unit="B", unit_scale=True, desc=split, disable=not progress) as bar:

                    def advance(position, patches):
                        bar.update(sum(sizes[: position.file]) + position.stored - bar.n)
                        bar.set_postfix_str(f"{patches:,} patches")

                    made = _make_shards(read, finished, partial, maker(), max_missing, workers, advance, scheduler)
                manifest = {
                    "version": data_folder.MANIFEST_VERSION,
                    "split": split,
                    **vars(made.counts),
                    **shard_listing(split, made.files),
                    "patch_values": config.patch_values,
                    "store": store,
                    "documents_are": documents,
                    "bad_rows": skipped.count,
                    "missing_characters": missing_characters(made.characters, config),
                    "special_tokens": tokenizer.special_tokens() if tokenizer else None,
                    **_settings(config, tokenizer),
                }
                check_shared_files(folder, split, config, tokenizer, overwrite)  # another split may have come meanwhile
                stage(partial, folder, shared_files(config, tokenizer), manifest)
            move_into_place(folder, partial, split)
    except OSError as error:
        raise UserError(f"{error.filename or folder.path}: {error.strerror or error}") from error
    except MemoryError:
        raise UserError("memory ran out: choose fewer --workers") from None
    return _summary(folder, split, config, began, resumed=resumed, skipped=skipped)


def _summary(folder, split, config, began, **more):
    """The Summary of a split that is whole; *began* is a time of perf_counter."""
    made = _Made()
    for shard in folder.shards(split):
        made.add(read_record(shard))
    missing = missing_summary(made.characters, config)
    return Summary(made.counts, folder.split_files(split), time.perf_counter() - began, missing, **more)


@dataclass
class _Made:
    """What the shards made so far hold together."""

    counts: Counts = field(default_factory=Counts)
    characters: collections.Counter = field(default_factory=collections.Counter)
    files: list = field(default_factory=list)  # of each shard

    def add(self, record):
        self.counts += record.counts
        self.characters += record.characters
        self.files.append(record.files)


def _make_shards(read, finished, partial, maker, max_missing, workers, on_progress, scheduler):
    """Make the shards that are not *finished*; returns what all of them hold."""
    made, reached = _Made(), {}
    partial = partial.absolute()  # other machines may be in other folders
    config = maker[1][0]

    def jobs():
        for job in stretches(read, finished, partial, partial / SHARDS):
            reached[job.number] = job.after
            yield job

    def known(job):
        return job if isinstance(job, ShardRecord) else None

    results = map_in_order(*maker, jobs(), workers, known, scheduler)
    with contextlib.closing(results):
        for record in results:
            (partial / f"{data_folder.shard_name(record.number)}.stretch").unlink(missing_ok=True)
            made.add(record)
            try:
                check_missing(made.characters, config, max_missing)
            except UserError:  # this shard, too, would have to be made with other fonts
                remove_shard(partial / SHARDS / data_folder.shard_name(record.number))
                raise
            on_progress(reached.pop(record.number), made.counts.patches)
    clear(partial, unfinished_only=True)  # files of lost workers
    sync(partial / SHARDS)
    return made


def _streams(config, tokenizer, store):
    """The streams that are written, and their types."""
    dtypes = {PIXEL: np.uint8}
    if store != "patches":
        dtypes[PIECES] = np.uint8
    if tokenizer:
        dtypes[TEXT] = best_fitting_int_dtype(len(tokenizer))
        dtypes[COLUMNS] = best_fitting_int_dtype(config.max_patches * config.patch_size)
    return Streams(dtypes, index_only=frozenset({PIXEL} if store == "text" else ()))


def _train_tokenizer(partial, texts, vocab_size, say):
    """Train a tokenizer, or reuse the one that an interrupted run trained: training again might give another one."""
    path = partial / data_folder.TOKENIZER_FILE
    if not path.exists():
        say(f"training a tokenizer of {vocab_size:,} tokens ...")
        write_whole(path, train_tokenizer(texts, vocab_size).serialized)
    return Tokenizer.load(path)


def _say(line):
    tqdm.write(line, file=sys.stderr)


def _say_nothing(line):
    pass


def check_shared_files(folder, split, config, tokenizer, overwrite=False):
    """Refuse settings other than those of the folder's other splits, and to replace files of the user's by theirs.

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
    if is_moving(folder, split):
        return
    for name, content in shared_files(config, tokenizer).items():
        path = folder.path / name
        same_look = name == data_folder.RENDERER_FILE and others  # its fonts may lie elsewhere now
        if path.exists() and not same_look and (not path.is_file() or path.read_bytes() != content):
            kind = "another tokenizer" if name == data_folder.TOKENIZER_FILE else "of other contents"
            check_absent(path, "another --destdir", overwrite, kind)


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
    """Refuse a corpus in which too many characters have no glyph.

    Raises:
        UserError: naming scripts and counts.
    """
    lacking = sum(missing_characters(characters, config).values())
    visible = sum(count for character, count in characters.items() if not character.isspace())
    if lacking > max_missing * visible:
        fonts = ", ".join(font.name for font in config.fonts)
        summary = "; ".join(missing_summary(characters, config))
        raise UserError(f"no glyph in {fonts} for {summary}: add a font with --font, or allow more with --max-missing")
