"""Converts the authors' rendered data to a split: their strips, and the tokens of their text, completely or not at all.

The data folder has the usual layout, except that the renderer settings are unknown: there is no
``text_renderer_config.json``, and ``renderer`` is null in the manifest. Strips are stored in gray; if one strip of a
split has colors, all are stored with three channels.
"""

import os
import time
from dataclasses import asdict, dataclass, field, replace

import numpy as np
from fairseq.data.indexed_dataset import best_fitting_int_dtype
from tqdm import tqdm

from pixelgpt_fairseq.data import data_folder
from pixelgpt_fairseq.data.data_folder import DataFolder
from pixelgpt_fairseq.data.indexed import IndexedRows, IndexedWriter
from pixelgpt_fairseq.data.patches import PATCH_SIZE
from pixelgpt_fairseq.data.streams import PIXEL, TEXT
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.preprocessing.binarize import check_shared_files, shared_files
from pixelgpt_fairseq.preprocessing.example_split import ExampleCounts, check_task, encode_texts, stage_examples
from pixelgpt_fairseq.preprocessing.partial_folder import (
    check_destination,
    move_into_place,
    only_shard,
    partial_folder,
)
from pixelgpt_fairseq.rendering import TextRenderer
from pixelgpt_fairseq.sources.examples import clean, detokenize
from pixelgpt_fairseq.sources.released import part_files, read_released

GRAY, RGB = PATCH_SIZE * PATCH_SIZE, 3 * PATCH_SIZE * PATCH_SIZE


@dataclass
class Agreement:
    """How released strips compare with this package's rendering of their text."""

    compared: int = 0
    identical: int = 0
    differences: list[str] = field(default_factory=list)  # of the first few strips


@dataclass
class ReleasedSummary:
    """What :func:`binarize_released` wrote."""

    counts: ExampleCounts
    labels: dict[str, int]  # examples of each class; empty for regression and where there are no labels
    colors: bool
    bytes: int
    seconds: float
    without_separator: int  # strips whose patch number num_patches is not black
    agreement: Agreement | None


def binarize_released(
    released,
    destdir,
    split,
    task,
    tokenizer=None,
    detokenized=True,
    on_bad_line=None,
    verify=None,
    overwrite=False,
    progress=True,
):
    """Turn a released folder into *split* of ``destdir``, in constant memory.

    Args:
        released: see :func:`~pixelgpt_fairseq.sources.released.read_released`.
        destdir: the data folder, made if absent.
        split: ``train``, ``valid``, ``test``; ``valid_mismatched``, ``train.sw`` and so on.
        task: SentenceTask.
        tokenizer: Tokenizer of the text, or None for strips only.
        detokenized: whether the text goes through :func:`~pixelgpt_fairseq.sources.examples.detokenize`, as GLUE's
            does.
        on_bad_line: called with the error of each line to be passed over; None: the first one is raised.
        verify: RendererConfig to draw the text with, and to compare; None: nothing is compared.
        overwrite: replace the split if it is there.
        progress: show a bar.

    Returns:
        ReleasedSummary

    Raises:
        UserError: for bad lines, a split that is there already, splits of another kind beside it, or files that cannot
            be written. The folder is then as it was before.
    """
    began = time.perf_counter()
    folder = DataFolder(destdir)
    try:
        check_destination(folder, split, overwrite)
        check_shared_files(folder, split, None, tokenizer, overwrite)
        check_task(folder, split, task)
        size = sum(os.path.getsize(path) for path in part_files(released))
        counts, labels, without_separator = ExampleCounts(), [], 0
        comparison = _Comparison(verify) if verify else None
        with partial_folder(folder, split) as partial:
            shard = only_shard(partial)
            strips = _StripWriter(shard / PIXEL)
            texts = None
            if tokenizer:
                texts = IndexedWriter(shard / TEXT, best_fitting_int_dtype(len(tokenizer)))
            with tqdm(total=size, unit="B", unit_scale=True, desc=split, disable=not progress) as bar:
                for example in read_released(released, task, split.startswith("test"), on_bad_line, bar.update):
                    cleaned = tuple(map(detokenize if detokenized else clean, example.texts or ()))
                    if tokenizer:
                        if not example.texts:
                            raise UserError(f"{example.where}: no text for the tokenizer: leave out --tokenizer")
                        tokens = encode_texts(cleaned, tokenizer)
                        texts.add(tokens)
                        counts.tokens += len(tokens)
                    if comparison and example.texts:
                        comparison.add(example, cleaned)
                    strips.add(example.patches)
                    labels.append(example.label)
                    counts.examples += 1
                    counts.patches += len(example.patches)
                    counts.characters += sum(map(len, cleaned))
                    counts.full_strips += len(example.patches) == example.strip_patches
                    without_separator += bool(example.patches[-1].any())
            writers = [strips, texts] if tokenizer else [strips]
            for writer in writers:
                writer.close()
            if not labels:
                raise UserError(f"{released}: split {split} would have no examples")
            contents = {name: found for writer in writers for name, found in writer.contents.items()}
            settings = {
                "patch_values": strips.values,
                "missing_characters": {},
                "released": os.path.basename(os.path.abspath(released)),
                "renderer": None,  # nobody knows
                "tokenizer_sha256": tokenizer.sha256 if tokenizer else None,
                "special_tokens": tokenizer.special_tokens() if tokenizer else None,
            }
            agreement = comparison.agreement if comparison else None
            if agreement:
                settings["rendering_agreement"] = {**asdict(agreement), "renderer": verify.to_dict()}
            shared = shared_files(None, tokenizer)
            size, frequencies = stage_examples(
                partial, folder, split, task, counts, labels, contents, shared, **settings
            )
            # It may be left of the split that is being replaced.
            (folder.path / data_folder.RENDERER_FILE).unlink(missing_ok=True)
            move_into_place(folder, partial, split)
    except OSError as error:
        raise UserError(f"{error.filename or folder.path}: {error.strerror or error}") from error
    seconds = time.perf_counter() - began
    return ReleasedSummary(counts, frequencies, strips.values == RGB, size, seconds, without_separator, agreement)


