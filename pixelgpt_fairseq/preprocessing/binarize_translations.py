"""Sources and targets to a split of binarized data: strips, texts and tokens, whole or not at all."""

import time
from dataclasses import dataclass, field

import numpy as np
from fairseq.data.indexed_dataset import best_fitting_int_dtype

from pixelgpt_fairseq.data.data_folder import MANIFEST_VERSION, DataFolder
from pixelgpt_fairseq.data.streams import PIECES, PIXEL, TARGET, TEXT
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.preprocessing.binarize import check_shared_files, shared_files
from pixelgpt_fairseq.preprocessing.chunks import StreamWriter
from pixelgpt_fairseq.preprocessing.example_split import encode_texts
from pixelgpt_fairseq.preprocessing.partial_folder import (
    check_destination,
    move_into_place,
    only_shard,
    partial_folder,
    shard_listing,
    stage,
    sync_shard,
)
from pixelgpt_fairseq.preprocessing.rendered_items import TextTally, rendered_items
from pixelgpt_fairseq.rendering import TextRenderer, missing_characters, missing_summary

TRANSLATIONS = "translations"  # key of a manifest: how many the split holds


@dataclass
class TranslationCounts:
    """What a split holds."""

    translations: int = 0
    patches: int = 0  # of sources
    tokens: int = 0  # of sources
    target_tokens: int = 0
    characters: int = 0  # of sources
    full_strips: int = 0  # as long as a strip may be: of most of them the end is missing


@dataclass
class TranslationSummary:
    """What :func:`binarize_translations` wrote."""

    counts: TranslationCounts
    bytes: int
    seconds: float
    missing: list[str] = field(default_factory=list)  # a line for each script with characters that no font has
    attacked: int = 0  # sources that the perturbation changed


def binarize_translations(
    translations,
    destdir,
    split,
    config,
    tokenizer,
    max_missing=0.01,
    workers=1,
    overwrite=False,
    progress=True,
    perturbation=None,
):
    """Render and tokenize *translations* into ``destdir`` as *split*.

    Args:
        translations: iterable of :class:`~pixelgpt_fairseq.sources.translations.Translation`, read once.
        destdir: the data folder, made if absent.
        split: ``train``, ``valid``, ``test``.
        config: RendererConfig.
        tokenizer: Tokenizer of sources and targets.
        max_missing: the greatest share of the sources' visible characters that may lack a glyph in every font, before
            the perturbation.
        workers: processes that render; the files are the same for any number of them.
        overwrite: replace the split if it is there.
        progress: show a bar.
        perturbation: :class:`~pixelgpt_fairseq.perturbations.Perturbation` of every source, before it is rendered and
            tokenized; None leaves them as they are. The manifest records it.

    Returns:
        TranslationSummary

    Raises:
        UserError: for bad texts, a split that is there already, settings that are not the folder's, or files that
            cannot be written. The folder is then as it was before.
    """
    if workers < 1:
        raise UserError(f"--workers {workers}: at least 1")
    began = time.perf_counter()
    folder = DataFolder(destdir)
    try:
        check_destination(folder, split, overwrite)
        check_shared_files(folder, split, config, tokenizer, overwrite)
        for other in folder.splits():
            if other != split and TRANSLATIONS not in folder.read_manifest(other):
                raise UserError(f"{folder.path}: split {other} holds no translations: choose another --destdir")
        config = TextRenderer(config).config
        token = best_fitting_int_dtype(len(tokenizer))
        dtypes = {PIXEL: np.uint8, PIECES: np.uint8, TEXT: token, TARGET: token}
        with partial_folder(folder, split) as partial:
            shard = only_shard(partial)
            writer = StreamWriter(shard, dtypes)
            settings = (config, tokenizer, perturbation)
            with rendered_items(translations, _make, settings, workers, "translations", split, progress) as rendered:
                counts, tally = _write(rendered, writer, config.max_patches)
            writer.close()
            if not counts.translations:
                raise UserError(f"{folder.path}: split {split} would have no translations: is the table empty?")
            tally.check_missing(folder, split, config, max_missing)
            listing = shard_listing(split, [writer.contents()])
            manifest = {
                "version": MANIFEST_VERSION,
                "split": split,
                **vars(counts),
                **listing,
                "patch_values": config.patch_values,
                "missing_characters": missing_characters(tally.characters, config),
                "renderer": config.to_dict(),
                "tokenizer_sha256": tokenizer.sha256,
                "special_tokens": tokenizer.special_tokens(),
                "attack": tally.attack(perturbation),
            }
            sync_shard(shard)
            stage(partial, folder, shared_files(config, tokenizer), manifest)
            move_into_place(folder, partial, split)
    except OSError as error:
        raise UserError(f"{error.filename or folder.path}: {error.strerror or error}") from error
    missing = missing_summary(tally.characters, config)
    return TranslationSummary(
        counts, sum(listing["files"].values()), time.perf_counter() - began, missing, attacked=tally.attacked
    )


def _make(translation, renderer, tokenizer, perturbation):
    """The translation, its source as it is rendered, and the streams."""
    source = perturbation(translation.source) if perturbation else translation.source
    streams = {
        PIXEL: renderer(source).patches(),
        PIECES: np.frombuffer(source.encode(), dtype=np.uint8),
        TEXT: encode_texts([source], tokenizer),
        TARGET: np.append(encode_texts([translation.target], tokenizer), tokenizer.eos),
    }
    return translation, source, streams


def _write(rendered, writer, max_patches):
    """Write what :func:`_make` made; returns TranslationCounts, and a TextTally of the sources."""
    counts, tally = TranslationCounts(), TextTally()
    for translation, source, streams in rendered:
        for stream, values in streams.items():
            writer.add(stream, values.reshape(-1))
        tally.add(translation.source, source)
        counts.translations += 1
        counts.characters += len(source)
        counts.patches += len(streams[PIXEL])
        counts.full_strips += len(streams[PIXEL]) == max_patches
        counts.tokens += len(streams[TEXT])
        counts.target_tokens += len(streams[TARGET])
    return counts, tally
