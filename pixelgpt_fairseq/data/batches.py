"""Collates examples into batches, padded to the longest example; pixels stay uint8."""

import numpy as np
import torch
from fairseq.data import data_utils


def collate(samples, pad=None, strip_patches=None):
    """Merge examples of one modality into a batch, as fairseq's trainer wants it.

    Args:
        samples: dictionaries with ``id``, ``modality``, and ``patches`` (uint8 ``[n, 256]``), ``tokens`` (int64
            ``[m]``), or both; ``label``, if there is one: an int (a class) or a float (a score).
        pad: token id of padding.
        strip_patches: the width W of a pair's strip, in patches.

    Returns:
        dict: ``modality``, ``id``, ``nsentences``, ``ntokens`` (positions in use), ``positions`` (arguments of
        :func:`~pixelgpt_fairseq.models.flops.training_flops`) and ``net_input``, those of
        :meth:`~pixelgpt_fairseq.models.pixelgpt.PixelGPTModel.forward`: patches and tokens with bool masks, which are
        left out where nothing is padded, and ``longest_row``, the positions of the longest row: it is known here, and
        reading it off a mask would make the host wait for the GPU. With labels also ``labels`` ``[B]``, int64 or
        float64. ``{}`` for no samples.
    """
    if not samples:
        return {}
    net_input, row_lengths = {}, 0
    for key, padding in (("patches", 255), ("tokens", pad)):
        if key not in samples[0]:
            continue
        rows = [sample[key] for sample in samples]
        lengths = torch.tensor([len(row) for row in rows])
        row_lengths = row_lengths + lengths
        net_input[key] = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=padding)
        if lengths.min() < lengths.max():
            mask_name = "patch_mask" if key == "patches" else "token_mask"
            net_input[mask_name] = ~data_utils.lengths_to_padding_mask(lengths)
    if len(net_input.keys() & {"patches", "tokens"}) == 2:
        net_input["strip_patches"] = strip_patches
    net_input["longest_row"] = int(row_lengths.max())
    batch = {
        "modality": samples[0]["modality"],
        "id": torch.tensor([sample["id"] for sample in samples]),
        "nsentences": len(samples),
        "ntokens": int(row_lengths.sum()),
        "positions": {
            "patches": sum(len(sample["patches"]) for sample in samples if "patches" in sample),
            "tokens": sum(len(sample["tokens"]) for sample in samples if "tokens" in sample),
            "squares": int((row_lengths**2).sum()),
            "rows": len(samples),
        },
        "net_input": net_input,
    }
    if "label" in samples[0]:
        batch["labels"] = torch.from_numpy(np.array([sample["label"] for sample in samples]))
    return batch
