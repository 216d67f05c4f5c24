"""The decoder, as in LLaMA: pre-norm layers of grouped-query attention and SwiGLU, with rotary positions.

Shapes in the comments: B rows, L positions in a row, H hidden size, N query heads, K key-value heads, D = H / N.
Module names give the tensor names of the released checkpoints, so that loading needs no renaming.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from pixelgpt_fairseq.models.cache import KeyValueCache, LayerCache


class Projection(nn.Linear):
    """A linear layer without bias.

    PyTorch keeps an absent bias as a parameter that is None; fairseq takes those of all layers for one shared parameter
    and logs a line for each.
    """

    def __init__(self, in_features: int, out_features: int):
        super().__init__(in_features, out_features, bias=False)
        del self._parameters["bias"]
        self.bias = None


class RMSNorm(nn.Module):
    """Divide by the root mean square over the last dimension, computed in float32, then scale by a weight."""

    def __init__(self, hidden_size: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(hidden_size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """``[..., H]`` to the same shape and dtype."""
        if x.dtype == torch.float32:
            return F.rms_norm(x, self.weight.shape, self.weight, self.eps)
        # In half precision the weight comes after the rounding, as in the published models.
        return self.weight * F.rms_norm(x, self.weight.shape, None, self.eps)


def rotary_tables(positions: Tensor, head_dim: int, theta: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosines and signed sines that :func:`rotate` needs, for integer positions ``[L]`` or ``[B, L]``.

    Computed in float32 at every forward (they cost nothing beside a layer), so that no cast to half precision and no
    state dict ever touches them.

    Returns:
        two tensors ``[L, 1, D]`` or ``[B, L, 1, D]`` of *dtype*.
    """
    exponents = torch.arange(0, head_dim, 2, dtype=torch.float32, device=positions.device) / head_dim
    angles = positions.float().unsqueeze(-1) * (1.0 / theta**exponents)  # [..., L, D / 2]
    cos, sin = angles.cos(), angles.sin()
    cos, sin = torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1)
    return cos.unsqueeze(-2).to(dtype), sin.unsqueeze(-2).to(dtype)


