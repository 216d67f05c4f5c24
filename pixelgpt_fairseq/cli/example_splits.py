"""What the commands that render examples with labels share: the look of the text, a split and its report."""

import dataclasses
import functools
import json
import sys
from pathlib import Path

from pixelgpt_fairseq.checkpoints.auxiliary_files import CONFIG_FILE
from pixelgpt_fairseq.checkpoints.loading import load_checkpoint
from pixelgpt_fairseq.cli.example_options import MAX_PATCHES
from pixelgpt_fairseq.cli.renderer_options import chosen_settings
from pixelgpt_fairseq.cli.reports import print_warnings
from pixelgpt_fairseq.data.data_folder import DataFolder
from pixelgpt_fairseq.data.tokens import Tokenizer
from pixelgpt_fairseq.preprocessing.binarize_examples import binarize_examples
from pixelgpt_fairseq.rendering import RendererConfig
from pixelgpt_fairseq.sources.bad_rows import SkippedRows
from pixelgpt_fairseq.storage.files import file_version


def is_model(path):
    """Whether *path* is a checkpoint or a released folder, not a data folder."""
    return not Path(path).is_dir() or Path(path, CONFIG_FILE).exists()


def choose_rendering(args, folder):
    """How text is drawn and tokenized: the command line's options, else as --like has it, else as the data folder.

    What the options change of the look of --like is logged in one line, the first time that this is asked.

    Returns:
        (RendererConfig, Tokenizer or None)

    Raises:
        UserError: if what is to be looked like cannot be read, or a font is not there.
    """
    config, tokenizer = None, None
    if args.like:
        config, tokenizer = _rendering_of(args.like, json.dumps(chosen_settings(args)), file_version(args.like))
    elif folder.splits():
        chosen = chosen_settings(args)
        recorded = folder.renderer_config(locate_fonts="fonts" not in chosen)
        config, tokenizer = dataclasses.replace(recorded, **chosen), folder.tokenizer()
    if config is None:
        config = RendererConfig(**{"max_patches": MAX_PATCHES, **chosen_settings(args)})
    return config, Tokenizer.load(args.tokenizer) if args.tokenizer else tokenizer


# The checkpoint is read once for all splits of a command, and its warnings are given once.
@functools.lru_cache(maxsize=1)
def _rendering_of(like, chosen, version):
    """(RendererConfig, Tokenizer or None) of a checkpoint or data folder but for the settings in *chosen*, as JSON.

    *version* is there to tell the versions of a file apart.
    """
    chosen = {"max_patches": MAX_PATCHES, **json.loads(chosen)}
    if is_model(like):
        checkpoint = load_checkpoint(like)
        return checkpoint.renderer_config(chosen), checkpoint.tokenizer
    return rendering_of_folder(like, chosen), DataFolder(like).tokenizer()


def rendering_of_folder(path, chosen):
    """The RendererConfig of a data folder, but for the attributes in *chosen*; what they change is logged.

    Raises:
        UserError: if it is no data folder, or a font is not there.
    """
    folder = DataFolder(path)
    return folder.renderer_config(locate_fonts=False).with_settings(chosen, path, near=folder.path)


def render_split(args, folder, split, task, path, read, perturbation=None):
    """Render one split, and print what came of it.

    Args:
        args: the options of :func:`add_split_options` and :func:`add_rendering_options`.
        folder: path of the data folder.
        split: its name.
        task: SentenceTask.
        path: of the table, for messages.
        read: function of *on_bad_row* (see :func:`~pixelgpt_fairseq.sources.examples.read_examples`) to an iterator of
            examples.
        perturbation: of the text, or None.

    Returns:
        ExampleSummary

    Raises:
        UserError: see :func:`~pixelgpt_fairseq.preprocessing.binarize_examples.binarize_examples`.
    """
    config, tokenizer = choose_rendering(args, DataFolder(folder))
    if tokenizer is None and not DataFolder(folder).splits():
        print("warning: without --tokenizer, only --modality pixel can read the data", file=sys.stderr)
    skipped = SkippedRows()
    examples = read(skipped if args.skip_bad_rows else None)
    summary = binarize_examples(
        examples,
        folder,
        split,
        task,
        config,
        tokenizer,
        max_missing=args.max_missing,
        workers=args.workers,
        overwrite=args.overwrite,
        perturbation=perturbation,
    )
    print_warnings(path, summary, skipped, perturbation, "texts")
    counts = summary.counts
    print(
        f"{folder}, {split}: {counts.examples:,} examples"
        + (
            f" ({', '.join(f'{word}: {number:,}' for word, number in summary.labels.items())})"
            if summary.labels
            else ""
        )
        + (f", {skipped.count:,} rows skipped" if skipped.count else "")
        + (f", {summary.attacked:,} texts changed by {perturbation}" if perturbation else "")
        + f", {counts.patches:,} patches, {counts.tokens:,} tokens, {counts.full_strips:,} strips cut at "
        f"{config.max_patches} patches, {summary.bytes:,} bytes; {summary.seconds:.1f} s, "
        f"{counts.examples / summary.seconds:,.0f} examples/s"
    )
    return summary
