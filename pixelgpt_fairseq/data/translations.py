"""Sources with their targets, as batches of like lengths; and sources alone, as they are typed."""

import numpy as np
import torch
from fairseq.data import FairseqDataset
from torch.nn.utils.rnn import pad_sequence

from pixelgpt_fairseq.data.batches import collate
from pixelgpt_fairseq.data.by_length import BatchedByLength
from pixelgpt_fairseq.data.classification import truncate_strip
from pixelgpt_fairseq.data.streams import PAIR, PIECES, PIXEL, TARGET, TEXT
from pixelgpt_fairseq.errors import UserError

SOURCE_MODALITIES = (PIXEL, TEXT)


class TranslationDataset(BatchedByLength, FairseqDataset):
    """Samples: a source, as strip or as tokens, and the tokens of its target.

    ``{"id", "modality", "patches": uint8 [n, 256 or 768], "tokens": int64 [m], "source_tokens": int, "target": int64
    [k], "source_text": str}``. A strip makes a pair (modality ``pair``) with the tokens ``<s> B </s>``; otherwise there
    are no patches, and the tokens are ``<s> A <s> B </s>``, of which the first *source_tokens* are the source. *target*
    is ``B </s>``, whole.

    Args:
        folder: DataFolder.
        split: its name.
        modality: of sources, ``pixel`` or ``text``.
        dictionary: TokenDictionary.
        target_pad: padding of ``target`` in batches.
        max_source: the longest source in patches or tokens; of a longer one the end is cut, and a strip gets the
            separator as its last patch.
        max_target: the most tokens of a target that the model reads, with bos and eos; of a longer one the end is cut.
        strip_patches: the width W of a pair's strip, at which the positions of its text begin.
        shuffle, seed: see :class:`~pixelgpt_fairseq.data.by_length.BatchedByLength`.

    Raises:
        UserError: if the split holds no translations, or its files do not belong together.
    """

    def __init__(
        self,
        folder,
        split,
        modality,
        dictionary,
        target_pad,
        max_source,
        max_target,
        strip_patches=None,
        shuffle=False,
        seed=1,
    ):
        super().__init__(shuffle, seed)
        manifest = folder.manifest(split)
        if not folder.has(split, TARGET):
            raise UserError(
                f"{folder.path}: split {split} holds no translations: make some with scripts/render_translation.py"
            )
        self.sources = folder.open(split, PIXEL, manifest["patch_values"]) if modality == PIXEL else None
        self.source_texts, self.targets = folder.open(split, PIECES), folder.open(split, TARGET)
        if modality == TEXT:
            self.sources = folder.open(split, TEXT)
        if not len(self.sources) == len(self.source_texts) == len(self.targets):
            raise UserError(f"{self.targets.prefix}.bin and {self.sources.prefix}.bin do not belong together")
        self.modality, self.pad, self.target_pad = modality, dictionary.pad(), target_pad
        self.max_source, self.max_target, self.strip_patches = max_source, max_target, strip_patches
        self.sizes = np.minimum(self.sources.sizes, max_source) + np.minimum(self.targets.sizes, max_target)

    def __len__(self):
        return len(self.sizes)

    def truncated(self):
        """How many sources and how many targets are cut."""
        return tuple(
            int((part.sizes > most).sum())
            for part, most in ((self.sources, self.max_source), (self.targets, self.max_target))
        )

    def __getitem__(self, i):
        target, source = self.targets[i], self.sources[i]
        sample = {"id": int(i), "target": target[1:], "tokens": target[: self.max_target], "source_tokens": 0}
        sample["source_text"] = self.source_texts[i].numpy().astype(np.uint8).tobytes().decode(errors="replace")
        if self.modality == PIXEL:
            return {**sample, "modality": PAIR, "patches": truncate_strip(source, self.max_source)}
        source = source[: self.max_source]
        tokens = torch.cat([source, sample["tokens"]])
        return {**sample, "modality": TEXT, "tokens": tokens, "source_tokens": len(source)}

    def collater(self, samples):
        """A batch, see :func:`~pixelgpt_fairseq.data.batches.collate`, with the keys of translations.

        ``source_tokens``: int64 ``[B]``. ``target``: ``[B, k]``, padded with *target_pad*. ``source_text``: strings.
        """
        batch = collate(samples, self.pad, self.strip_patches)
        if not batch:
            return {}
        batch["source_tokens"] = torch.tensor([sample["source_tokens"] for sample in samples])
        batch["target"] = pad_sequence(
            [sample["target"] for sample in samples], batch_first=True, padding_value=self.target_pad
        )
        batch["source_text"] = [sample["source_text"] for sample in samples]
        return batch


class TypedSources(BatchedByLength, FairseqDataset):
    """Sources without targets: what fairseq-interactive makes batches of.

    Args:
        sources: list of int64 ``[n]``.
        pad: their padding in batches.
    """

    def __init__(self, sources, pad):
        super().__init__()
        self.sources, self.pad = sources, pad
        self.sizes = np.array([len(source) for source in sources])

    def __len__(self):
        return len(self.sources)

    def __getitem__(self, i):
        return {"id": int(i), "source": self.sources[i]}

    def collater(self, samples):
        """``{"id": [B], "net_input": {"src_tokens": [B, n], "src_lengths": [B]}}``."""
        if not samples:
            return {}
        rows = [sample["source"] for sample in samples]
        net_input = {
            "src_tokens": pad_sequence(rows, batch_first=True, padding_value=self.pad),
            "src_lengths": torch.tensor([len(row) for row in rows]),
        }
        return {"id": torch.tensor([sample["id"] for sample in samples]), "net_input": net_input}
