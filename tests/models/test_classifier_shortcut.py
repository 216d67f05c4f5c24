"""A classifier's last layer computes no position but the one that is read: nothing that it learns from changes."""

import pytest
import torch

from pixelgpt_fairseq.models import PixelGPTConfig, PixelGPTModel

SIZES = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96}
torch.manual_seed(0)
PATCHES = torch.randint(0, 256, (3, 7, 256), dtype=torch.uint8)
TOKENS = torch.randint(0, 50, (3, 5))
PATCH_MASK = torch.arange(7) < torch.tensor([[7], [3], [5]])
TOKEN_MASK = torch.arange(5) < torch.tensor([[2], [5], [4]])
BATCHES = {
    "equal strips": {"patches": PATCHES},
    "strips": {"patches": PATCHES, "patch_mask": PATCH_MASK},
    "text": {"tokens": TOKENS, "token_mask": TOKEN_MASK},
    "pairs": {"patches": PATCHES, "patch_mask": PATCH_MASK, "tokens": TOKENS, "token_mask": TOKEN_MASK},
}


@pytest.mark.parametrize("checkpoint_activations", [False, True])
@pytest.mark.parametrize("key_value_heads", [2, 4])
@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES.keys())
def test_logits_and_gradients_are_those_of_all_positions(batch, key_value_heads, checkpoint_activations, monkeypatch):
    torch.manual_seed(2)
    config = PixelGPTConfig(
        **SIZES,
        num_key_value_heads=key_value_heads,
        checkpoint_activations=checkpoint_activations,
        initializer_range=0.2,
    )
    model = PixelGPTModel(config, vocab_size=50, num_labels=3).train()
    decode = model.model.forward

    def everywhere(x, positions, only):
        return decode(x, positions)[torch.arange(len(only)), only].unsqueeze(1)

    def run():
        model.zero_grad()
        logits = model(**batch).class_logits
        logits.square().sum().backward()
        return logits, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    logits, gradients = run()
    monkeypatch.setattr(model.model, "forward", everywhere)
    expected_logits, expected_gradients = run()
    torch.testing.assert_close(logits, expected_logits, rtol=1e-5, atol=1e-5)
    assert gradients.keys() == expected_gradients.keys()
    for name, gradient in gradients.items():
        scale = expected_gradients[name].abs().max()
        torch.testing.assert_close(gradient, expected_gradients[name], rtol=1e-4, atol=1e-5 * float(scale), msg=name)
