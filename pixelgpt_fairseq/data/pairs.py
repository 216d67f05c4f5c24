"""Aligned image-text pairs: a strip and the tokens of the text that it shows, cut from the same document."""

import numpy as np
import torch
from fairseq.data import FairseqDataset

from pixelgpt_fairseq.data.pair_plan import PAIR_FIELDS, SPECIAL_TOKENS, PairPlan, strip_length
from pixelgpt_fairseq.data.patches import patch_layout, patchify, unpatchify
from pixelgpt_fairseq.data.plans import Plans
from pixelgpt_fairseq.data.sizes import smallest_integers
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.rendering.renderer import MARGIN, SEPARATOR

_TOKENS_AT_ONCE = 1 << 20


class PairDataset(FairseqDataset):
    """Pairs of a strip and its tokens: samples ``{"id": int, "patches": uint8 [n, 256 or 768], "tokens": int64 [m]}``.

    A piece of text that fits both limits is one pair. A longer piece is cut between words (between tokens if a word is
    too long) into the smallest number of parts that fit, of nearly equal length; its strip is cut at the same places,
    also in right-to-left text. Every strip ends with the separator, and the tokens start with bos and end with eos.

    Args:
        strips, texts, columns: the streams of a split (see :mod:`pixelgpt_fairseq.data.data_folder`) as IndexedRows of
            256 (rgb: 768), 1 and 2 elements.
        dictionary: TokenDictionary.
        max_patches: the longest strip, its separator included.
        max_tokens: the most tokens, bos and eos included.
        plans: where the plan of the cuts is kept; None: in a temporary file.

    Attributes:
        cuts: ``[pairs, 3]``, mapped: the item, its first token and the token after its last (bos and eos not counted).
        sizes: positions of each pair, patches and tokens.

    Raises:
        UserError: if no pair fits, or the streams do not belong together.
    """

    def __init__(self, strips, texts, columns, dictionary, max_patches, max_tokens, plans=None):
        same = np.array_equal(strips.item_starts, texts.item_starts)
        if not same or not np.array_equal(texts.row_starts, columns.row_starts):
            raise UserError(
                f"{strips.prefix}.bin and {texts.prefix}.bin do not belong together: render this split again"
            )
        self.strips, self.texts, self.columns = strips, texts, columns
        self.bos, self.eos = dictionary.bos(), dictionary.eos()
        self.patch_size, self.channels = patch_layout(strips.row_width)
        self.max_patches, self.max_tokens = max_patches, max_tokens - SPECIAL_TOKENS
        planned = PairPlan(dictionary.word_starts(), max_patches, self.max_tokens, self.patch_size)
        plan = (plans or Plans()).table(
            f"pair-{max_patches}-{max_tokens}",
            PAIR_FIELDS,
            lambda: map(self._plan_parts(planned), self._joined_parts()),
        )
        if not len(plan):
            raise UserError(f"{strips.prefix}: no text fits a pair of {max_patches} patches and {max_tokens} tokens")
        self.cuts, self.sizes = plan["cut"], smallest_integers(plan["size"], max_patches + max_tokens)

    def _joined_parts(self):
        """Ranges of parts of some ``_TOKENS_AT_ONCE`` tokens: cutting many small parts one by one takes long."""
        first = 0
        for part in range(1, self.texts.parts + 1):
            tokens = self.texts.row_starts[min(part + 1, self.texts.parts)] - self.texts.row_starts[first]
            if part == self.texts.parts or tokens > _TOKENS_AT_ONCE:
                yield range(first, part)
                first = part

    def _plan_parts(self, planned):
        def plan(parts):
            strip_sizes, text_sizes, tokens, columns = map(list, zip(*map(self._read_part, parts), strict=True))
            columns = columns[0] if len(parts) == 1 else np.concatenate(columns)
            tokens = tokens[0] if len(parts) == 1 else np.concatenate(tokens)
            cuts = planned.cut(np.concatenate(strip_sizes), np.concatenate(text_sizes), tokens, columns)
            cuts["cut"][:, 0] += np.uint32(self.texts.item_starts[parts[0]])
            return cuts

        return plan

    def _read_part(self, part):
        text_sizes = self.texts.part_sizes(part)
        if not np.array_equal(text_sizes, self.columns.part_sizes(part)):
            raise UserError(
                f"{self.texts.prefixes[part]}.bin and {self.columns.prefixes[part]}.bin do not belong together: "
                "render this split again"
            )
        return self.strips.part_sizes(part), text_sizes, self.texts.part_rows(part)[:, 0], self.columns.part_rows(part)

    def __len__(self):
        return len(self.cuts)

    def num_targets(self, indices):
        """The number of targets in these pairs: ``{"patch": int, "token": int}``; the first of each is none."""
        _, first, end = self.cuts[indices].astype(np.int64).T
        tokens = int((end - first + SPECIAL_TOKENS).sum())
        patches = int(self.sizes[indices].sum(dtype=np.int64)) - tokens
        return {"patch": patches - len(first), "token": tokens - len(first)}

    def __getitem__(self, i):
        item, first, end = map(int, self.cuts[i])
        tokens = self.texts[item]
        patches = self.strips[item]
        ends_document = self.strips.ends_document(item)
        if ends_document:
            patches = patches[:-1]
        covered = first == self.strips.starts_document(item) and end == len(tokens) - ends_document
        if not covered or len(patches) >= self.max_patches:
            patches = self._cut_strip(patches, *self._span(item, first, end))
        separator = torch.full_like(patches[:1], SEPARATOR)
        ends = tokens.new_tensor([self.bos]), tokens.new_tensor([self.eos])
        return {
            "id": i,
            "patches": torch.cat([patches, separator]),
            "tokens": torch.cat([ends[0], tokens[first:end], ends[1]]),
        }

    @property
    def supports_prefetch(self):
        """True: see :meth:`prefetch`."""
        return True

    def prefetch(self, indices):
        """Let the system read a ``range`` of pairs in one run for each stream, before they are asked for."""
        first, last = (int(self.cuts[i, 0]) for i in (indices[0], indices[-1]))
        for rows in (self.strips, self.texts, self.columns):
            rows.prefetch(rows.first_row(first), rows.first_row(last) + rows.size(last))

    def _span(self, item, first, end):
        """The columns between which these tokens are."""
        columns = self.columns[item].numpy()[first:end]
        return int(columns[:, 0].min()), int(columns[:, 1].max())

    def _cut_strip(self, patches, left, right):
        """The columns from *left* to *right* of a strip, as a strip of their own."""
        strip = unpatchify(patches[None], self.channels, self.patch_size)[0]  # [channels, rows, columns]
        shown = strip[:, :, left:right]
        length = strip_length(left, right, self.patch_size)
        # Text never starts before the margin, so the first pixel is background.
        cut = strip[:, :1, :1].repeat(1, self.patch_size, length * self.patch_size)
        cut[:, :, MARGIN : MARGIN + shown.shape[2]] = shown
        return patchify(cut[None])[0]
