"""Which pairs a corpus is cut into: pieces of text that fit a pair, and parts of those that do not."""

import itertools

import numpy as np

from pixelgpt_fairseq.rendering.renderer import MARGIN

# A row of a plan: the item, its first token, the token after its last (bos and eos not counted in), and the positions.
PAIR_FIELDS = np.dtype([("cut", "<u4", 3), ("size", "<u4")])
SPECIAL_TOKENS = 2  # bos and eos
_TOKENS_AT_ONCE = 1 << 16
_ITEMS_AT_ONCE = 1 << 16
_MOST_ATTEMPTS = 6  # numbers of parts that are tried for all items at once; an item that needs more is cut by itself
_LONGEST_WORD = 64  # tokens; an item with a longer word is cut by itself


def strip_length(left, right, patch_size):
    """Patches of the text between two columns, drawn alone, the separator not counted; ints or arrays."""
    return -(-(right - left + 2 * MARGIN) // patch_size)


class PairPlan:
    """Cuts the items of a corpus into pairs.

    A piece of text that fits both limits is a pair; a longer one is cut into as few parts as fit, of nearly equal
    length, between words (between tokens where a word is too long).

    Args:
        word_starts: bool ``[vocabulary]``: the tokens that begin a word.
        max_patches: the longest strip, its separator included.
        max_tokens: the most tokens, bos and eos not counted in.
        patch_size: pixels.
    """

    def __init__(self, word_starts, max_patches, max_tokens, patch_size):
        self.word_starts, self.max_patches, self.max_tokens = word_starts, max_patches, max_tokens
        self.patch_size, self.max_width = patch_size, (max_patches - 1) * patch_size - 2 * MARGIN

    def cut(self, strip_sizes, text_sizes, tokens, columns):
        """Cut whole documents.

        Args:
            strip_sizes, text_sizes: int64 ``[items]``: patches and tokens of each item; an empty one ends a document.
            tokens: ``[m]``: the tokens of all items.
            columns: ``[m, 2]``: the first column of each token, and the one after its last.

        Returns:
            array of ``PAIR_FIELDS``, the items counted from 0, in their order.
        """
        ends_document = np.append(strip_sizes[1:] == 0, True)
        offsets = np.cumsum(text_sizes) - text_sizes
        begin = offsets + np.append(True, strip_sizes[:-1] == 0)[: len(offsets)]  # skips bos
        end = offsets + text_sizes - ends_document[: len(offsets)]  # skips eos
        strips = strip_sizes + ~ends_document[: len(offsets)]  # with the separator
        used = (strip_sizes > 0) & (end > begin)
        whole = used & (strips <= self.max_patches) & (end - begin <= self.max_tokens)
        items = np.flatnonzero(whole)
        found = [(items, begin[items], end[items], strips[items])]
        odd = self._odd_tokens(columns)
        for start in range(0, len(strips), _ITEMS_AT_ONCE):
            items = start + np.flatnonzero((used & ~whole)[start : start + _ITEMS_AT_ONCE])
            # After its first token, an ordinary item has none that is odd.
            plain = np.searchsorted(odd, begin[items], side="right") == np.searchsorted(odd, end[items])
            plain &= columns[begin[items], 1].astype(np.int64) - columns[begin[items], 0] <= self.max_width
            cut, left_over = self._cut_all(items[plain], begin, end, tokens, columns)
            found += cut
            for item in np.sort(np.concatenate([items[~plain], left_over])):
                found += self._cut_one(item, begin[item], end[item], tokens, columns)
        items, first, last, patches = (np.concatenate(column) for column in zip(*found, strict=True))
        order = np.argsort(items, kind="stable")  # the pairs of an item are in their order
        items = items[order]
        plan = np.empty(len(items), dtype=PAIR_FIELDS)
        plan["cut"] = np.stack([items, first[order] - offsets[items], last[order] - offsets[items]], axis=1)
        plan["size"] = patches[order] + last[order] - first[order] + SPECIAL_TOKENS
        return plan

    def _odd_tokens(self, columns):
        """Tokens that are wider than a strip, or that stand left of the one before: int64 ``[n]``, sorted."""
        odd = []
        for start in range(0, len(columns), _TOKENS_AT_ONCE):
            left, right = np.ascontiguousarray(columns[max(0, start - 1) : start + _TOKENS_AT_ONCE].T)
            before = (left[1:] < left[:-1]) | (right[1:] < right[:-1])
            if start == 0:
                before = np.append(False, before)
            left, right = (side[len(side) - len(before) :] for side in (left, right))
            odd.append(start + np.flatnonzero(before | (right - left > self.max_width)))
        return np.concatenate(odd) if odd else np.empty(0, dtype=np.int64)

    def _cut_all(self, items, begin, end, tokens, columns):
        """Cut items that are written from left to right, all at once.

        Returns:
            (list of (items, first, last, patches), items that are left over)
        """
        begin, end = begin[items], end[items]
        left = columns[begin, 0].astype(np.int64)
        width = columns[end - 1, 1].astype(np.int64) - left
        # Lengths are those of the pairs: tokens, and the patches that they cover; here in pixels.
        length = (end - begin) * self.patch_size + width
        parts = np.maximum(-(-(end - begin) // self.max_tokens), -(-width // self.max_width))
        parts = np.maximum(parts, 1)
        found, pending, failed = [], np.arange(len(items)), []
        for _ in range(_MOST_ATTEMPTS):
            if not len(pending):
                break
            number = parts[pending]
            owner = np.repeat(pending, number - 1)
            nth = np.arange(1, len(owner) + 1) - np.repeat(np.cumsum(number - 1) - (number - 1), number - 1)
            wanted = length[owner] * nth / parts[owner]
            places, known = self._nearest_places(
                wanted, begin[owner], end[owner], left[owner], length[owner], tokens, columns
            )
            failed.append(np.unique(owner[~known]))
            # The parts of an item lie between its begin, its places and its end.
            starts = np.cumsum(number) - number
            first, last = np.empty(number.sum(), dtype=np.int64), np.empty(number.sum(), dtype=np.int64)
            inner = np.ones(len(first), dtype=bool)
            inner[starts] = False
            first[starts], first[inner] = begin[pending], places
            inner = np.ones(len(last), dtype=bool)
            inner[starts + number - 1] = False
            last[starts + number - 1], last[inner] = end[pending], places
            used = last > first
            from_column = columns[first, 0].astype(np.int64)
            to_column = columns[last - 1, 1].astype(np.int64)
            fits = (last - first <= self.max_tokens) & (to_column - from_column <= self.max_width)
            done = np.logical_and.reduceat(fits | ~used, starts)
            done &= ~np.isin(pending, failed[-1])
            chosen = used & np.repeat(done, number)
            patches = strip_length(from_column, to_column, self.patch_size) + 1
            found.append((items[np.repeat(pending, number)[chosen]], first[chosen], last[chosen], patches[chosen]))
            pending = pending[~done & ~np.isin(pending, failed[-1])]
            parts[pending] += 1
        return found, items[np.concatenate([pending, *failed])]

    def _nearest_places(self, wanted, begin, end, left, length, tokens, columns):
        """Where a word begins, or the text ends, nearest to the *wanted* lengths; all arrays ``[n]``.

        Returns:
            (int64 ``[n]``: tokens; bool ``[n]``: whether one was found within ``_LONGEST_WORD``)
        """

        def length_at(token):
            column = columns[np.minimum(token, len(columns) - 1), 0].astype(np.int64)
            return np.where(token == end, length, (token - begin) * self.patch_size + column - left)

        low, high = begin.copy(), end.copy()  # the first token at the wanted length or after it is in this range
        while (low < high).any():
            middle = (low + high) // 2
            reached = length_at(middle) >= wanted
            low, high = np.where(reached | (low == high), low, middle + 1), np.where(reached, middle, high)
        after, before = low, np.maximum(low - 1, begin)
        for place, step, limit in ((after, 1, end), (before, -1, begin)):
            moving = np.arange(len(place))
            for _ in range(_LONGEST_WORD):
                moving = moving[place[moving] != limit[moving]]
                moving = moving[~self.word_starts[tokens[place[moving]]]]
                if not len(moving):
                    break
                place[moving] += step
        known = np.ones(len(wanted), dtype=bool)
        for place, limit in ((after, end), (before, begin)):
            inside = np.flatnonzero(place != limit)
            known[inside] &= self.word_starts[tokens[place[inside]]]
        nearer = wanted - length_at(before) < length_at(after) - wanted
        return np.where(nearer, before, after), known

    def _cut_one(self, item, begin, end, tokens, columns):
        """Cut one item, however it is written: a list as :meth:`_cut_all` returns."""
        left, right = columns[begin:end].astype(np.int64).T
        word_begins = self.word_starts[tokens[begin:end]]
        if (np.diff(left) < 0).any():
            cuts = self._cut_reordered(word_begins, left, right)
        else:
            # A single token wider than the strip cannot be shown: it is passed over.
            shown = np.flatnonzero(right - left <= self.max_width)
            runs = np.split(shown, np.flatnonzero(np.diff(shown) > 1) + 1)
            cuts = [
                cut for run in runs if len(run) for cut in self._cut_run(run[0], run[-1] + 1, word_begins, left, right)
            ]
        if not cuts:
            return []
        first, last = np.array(cuts, dtype=np.int64).T
        spans = np.array([(left[a:b].min(), right[a:b].max()) for a, b in cuts])
        patches = strip_length(*spans.T, self.patch_size) + 1
        return [(np.full(len(cuts), item), begin + first, begin + last, patches)]

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

    def _cut_reordered(self, word_begins, left, right):
        """Like :meth:`_cut_run`, for an item in which some text is written from right to left.

        The tokens of a pair must occupy a part of the strip that no other token reaches into. Words for which no such
        part exists are skipped.
        """
        last = len(left)
        words = np.append(np.flatnonzero(word_begins), last)
        everything = np.arange(last)
        cuts = []
        begin = 0
        while begin < last:
            ends = words[(words > begin) & (words <= begin + self.max_tokens)]
            width = (right[begin:] - left[begin:]).sum()
            parts = max(-(-(last - begin) // self.max_tokens), -(-width // self.max_width), 1)
            wanted = begin + (last - begin) / parts
            for end in ends[np.argsort(np.abs(ends - wanted), kind="stable")]:
                inside = (everything >= begin) & (everything < end)
                low, high = left[inside].min(), right[inside].max()
                others = ~inside
                if high - low <= self.max_width and not ((right > low) & (left < high) & others).any():
                    cuts.append((begin, end))
                    begin = end
                    break
            else:
                begin = words[words > begin][0]
        return cuts
