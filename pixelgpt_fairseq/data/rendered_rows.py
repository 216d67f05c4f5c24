"""Patches that are rendered from stored text when they are read."""

import numpy as np
import torch

from pixelgpt_fairseq.data.indexed import ItemIndex
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.rendering import TextRenderer


class RenderedRows(ItemIndex):
    """The patches of a split, with the interface of :class:`~pixelgpt_fairseq.data.indexed.IndexedRows`.

    The number of patches of each piece is stored in the index of the pixel stream; only the requested rows are
    rendered, in the process that requests them.

    Args:
        prefix: path of the pixel stream, of which the ``.idx`` is there, or those of its parts.
        pieces: IndexedRows of the text of the same pieces.
        config: RendererConfig that the pieces were cut with.

    Raises:
        UserError: if the two streams do not belong together, or a font is missing.
    """

    def __init__(self, prefix, pieces, config):
        super().__init__(prefix, config.patch_values, index_only=True)
        for part, own in enumerate(self.prefixes):
            same = pieces.parts == self.parts and np.array_equal(
                self.part_sizes(part) == 0, pieces.part_sizes(part) == 0
            )
            if not same:
                other = pieces.prefixes[min(part, pieces.parts - 1)]
                raise UserError(f"{own}.idx and {other}.bin do not belong together: render this split again")
        self.prefix = pieces.prefix  # what messages name
        self.pieces, self.config = pieces, config
        self._renderer = TextRenderer(config)

    def __getstate__(self):
        # Data-loader workers create their own renderer.
        return {name: value for name, value in super().__getstate__().items() if name != "_renderer"}

    def __setstate__(self, state):
        super().__setstate__(state)
        self._renderer = TextRenderer(self.config)

    def __getitem__(self, i):
        """Item *i* as a tensor (see :meth:`rows`)."""
        return torch.from_numpy(self._draw(i))

    def rows(self, start, stop):
        """Rows *start* to *stop*: uint8 ``[n, row_width]``."""
        drawn, position = [np.empty((0, self.row_width), dtype=np.uint8)], start
        for item in range(self.item_at(start), len(self)) if start < stop else ():
            if position >= stop:
                break
            offset, size = self.first_row(item), self.size(item)
            if size:
                drawn.append(self._draw(item)[position - offset : stop - offset])
            position = offset + size
        return torch.from_numpy(np.concatenate(drawn))

    def prefetch(self, start, stop):
        """Let the system read the text of rows *start* to *stop* in one run, before they are asked for."""
        if start < stop:
            first, last = self.item_at(start), self.item_at(stop - 1)
            self.pieces.prefetch(self.pieces.first_row(first), self.pieces.first_row(last) + self.pieces.size(last))

    def check(self, items=32):
        """Render some items, to detect before training starts whether they cannot be rendered as recorded.

        Raises:
            UserError: naming the first that cannot.
        """
        for item in np.unique(np.linspace(0, len(self) - 1, items, dtype=np.int64)) if len(self) else ():
            self._draw(item)

    def _draw(self, i):
        """The patches of item *i*: uint8 ``[n, row_width]``."""
        size = self.size(i)
        if not size:
            return np.empty((0, self.row_width), dtype=np.uint8)
        try:
            text = self.pieces[i].numpy().astype(np.uint8).tobytes().decode()
        except UnicodeDecodeError:
            raise UserError(
                f"{self.pieces.name_of(i)}.bin: damaged (item {i:,} is no text): render this split again"
            ) from None
        patches = self._renderer(text).patches()
        if not self.ends_document(i):  # only there is a separator
            patches = patches[:-1]
        if len(patches) != size:
            raise UserError(
                f"{self.pieces.name_of(i)}.bin, item {i:,}: {len(patches):,} patches, and {size:,} when it was "
                "rendered: this version or machine draws in another way: render this split again"
            )
        return patches
