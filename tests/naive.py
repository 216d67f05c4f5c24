"""The model once more, as plainly as possible: an independent statement of what the fast one must compute."""

import math

import torch

from pixelgpt_fairseq.models import PixelGPTConfig, PixelGPTModel

CONFIG = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
}
VOCABULARY = 50


def small_model(vocab_size=VOCABULARY, uses_patches=True, num_labels=None, data_settings=None, **options):
    """A model of a few thousand parameters with weights far from their initial values, in eval mode."""
    torch.manual_seed(1)
    config = PixelGPTConfig(**(CONFIG | options))
    model = PixelGPTModel(config, uses_patches, vocab_size, num_labels, data_settings).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model


def naive_hidden(model, strips=None, patch_mask=None, tokens=None, token_mask=None, strip_patches=None):
    """Final hidden states ``[B, Lp + Lt, H]`` from float strips and ids: explicit mask, loops, no shared work."""
    weights, config = {name: tensor.double() for name, tensor in model.state_dict().items()}, model.config
    parts, positions, in_use = [], [], []
    if strips is not None:
        name = "model.embed_patches.patch_embeddings."
        columns = torch.nn.functional.conv2d(
            strips.double(), weights[name + "projection.weight"], weights[name + "projection.bias"], stride=16
        )
        columns = columns.flatten(2).transpose(1, 2)
        mean, variance = columns.mean(-1, keepdim=True), columns.var(-1, keepdim=True, unbiased=False)
        columns = (columns - mean) / (variance + 1e-5).sqrt()
        parts.append(columns * weights[name + "norm.weight"] + weights[name + "norm.bias"])
        positions += range(columns.shape[1])
        in_use.append(torch.ones(columns.shape[:2]) if patch_mask is None else patch_mask)
    if tokens is not None:
        start = 0 if strips is None else strip_patches if strip_patches is not None else strips.shape[-1] // 16
        parts.append(weights["model.embed_tokens.weight"][tokens])
        positions += range(start, start + tokens.shape[1])
        in_use.append(torch.ones(tokens.shape) if token_mask is None else token_mask)
    x, in_use = torch.cat(parts, 1), torch.cat(in_use, 1).bool()

    def norm(x, name):
        return x / (x.pow(2).mean(-1, keepdim=True) + config.rms_norm_eps).sqrt() * weights[name + ".weight"]

    head_dim = config.hidden_size // config.num_attention_heads
    group = config.num_attention_heads // config.num_key_value_heads

    def turn(x):  # [B, L, D], pairs (i, i + D / 2)
        turned = torch.empty_like(x)
        for pair in range(head_dim // 2):
            angles = torch.tensor([p * config.rope_theta ** (-2 * pair / head_dim) for p in positions]).double()
            a, b = x[..., pair], x[..., pair + head_dim // 2]
            turned[..., pair] = a * angles.cos() - b * angles.sin()
            turned[..., pair + head_dim // 2] = b * angles.cos() + a * angles.sin()
        return turned

    length = x.shape[1]
    visible = torch.ones(length, length).tril().bool() & in_use[:, None, :]
    for layer in range(config.num_hidden_layers):
        name = f"model.layers.{layer}."
        y = norm(x, name + "input_layernorm")
        q, k, v = (y @ weights[f"{name}self_attn.{kind}_proj.weight"].T for kind in "qkv")
        heads = []
        for head in range(config.num_attention_heads):
            mine = slice(head * head_dim, (head + 1) * head_dim)
            shared = slice(head // group * head_dim, (head // group + 1) * head_dim)
            scores = turn(q[..., mine]) @ turn(k[..., shared]).transpose(1, 2) / math.sqrt(head_dim)
            scores = scores.masked_fill(~visible, -1e9)
            heads.append(scores.softmax(-1) @ v[..., shared])
        x = x + torch.cat(heads, -1) @ weights[name + "self_attn.o_proj.weight"].T
        y = norm(x, name + "post_attention_layernorm")
        gate, up = (y @ weights[f"{name}mlp.{kind}_proj.weight"].T for kind in ("gate", "up"))
        x = x + (gate * gate.sigmoid() * up) @ weights[name + "mlp.down_proj.weight"].T
    return norm(x, "model.norm")