def rotate(x: Tensor, tables: tuple[Tensor, Tensor]) -> Tensor:
    """Turn every pair (x[i], x[i + D / 2]) of ``[B, L, heads, D]`` by its position's angle (half-split pairs)."""
    cos, sin = tables
    # Rolling by half a head and negating the first half (the sign stands in the sines) is LLaMA's rotate_half.
    return x * cos + x.roll(x.shape[-1] // 2, dims=-1) * sin


def take(x: Tensor, only: Tensor) -> Tensor:
    """Column ``only[b]`` of row b: ``[B, L, ...]`` to ``[B, 1, ...]``."""
    return x[torch.arange(only.shape[0], device=only.device), only].unsqueeze(1)


def needs_equal_heads(q: Tensor, masked: bool) -> bool:
    """Whether keys and values must be repeated for every query head, so that a kernel without scores takes them.

    On a GPU no such kernel shares key-value heads in float32 or with a mask: there PyTorch would fall back to the math
    kernel, which stores all scores (7 times the memory and 2.5 times the time at 1,024 positions). Otherwise, and on
    the CPU, there are kernels that share them, and they are the faster ones.
    """
    return q.is_cuda and (masked or q.dtype == torch.float32)


def trains_faster_in_float32(k: Tensor) -> bool:
    """Whether attention to keys ``[B, L, K, D]`` in half precision should be computed in float32.

    It should on a CPU, in training, in short rows.

    The CPU's backward kernel for bf16 takes 68 ms for 128 rows of 20 positions where that for float32 takes 12, three
    times as long at 64 positions, and about as long from 256 on (torch 2.13, a core with AMX).
    """
    is_half = k.dtype in (torch.bfloat16, torch.float16)
    return is_half and k.device.type == "cpu" and k.requires_grad and k.shape[1] < 256


def attend_to_cache(q: Tensor, keys: Tensor, values: Tensor, visible: Tensor | None) -> Tensor:
    """Attention of new positions ``[B, n, N, D]`` to all that is cached, ``[B, K, S, D]``, themselves included.

    The query heads that share a key-value head stand in for so many positions, so no kernel has to repeat the keys.

    Args:
        visible: bool ``[B or 1, 1, n, S]``; None: everything.

    Returns:
        ``[B, n, N * D]``.
    """
    shared = keys.shape[1]
    columns, queries_per_head = q.shape[1], q.shape[2] // shared
    q = q.unflatten(2, (shared, -1)).transpose(1, 2).flatten(2, 3)  # [B, K, n * N / K, D]
    if visible is not None and queries_per_head > 1:
        visible = visible.repeat_interleave(queries_per_head, dim=2)
    attended = F.scaled_dot_product_attention(q, keys, values, attn_mask=visible)
    return attended.unflatten(2, (columns, -1)).transpose(1, 2).flatten(2)


class Attention(nn.Module):
    """Causal self-attention in which N query heads share K key-value heads; no biases."""

    def __init__(self, hidden_size: int, num_heads: int, num_key_value_heads: int, dropout: float = 0.0):
        super().__init__()
        self.num_heads, self.num_key_value_heads = num_heads, num_key_value_heads
        self.dropout = dropout
        head_dim = hidden_size // num_heads
        self.q_proj = Projection(hidden_size, num_heads * head_dim)
        self.k_proj = Projection(hidden_size, num_key_value_heads * head_dim)
        self.v_proj = Projection(hidden_size, num_key_value_heads * head_dim)
        self.o_proj = Projection(num_heads * head_dim, hidden_size)

    def forward(
        self,
        x: Tensor,
        rotary: tuple[Tensor, Tensor],
        only: Tensor | None = None,
        cache: LayerCache | None = None,
    ) -> Tensor:
        """``[B, L, H]`` to the same shape; *rotary* from :func:`rotary_tables`; for the others see :class:`Decoder`."""
        asked = x if only is None else take(x, only)
        q = self.q_proj(asked).unflatten(-1, (self.num_heads, -1))  # [B, L or 1, N, D]
        k = self.k_proj(x).unflatten(-1, (self.num_key_value_heads, -1))  # [B, L, K, D]
        v = self.v_proj(x).unflatten(-1, (self.num_key_value_heads, -1))
        if only is None:
            q = rotate(q, rotary)
        else:  # tables [L, 1, D] serve all rows, [B, L, 1, D] one each
            q = rotate(q, tuple(t[only].unsqueeze(1) if t.dim() == 3 else take(t, only) for t in rotary))
        k = rotate(k, rotary)
        if cache is not None:
            continued = not cache.empty
            keys, values = cache.append(k, v)
            if continued:
                return self.o_proj(attend_to_cache(q, keys, values, cache.whole.visible))
        visible = None
        if only is not None:
            visible = (torch.arange(x.shape[1], device=x.device) <= only.unsqueeze(1))[:, None, None]  # [B, 1, 1, L]
        queries_per_head = self.num_heads // self.num_key_value_heads
        if queries_per_head > 1 and needs_equal_heads(q, visible is not None):
            k, v = (part.repeat_interleave(queries_per_head, dim=2) for part in (k, v))
        dtype = q.dtype  # under autocast not that of x
        if trains_faster_in_float32(k):
            q, k, v = q.float(), k.float(), v.float()
        # Causal and, but for *only*, never a mask: the fast kernels take no other. Padding stands at the end of a row
        # (see pixelgpt.py).
        attended = F.scaled_dot_product_attention(
            q.transpose(1, 2),
            k.transpose(1, 2),
            v.transpose(1, 2),
            attn_mask=visible,
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=only is None,
            enable_gqa=q.shape[2] != k.shape[2],
        )  # [B, N, L or 1, D]
        return self.o_proj(attended.transpose(1, 2).flatten(-2).to(dtype))


class SwiGLU(nn.Module):
    """The feed-forward block: ``down(silu(gate(x)) * up(x))``, no biases."""

    def __init__(self, hidden_size: int, intermediate_size: int):
        super().__init__()
        self.gate_proj = Projection(hidden_size, intermediate_size)
        self.up_proj = Projection(hidden_size, intermediate_size)
        self.down_proj = Projection(intermediate_size, hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, L, H]`` to the same shape."""
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class DecoderLayer(nn.Module):
    """Attention, then SwiGLU, each reading a normalized copy of the residual stream and adding to it."""

    def __init__(self, config):
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(
            config.hidden_size, config.num_attention_heads, config.num_key_value_heads, config.attention_dropout
        )
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = SwiGLU(config.hidden_size, config.intermediate_size)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        x: Tensor,
        rotary: tuple[Tensor, Tensor],
        only: Tensor | None = None,
        cache: LayerCache | None = None,
    ) -> Tensor:
        """``[B, L, H]`` to the same shape; for *only* and *cache* see :class:`Decoder`."""
        attended = self.self_attn(self.input_layernorm(x), rotary, only, cache)
        x = (x if only is None else take(x, only)) + self.dropout(attended)
        return x + self.dropout(self.mlp(self.post_attention_layernorm(x)))


class Decoder(nn.Module):
    """The stack of layers and its final norm.

    Args:
        config: any object with the sizes of :class:`~pixelgpt_fairseq.models.architectures.PixelGPTConfig`.
    """

    def __init__(self, config):
        super().__init__()
        self.head_dim = config.hidden_size // config.num_attention_heads
        self.rope_theta = config.rope_theta
        self.checkpoint_activations = config.checkpoint_activations
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(
        self, x: Tensor, positions: Tensor, only: Tensor | None = None, cache: KeyValueCache | None = None
    ) -> Tensor:
        """Run embedded rows through the layers; position i attends to 0..i of its own row.

        Args:
            x: embeddings ``[B, L, H]``; padding, if any, at the end of a row.
            positions: integer rotary positions, ``[L]`` for all rows alike or ``[B, L]``.
            only: int64 ``[B]``, the one column of each row that is wanted; the result is ``[B, 1, H]``, and the last
                layer computes no other. None: all.
            cache: what was read of these rows before, to which their keys and values are added.
        """
        # Under autocast queries and keys come out of their projections in half precision: tables of float32 would
        # turn them back.
        autocast = torch.is_autocast_enabled(x.device.type)
        dtype = torch.get_autocast_dtype(x.device.type) if autocast else x.dtype
        rotary = rotary_tables(positions, self.head_dim, self.rope_theta, dtype)
        for number, layer in enumerate(self.layers, start=1):
            wanted = only if number == len(self.layers) else None
            if cache is not None:  # every step has another shape: not the compiled layer
                x = layer.forward(x, rotary, wanted, cache.layer(number - 1))
            elif self.checkpoint_activations and self.training and torch.is_grad_enabled():
                x = checkpoint(layer, x, rotary, wanted, use_reentrant=False)
            else:
                x = layer(x, rotary, wanted)
        return self.norm(x)
