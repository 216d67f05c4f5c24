"""Labeled examples to a split of binarized data: strips, tokens and labels, whole or not at all."""

import time
from dataclasses import dataclass, field

import numpy as np
from fairseq.data.indexed_dataset import best_fitting_int_dtype

from pixelgpt_fairseq.data.data_folder import DataFolder
from pixelgpt_fairseq.data.streams import PIXEL, TEXT
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.preprocessing.binarize import check_shared_files, shared_files
from pixelgpt_fairseq.preprocessing.chunks import StreamWriter
from pixelgpt_fairseq.preprocessing.example_split import ExampleCounts, check_task, encode_texts, stage_examples
from pixelgpt_fairseq.preprocessing.partial_folder import (
    check_destination,
    move_into_place,
    only_shard,
    partial_folder,
)
from pixelgpt_fairseq.preprocessing.rendered_items import TextTally, rendered_items
from pixelgpt_fairseq.rendering import TextRenderer, missing_characters, missing_summary


@dataclass
class ExampleSummary:
    """What :func:`binarize_examples` wrote."""

    counts: ExampleCounts
    labels: dict[str, int]  # examples of each class; empty for regression and where there are no labels
    bytes: int
    seconds: float
    missing: list[str] = field(default_factory=list)  # a line for each script with characters that no font has
    attacked: int = 0  # sentences that the perturbation changed


def binarize_examples(
    examples,
    destdir,
    split,
    task,
    config,
    tokenizer=None,
    max_missing=0.01,
    workers=1,
    overwrite=False,
    progress=True,
    perturbation=None,
):
    """Render and tokenize *examples* into ``destdir`` as *split*.

    Args:
        examples: iterable of :class:`~pixelgpt_fairseq.sources.examples.Example`, read once.
        destdir: the data folder, made if absent.
        split: ``train``, ``valid``, ``test``; ``valid_mismatched`` and so on.
        task: SentenceTask.
        config: RendererConfig.
        tokenizer: Tokenizer, or None to render only.
        max_missing: the greatest share of visible characters that may lack a glyph in every font, before the
            perturbation.
        workers: processes that render; the files are the same for any number of them.
        overwrite: replace the split if it is there.
        progress: show a bar.
        perturbation: :class:`~pixelgpt_fairseq.perturbations.Perturbation` of every sentence, before it is rendered
            and tokenized; None leaves them as they are. The manifest records it.

    Returns:
        ExampleSummary

    Raises:
        UserError: for bad examples, a split that is there already, settings that are not the folder's, or files that
            cannot be written. The folder is then as it was before.
    """
    if workers < 1:
        raise UserError(f"--workers {workers}: at least 1")
    began = time.perf_counter()
    folder = DataFolder(destdir)
    try:
        check_destination(folder, split, overwrite)
        check_shared_files(folder, split, config, tokenizer, overwrite)
        check_task(folder, split, task)
        renderer = TextRenderer(config)
        dtypes = {PIXEL: np.uint8}
        if tokenizer:
            dtypes[TEXT] = best_fitting_int_dtype(len(tokenizer))
        with partial_folder(folder, split) as partial:
            writer = StreamWriter(only_shard(partial), dtypes)
            settings = (renderer.config, tokenizer, perturbation)
            with rendered_items(examples, _make, settings, workers, "examples", split, progress) as rendered:
                counts, labels, tally = _write(rendered, writer, renderer.config.max_patches)
            writer.close()
            if not labels:
                raise UserError(f"{folder.path}: split {split} would have no examples: is the table empty?")
            tally.check_missing(folder, split, config, max_missing)
            size, frequencies = stage_examples(
                partial,
                folder,
                split,
                task,
                counts,
                labels,
                writer.contents(),
                shared_files(renderer.config, tokenizer),
                patch_values=config.patch_values,
                missing_characters=missing_characters(tally.characters, config),
                renderer=renderer.config.to_dict(),
                tokenizer_sha256=tokenizer.sha256 if tokenizer else None,
                special_tokens=tokenizer.special_tokens() if tokenizer else None,
                attack=tally.attack(perturbation),
            )
            move_into_place(folder, partial, split)
    except OSError as error:
        raise UserError(f"{error.filename or folder.path}: {error.strerror or error}") from error
    missing = missing_summary(tally.characters, config)
    return ExampleSummary(counts, frequencies, size, time.perf_counter() - began, missing, tally.attacked)


def binarize_example(example, renderer, tokenizer=None):
    """Render and tokenize one example.

    Returns:
        (patches, tokens): uint8 ``[n, 256]``, the last one the separator; int64 ``[m]``, empty without a tokenizer.
    """
    drawn = renderer(example.texts if len(example.texts) > 1 else example.texts[0])
    if not tokenizer:
        return drawn.patches(), np.empty(0, dtype=np.int64)
    return drawn.patches(), encode_texts(example.texts, tokenizer)


def _make(example, renderer, tokenizer, perturbation):
    """The example, its sentences as they are rendered, their patches and their tokens."""
    attacked = example._replace(texts=tuple(map(perturbation, example.texts))) if perturbation else example
    return example, attacked.texts, *binarize_example(attacked, renderer, tokenizer)


def _write(rendered, writer, max_patches):
    """Write what :func:`_make` made; returns ExampleCounts, the labels, and a TextTally."""
    counts, labels, tally = ExampleCounts(), [], TextTally()
    for example, texts, patches, tokens in rendered:
        writer.add(PIXEL, patches.reshape(-1))
        if TEXT in writer.writers:
            writer.add(TEXT, tokens)
        labels.append(example.label)
        for original, text in zip(example.texts, texts, strict=True):
            tally.add(original, text)
            counts.characters += len(text)
        counts.examples += 1
        counts.patches += len(patches)
        counts.tokens += len(tokens)
        counts.full_strips += len(patches) == max_patches
    return counts, labels, tally
