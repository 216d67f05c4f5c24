"""Patches that were not stored: drawn from the text of their pieces when they are read."""

import numpy as np
import torch

from pixelgpt_fairseq.data.indexed import read_index
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.rendering import TextRenderer


class RenderedRows:
    """The patches of a split, to be read like :class:`~pixelgpt_fairseq.data.indexed.IndexedRows` of stored ones.

    How many patches each piece has is known from the index of the stream that was not stored; only what is asked for is
    drawn, in the process that asks.

    Args:
        prefix: path of the pixel stream, of which the ``.idx`` is there.
        pieces: IndexedRows of the text of the same pieces.
        config: RendererConfig that the pieces were cut with.

    Raises:
        UserError: if the two streams do not belong together, or a font is missing.
    """

    def __init__(self, prefix, pieces, config):
        self.prefix = pieces.prefix  # what messages name
        self.pieces, self.row_width, self._pixel_prefix = pieces, config.patch_values, str(prefix)
        _, sizes = read_index(prefix, index_only=True)
        if np.any(sizes % self.row_width) or not np.array_equal(sizes == 0, pieces.sizes == 0):
            raise UserError(f"{prefix}.idx and {pieces.prefix}.bin do not belong together: render this split again")
        self.sizes = sizes.astype(np.int64) // self.row_width
        self.offsets = np.concatenate([[0], np.cumsum(self.sizes)])
        self._renderer = TextRenderer(config)

    def __getstate__(self):
        # Data-loader workers read the files and draw glyphs themselves.
        return {"prefix": self._pixel_prefix, "pieces": self.pieces, "config": self._renderer.config}

    def __setstate__(self, state):
        self.__init__(**state)

    def __len__(self):
        return len(self.sizes)

    def __getitem__(self, i):
        """Item *i* as a tensor (see :meth:`rows`)."""
        return torch.from_numpy(self._draw(i))

    def rows(self, start, stop):
        """Rows *start* to *stop*: uint8 ``[n, row_width]``."""
        first = int(np.searchsorted(self.offsets, start, side="right")) - 1
        drawn, position = [np.empty((0, self.row_width), dtype=np.uint8)], start
        for item in range(first, len(self)):
            if position >= stop:
                break
            offset = self.offsets[item]
            if self.sizes[item]:
                drawn.append(self._draw(item)[position - offset : stop - offset])
            position = self.offsets[item + 1]
        return torch.from_numpy(np.concatenate(drawn))

    def check(self, items=32):
        """Draw *items* of all, so that what cannot be drawn as it was is told before training begins.

        Raises:
            UserError: naming the first that cannot.
        """
        for item in np.unique(np.linspace(0, len(self) - 1, items, dtype=np.int64)) if len(self) else ():
            self._draw(item)

    def _draw(self, i):
        """The patches of item *i*: uint8 ``[n, row_width]``."""
        if not self.sizes[i]:
            return np.empty((0, self.row_width), dtype=np.uint8)
        try:
            text = self.pieces[i].numpy().astype(np.uint8).tobytes().decode()
        except UnicodeDecodeError:
            raise UserError(
                f"{self.pieces.prefix}.bin: damaged (item {i:,} is no text): render this split again"
            ) from None
        patches = self._renderer(text).patches()
        # An empty item ends the document; only there is a separator.
        if i + 1 < len(self) and self.sizes[i + 1]:
            patches = patches[:-1]
        if len(patches) != self.sizes[i]:
            raise UserError(
                f"{self.pieces.prefix}.bin, item {i:,}: {len(patches):,} patches, and {self.sizes[i]:,} when it was "
                "rendered: this version or machine draws in another way: render this split again"
            )
        return patches