class _StripWriter:
    """Writes strips gray until the first with colors comes, and then all in three channels."""

    def __init__(self, prefix):
        self.prefix, self.values = str(prefix), GRAY
        self._writer = IndexedWriter(prefix, np.uint8)

    def add(self, patches):
        """Append a strip ``[n, 256]`` or ``[n, 768]``."""
        if patches.shape[1] == RGB and self.values == GRAY:
            self._add_channels()
        if patches.shape[1] < self.values:
            patches = np.repeat(patches, 3, axis=1)
        self._writer.add(patches.reshape(-1))

    def close(self):
        """Finish the files."""
        self._writer.close()
        self.contents = self._writer.contents

    def _add_channels(self):
        self._writer.close()
        gray, self.values = IndexedRows(self.prefix, GRAY), RGB
        self._writer = IndexedWriter(f"{self.prefix}.rgb", np.uint8)
        for i in range(len(gray)):
            self._writer.add(np.repeat(gray[i].numpy(), 3, axis=1).reshape(-1))
        # Both are open: the new data takes the place of the old, which is read no more.
        os.replace(f"{self.prefix}.rgb.bin", f"{self.prefix}.bin")
        self._writer.prefix = self.prefix


class _Comparison:
    """Draws the text of released strips and compares pixel by pixel."""

    SHOWN = 3

    def __init__(self, config):
        self.config, self.agreement, self._renderers = config, Agreement(), {}

    def add(self, example, cleaned):
        """Compare a strip with the text as it is tokenized, and with the text as it stands in the line."""
        released = example.patches
        look = (example.strip_patches, "rgb" if released.shape[1] == RGB else "gray")
        drawn = [self._draw(texts, *look) for texts in dict.fromkeys((cleaned, example.texts))]
        self.agreement.compared += 1
        if any(np.array_equal(patches, released) for patches in drawn):
            self.agreement.identical += 1
        elif len(self.agreement.differences) < self.SHOWN:
            self.agreement.differences.append(f"{example.where}: {_difference(released, drawn[0])}")

    def _draw(self, texts, strip_patches, mode):
        look = strip_patches, mode
        if look not in self._renderers:
            config = replace(self.config, max_patches=strip_patches, render_mode=mode)
            self._renderers = {look: TextRenderer(config)}
        return self._renderers[look](texts if len(texts) > 1 else texts[0]).patches()


def _difference(released, drawn):
    """In words, where two strips differ."""
    common = min(len(released), len(drawn))
    differing = np.flatnonzero((released[:common] != drawn[:common]).reshape(common, -1).any(axis=1))
    lengths = "" if len(released) == len(drawn) else f"{len(released)} patches, drawn here {len(drawn)}; "
    first = f"the first of them patch {differing[0]}" if len(differing) else "their common part is identical"
    return f"{lengths}{len(differing)} of {common} patches differ, {first}"
