"""Aligned image-text pairs: a strip and the tokens of the text that it shows, cut from the same document."""

import itertools

import numpy as np
import torch
from fairseq.data import FairseqDataset

from pixelgpt_fairseq.data.patches import patch_layout, patchify, unpatchify
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.rendering.renderer import MARGIN, SEPARATOR

_SPECIAL_TOKENS = 2  # bos and eos


class PairDataset(FairseqDataset):
    """Pairs of a strip and its tokens: samples ``{"id": int, "patches": uint8 [n, 256 or 768], "tokens": int64 [m]}``.

    A piece of text that fits both limits is a pair; a longer one is cut into as few parts as fit, of nearly equal
    length, between words (between tokens where a word is too long), and its strip is cut at the same places, from right
    to left where it is written so. Every strip ends with the separator, all tokens stand between bos and eos.

    Args:
        strips, texts, columns: the streams of a split (see :mod:`pixelgpt_fairseq.data.data_folder`) as IndexedRows of
            256 (rgb: 768), 1 and 2 elements.
        dictionary: TokenDictionary.
        max_patches: the longest strip, its separator included.
        max_tokens: the most tokens, bos and eos included.

    Raises:
        UserError: if no pair fits.
    """

    def __init__(self, strips, texts, columns, dictionary, max_patches, max_tokens):
        if len(strips) != len(texts) or not np.array_equal(texts.sizes, columns.sizes):
            raise UserError(
                f"{strips.prefix}.bin and {texts.prefix}.bin do not belong together: render this split again"
            )
        self.strips, self.texts, self.columns = strips, texts, columns
        self.bos, self.eos = dictionary.bos(), dictionary.eos()
        self.patch_size, self.channels = patch_layout(strips.row_width)
        self.ends_document = np.append(strips.sizes[1:] == 0, True)
        self.starts_document = np.append(True, strips.sizes[:-1] == 0)
        self.max_width = (max_patches - 1) * self.patch_size - 2 * MARGIN
        self.max_tokens = max_tokens - _SPECIAL_TOKENS
        self.cuts = self._plan(dictionary.word_starts(), max_patches)
        if not len(self.cuts):
            raise UserError(
                f"{strips.prefix}.bin: no text fits a pair of {max_patches} patches and {max_tokens} tokens"
            )
        self.sizes = self._sizes()

    def _plan(self, word_starts, max_patches):
        """int64 ``[pairs, 3]``: the item, its first token and the token after its last (bos and eos not counted in)."""
        first = self.starts_document.astype(np.int64)  # skips bos
        last = self.texts.sizes - self.ends_document  # skips eos
        strips = self.strips.sizes + ~self.ends_document  # with the separator
        whole = (self.strips.sizes > 0) & (strips <= max_patches) & (last - first <= self.max_tokens) & (last > first)
        plan = [np.stack([np.flatnonzero(whole), first[whole], last[whole]], axis=1)]
        for item in np.flatnonzero((self.strips.sizes > 0) & (last > first) & ~whole):
            begins = word_starts[self.texts[item].numpy()]
            plan.append(self._cut(item, first[item], last[item], begins))
        plan = np.concatenate(plan).astype(np.int64)
        return plan[np.lexsort((plan[:, 1], plan[:, 0]))]

    def _cut(self, item, first, last, word_begins):
        """Cut *item* into pairs of nearly equal length that fit both limits: int64 ``[pairs, 3]``."""
        left, right = self.columns[item].numpy().astype(np.int64).T
        if (np.diff(left[first:last]) < 0).any():
            cuts = self._cut_reordered(first, last, word_begins, left, right)
        else:
            # A single token wider than the strip cannot be shown: it is passed over.
            shown = np.flatnonzero(right[first:last] - left[first:last] <= self.max_width) + first
            runs = np.split(shown, np.flatnonzero(np.diff(shown) > 1) + 1)
            cuts = [
                cut for run in runs if len(run) for cut in self._cut_run(run[0], run[-1] + 1, word_begins, left, right)
            ]
        return np.array([(item, *cut) for cut in cuts], dtype=np.int64).reshape(-1, 3)

    def _fits(self, first, end, left, right):
        """Whether tokens, each of which can be shown, fit a pair together; elementwise for arrays of both."""
        return (end - first <= self.max_tokens) & (right[end - 1] - left[first] <= self.max_width)

    def _cut_run(self, first, last, word_begins, left, right):
        """Cut tokens that are written from left to right: a list of (first, end)."""
        places = np.unique([first, *(first + np.flatnonzero(word_begins[first:last])), last])
        # Within words that are too long, any token will do.
        for begin, end in itertools.pairwise(places):
            if not self._fits(begin, end, left, right):
                places = np.union1d(places, np.arange(begin, end))
        # Lengths are those of the pairs: tokens, and the patches that they cover.
        columns = np.append(left[places[:-1]], right[last - 1]) - left[first]
        lengths, width = places - first + columns / self.patch_size, columns[-1]
        fewest = max(-(-(last - first) // self.max_tokens), -(-width // self.max_width))
        for parts in range(fewest, len(places)):
            wanted = lengths[-1] * np.arange(1, parts) / parts
            after = np.searchsorted(lengths, wanted)
            nearest = after - (wanted - lengths[after - 1] < lengths[after] - wanted)
            ends = np.unique(np.concatenate([[first], places[nearest], [last]]))
            if self._fits(ends[:-1], ends[1:], left, right).all():
                break
        else:
            ends = places
        return list(itertools.pairwise(ends))

    def _cut_reordered(self, first, last, word_begins, left, right):
        """Like :meth:`_cut_run`, for an item in which some text is written from right to left.

        The tokens of a pair must occupy a part of the strip that no other token reaches into. Words for which no such
        part exists are skipped.
        """
        words = np.append(np.flatnonzero(word_begins[:last]), last)
        everything = np.arange(len(left))
        cuts = []
        begin = first
        while begin < last:
            ends = words[(words > begin) & (words <= begin + self.max_tokens)]
            width = (right[begin:last] - left[begin:last]).sum()
            parts = max(-(-(last - begin) // self.max_tokens), -(-width // self.max_width), 1)
            wanted = begin + (last - begin) / parts
            for end in ends[np.argsort(np.abs(ends - wanted), kind="stable")]:
                inside = (everything >= begin) & (everything < end)
                low, high = left[inside].min(), right[inside].max()
                others = ~inside & (everything >= first) & (everything < last)
                if high - low <= self.max_width and not ((right > low) & (left < high) & others).any():
                    cuts.append((begin, end))
                    begin = end
                    break
            else:
                begin = words[words > begin][0]
        return cuts

    def _sizes(self):
        """Positions of each pair: patches and tokens."""
        item, first, end = self.cuts.T
        patches = self.strips.sizes[item] + ~self.ends_document[item]
        cut = (first != self.starts_document[item]) | (end != self.texts.sizes[item] - self.ends_document[item])
        for i in np.flatnonzero(cut):
            patches[i] = self._strip_length(*self._span(*self.cuts[i])) + 1
        return patches + end - first + _SPECIAL_TOKENS

    def _span(self, item, first, end):
        """The columns between which these tokens are."""
        columns = self.columns[item].numpy()[first:end]
        return int(columns[:, 0].min()), int(columns[:, 1].max())

    def _strip_length(self, left, right):
        """Patches of the text between two columns, drawn alone, the separator not counted."""
        return -(-(right - left + 2 * MARGIN) // self.patch_size)

    def __len__(self):
        return len(self.cuts)

    def num_targets(self, indices):
        """The targets of all these pairs together: ``{"patch": int, "token": int}``. The first of each is none."""
        _, first, end = self.cuts[indices].T
        tokens = end - first + _SPECIAL_TOKENS
        return {"patch": int((self.sizes[indices] - tokens - 1).sum()), "token": int((tokens - 1).sum())}

    def __getitem__(self, i):
        item, first, end = self.cuts[i]
        tokens = self.texts[item]
        patches = self.strips[item]
        if self.ends_document[item]:
            patches = patches[:-1]
        if first != self.starts_document[item] or end != len(tokens) - self.ends_document[item]:
            patches = self._cut_strip(patches, *self._span(item, first, end))
        separator = torch.full_like(patches[:1], SEPARATOR)
        ends = tokens.new_tensor([self.bos]), tokens.new_tensor([self.eos])
        return {
            "id": i,
            "patches": torch.cat([patches, separator]),
            "tokens": torch.cat([ends[0], tokens[first:end], ends[1]]),
        }

    def _cut_strip(self, patches, left, right):
        """The columns from *left* to *right* of a strip, as a strip of their own."""
        strip = unpatchify(patches[None], self.channels, self.patch_size)[0]  # [channels, rows, columns]
        shown = strip[:, :, left:right]
        length = self._strip_length(left, right)
        # Text never begins before the margin: the first pixel is background.
        cut = strip[:, :1, :1].repeat(1, self.patch_size, length * self.patch_size)
        cut[:, :, MARGIN : MARGIN + shown.shape[2]] = shown
        return patchify(cut[None])[0]
