"""What the commands that render examples share for data that the authors rendered already."""

import sys
from pathlib import Path

from pixelgpt_fairseq.checkpoints.loading import load_checkpoint
from pixelgpt_fairseq.cli.example_splits import is_model, rendering_of_folder
from pixelgpt_fairseq.cli.renderer_options import chosen_settings
from pixelgpt_fairseq.cli.reports import print_skipped
from pixelgpt_fairseq.data.data_folder import DataFolder
from pixelgpt_fairseq.data.tokens import Tokenizer
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.preprocessing.binarize_released import binarize_released
from pixelgpt_fairseq.rendering import RendererConfig
from pixelgpt_fairseq.sources.bad_rows import SkippedRows
from pixelgpt_fairseq.sources.published_data import local_released
from pixelgpt_fairseq.sources.released import find_released, released_name


def find_released_splits(args, task, splits):
    """Name -> folder of the *splits* that ``--released`` has of a task (``rte``, ``xnli-sw``); fetched if need be.

    Raises:
        UserError: see :func:`~pixelgpt_fairseq.sources.published_data.local_released`.
    """
    folder = local_released(args.released, task, splits)
    found = {split: find_released(folder, task, split) for split in splits}
    return {split: path for split, path in found.items() if path is not None}


def missing_split(args, task, split):
    """The error to raise where a split was asked for that is absent."""
    path = Path(args.released, released_name(task, split))
    return UserError(f"{path}: no such folder (split {split} of {task})")


def binarize_released_split(args, folder, split, task, path, detokenized):
    """Binarize one split, and print what came of it.

    Args:
        args: the options of :func:`add_released_options` and those of
            :func:`~pixelgpt_fairseq.cli.example_options.add_split_options` and ``add_rendering_options``.
        folder: path of the data folder.
        split: its name there.
        task: SentenceTask.
        path: the released folder.
        detokenized: whether the text is to be detokenized, as GLUE's is.

    Returns:
        ReleasedSummary

    Raises:
        UserError: see :func:`~pixelgpt_fairseq.preprocessing.binarize_released.binarize_released`.
    """
    like = load_checkpoint(args.like) if args.like and is_model(args.like) else None
    skipped = SkippedRows()
    summary = binarize_released(
        path,
        folder,
        split,
        task,
        _tokenizer(args, like, DataFolder(folder)),
        detokenized=detokenized,
        on_bad_line=skipped if args.skip_bad_rows else None,
        verify=_look(args, like) if args.verify_rendering else None,
        overwrite=args.overwrite,
    )
    counts, agreement = summary.counts, summary.agreement
    print_skipped(skipped)
    if summary.without_separator:
        print(
            f"warning: {path}: {summary.without_separator:,} strips do not end with a black patch at num_patches",
            file=sys.stderr,
        )
    if not counts.tokens:
        print("warning: without --tokenizer, only --modality pixel can read the data", file=sys.stderr)
    labels = ", ".join(f"{word}: {number:,}" for word, number in summary.labels.items())
    print(
        f"{folder}, {split}: {counts.examples:,} examples"
        + (f" ({labels})" if labels else "")
        + (f", {skipped.count:,} lines skipped" if skipped.count else "")
        + f", {counts.patches:,} patches ({'rgb' if summary.colors else 'gray'}), {counts.tokens:,} tokens, "
        f"{counts.full_strips:,} full strips, {summary.bytes:,} bytes; {summary.seconds:.1f} s, "
        f"{counts.examples / summary.seconds:,.0f} examples/s"
    )
    if agreement:
        print(f"{agreement.identical:,} of {agreement.compared:,} strips are identical to this package's rendering")
        for difference in agreement.differences:
            print(f"  {difference}")
    return summary


def _tokenizer(args, like, folder):
    if args.tokenizer:
        return Tokenizer.load(args.tokenizer)
    if args.like:
        return like.tokenizer if like else DataFolder(args.like).tokenizer()
    return folder.tokenizer() if folder.splits() else None


def _look(args, like):
    chosen = chosen_settings(args)
    if like:
        return like.renderer_config(chosen)
    return rendering_of_folder(args.like, chosen) if args.like else RendererConfig(**chosen)
