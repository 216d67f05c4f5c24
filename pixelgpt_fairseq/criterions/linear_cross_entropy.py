"""The token head and its cross-entropy together, so that the logits of a whole batch never exist.

With a vocabulary of 32,000, logits dominate memory: those of 16 rows of 1,024 tokens take 2 GiB in float32, and plain
autograd also keeps their softmax and gradient. Here positions are processed in chunks: each chunk computes its logits,
losses and gradients at once, and adds them to the gradients of the hidden states and the head. The backward pass only
scales these.
"""

import functools

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

# Logits of a chunk: at a vocabulary of 32,000 some 4,000 positions on a GPU, and what fits caches on a CPU.
_LOGITS_ON_GPU = 1 << 27
_LOGITS_ON_CPU = 1 << 23
# Gradients of logits are about 1 / V: too small for float16 (bfloat16 and wider types have the exponents).
_FLOAT16_SCALE = 1024.0


def linear_cross_entropy(
    hidden: Tensor, weight: Tensor, targets: Tensor, weights: Tensor, compiled: bool = False
) -> tuple[Tensor, Tensor]:
    """``cross_entropy(hidden @ weight.T, targets)``, weighted and summed, without keeping logits.

    Args:
        hidden: ``[N, H]``.
        weight: ``[V, H]``, the head.
        targets: int64 ``[N]``.
        weights: float ``[N]``: what each position's loss is multiplied by; 0 for one without a target. It gets no
            gradient.
        compiled: compile what is done with a chunk.

    Returns:
        (sum, losses): the weighted sum, of which gradients are taken, and the losses ``[N]`` before weighting, without
        gradients; both in nats, in float32 or wider.
    """
    if torch.is_autocast_enabled(hidden.device.type):
        dtype = torch.get_autocast_dtype(hidden.device.type)
        hidden, weight = hidden.to(dtype), weight.to(dtype)
    with torch.autocast(hidden.device.type, enabled=False):
        return _LinearCrossEntropy.apply(hidden, weight, targets, weights, compiled, torch.is_grad_enabled())


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden, weight, targets, weights, compiled, with_gradients):
        chunk = compiled_once(_chunk) if compiled else _chunk
        wide = torch.promote_types(hidden.dtype, torch.float32)
        weights = weights.to(wide)
        most = max(1, (_LOGITS_ON_GPU if hidden.is_cuda else _LOGITS_ON_CPU) // len(weight))
        chunks = max(1, -(-len(targets) // most))
        size = max(1, -(-len(targets) // chunks))  # alike if possible: another size would be compiled anew
        losses, hidden_gradients, weight_gradient = [], [], None
        for part in zip(*(whole.split(size) for whole in (hidden, targets, weights)), strict=True):
            loss, hidden_gradient, gradient = chunk(part[0], weight, *part[1:], with_gradients)
            losses.append(loss)
            if with_gradients:
                hidden_gradients.append(hidden_gradient)
                # Accumulate chunks in float32, as matrix products do internally.
                weight_gradient = gradient.to(wide) if weight_gradient is None else weight_gradient.add_(gradient)
        losses = torch.cat(losses)
        if with_gradients:
            ctx.save_for_backward(torch.cat(hidden_gradients), weight_gradient)
            ctx.dtype, ctx.scale = weight.dtype, _scale(hidden.dtype)
        ctx.mark_non_differentiable(losses)
        return (losses * weights).sum(), losses

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient, _):
        hidden_gradient, weight_gradient = ctx.saved_tensors
        hidden_gradient = (hidden_gradient * (gradient / ctx.scale)).to(hidden_gradient.dtype)
        return hidden_gradient, (weight_gradient * gradient).to(ctx.dtype), None, None, None, None


def _chunk(hidden, weight, targets, weights, with_gradients):
    """Losses ``[n]`` of a chunk, and gradients of their weighted sum: of *hidden* (times the scale) and *weight*."""
    logits = F.linear(hidden, weight)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    column = targets.unsqueeze(1)
    # One buffer serves for logits, their exponentials and their gradients.
    logits -= logits.amax(dim=1, keepdim=True)
    at_target = logits.gather(1, column).squeeze(1)
    exponentials = logits.exp_()
    total = exponentials.sum(dim=1)
    losses = total.log() - at_target
    if not with_gradients:
        return losses, None, None
    scale = _scale(hidden.dtype)
    weights = weights * scale
    gradient = exponentials.mul_((weights / total).unsqueeze(1))
    gradient = gradient.scatter_add_(1, column, -weights.unsqueeze(1)).to(hidden.dtype)
    return losses, gradient @ weight, gradient.T @ (hidden if scale == 1 else hidden / scale)


# A function, compiled. Not before it is called: torch.compile imports for seconds what no other command needs.
compiled_once = functools.cache(torch.compile)


def _scale(dtype):
    return _FLOAT16_SCALE if dtype == torch.float16 else 1.0
