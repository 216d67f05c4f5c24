"""The released size against plain loops in double precision: minutes and gigabytes, so only where it is asked for.

PIXELGPT_RELEASED_SIZE=1 python -m pytest -s tests/models/test_released_size.py
"""

import os

import pytest
import torch
from naive import naive_hidden

from pixelgpt_fairseq.checkpoints.released import load_released, save_released
from pixelgpt_fairseq.models import PixelGPTConfig, PixelGPTModel

pytestmark = pytest.mark.skipif(
    not os.environ.get("PIXELGPT_RELEASED_SIZE"), reason="slow: set PIXELGPT_RELEASED_SIZE=1 to run it"
)
# bfloat16 keeps 8 bits: what 24 layers make of it, as a share of the outputs' spread.
BF16_SHARE = 0.05


@torch.no_grad()
def test_outputs_of_the_released_size(tmp_path):
    torch.manual_seed(0)
    save_released(PixelGPTModel(PixelGPTConfig(), vocab_size=32000), tmp_path / "released")
    model = load_released(tmp_path / "released")
    assert sum(parameter.numel() for parameter in model.parameters()) == 350_277_632
    strips = torch.rand(1, 3, 16, 16 * 24)
    tokens = torch.randint(3, 32000, (1, 16))
    inputs = {"pixel": (strips, None), "text": (None, tokens), "pair": (strips, tokens)}
    heads = (model.lm_pixel_head.weight.double(), model.lm_token_head.weight.double())
    expected = {}
    for name, (patches, ids) in inputs.items():
        hidden = naive_hidden(model, strips=patches, tokens=ids)
        parts = [24] * (patches is not None) + [16] * (ids is not None)
        used = [head for head, given in zip(heads, (patches, ids), strict=True) if given is not None]
        expected[name] = [part @ head.T for part, head in zip(hidden.split(parts, dim=1), used, strict=True)]
    for dtype, limit in ((torch.float32, 1e-4), (torch.bfloat16, None)):
        model = model.to(dtype)
        for name, (patches, ids) in inputs.items():
            output = model(patches=patches, tokens=ids)
            found = [part for part in (output.patch_predictions, output.token_logits) if part is not None]
            for ours, theirs in zip(found, expected[name], strict=True):
                worst, spread = float((ours.double() - theirs).abs().max()), float(theirs.std())
                print(
                    f"{name}, {dtype}: largest difference {worst:.2e}, standard deviation of the outputs {spread:.2f}"
                )
                assert worst <= (limit if limit else 5 * BF16_SHARE * spread)
                assert float((ours.double() - theirs).std()) <= (limit if limit else BF16_SHARE * spread)
