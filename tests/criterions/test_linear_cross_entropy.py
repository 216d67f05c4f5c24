from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pixelgpt_fairseq.criterions import linear_cross_entropy as module
from pixelgpt_fairseq.criterions.linear_cross_entropy import linear_cross_entropy

N, HIDDEN, VOCABULARY = 60, 16, 50


@pytest.fixture(autouse=True)
def chunks(monkeypatch):
    for name in ("_LOGITS_ON_CPU", "_LOGITS_ON_GPU"):
        monkeypatch.setattr(module, name, 7 * VOCABULARY)  # 9 chunks of 7 positions at most, the last one of 4


def inputs(dtype=torch.float64, spread=1.0):
    torch.manual_seed(0)
    hidden = torch.randn(N, HIDDEN, dtype=torch.float64)
    weight = torch.randn(VOCABULARY, HIDDEN, dtype=torch.float64) * spread
    weights = torch.rand(N, dtype=torch.float64) * (torch.rand(N) > 0.3)
    targets = torch.randint(VOCABULARY, (N,))
    return hidden.to(dtype).requires_grad_(), weight.to(dtype).requires_grad_(), targets, weights


def plain(hidden, weight, targets, weights):
    losses = F.cross_entropy((hidden @ weight.T), targets, reduction="none")
    return (losses * weights).sum(), losses


def gradients(function, arguments, factor=0.37):
    total, losses = function(*arguments)
    return total, losses, *torch.autograd.grad(total * factor, arguments[:2])


def test_loss_and_gradients_are_those_of_the_plain_loss():
    for ours, theirs in zip(gradients(linear_cross_entropy, inputs()), gradients(plain, inputs()), strict=True):
        assert ours.dtype == torch.float64
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_large_logits_neither_overflow_nor_vanish():
    arguments = inputs(torch.float32, spread=300.0)
    expected = gradients(plain, inputs(torch.float64, spread=300.0))
    for ours, theirs in zip(gradients(linear_cross_entropy, arguments), expected, strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_keeps_small_gradients(dtype):
    hidden, weight, targets, weights = inputs(dtype, spread=0.01)
    weights = weights * 2**-13  # such that a gradient of a logit is less than float16's smallest number
    arguments = hidden, weight, targets, weights
    exact = [part.detach().double().requires_grad_() for part in arguments[:2]]
    factor = 2.0**13  # what a loss scale does
    ours = gradients(linear_cross_entropy, arguments, factor)[2:]
    for half, full in zip(ours, gradients(plain, [*exact, targets, weights], factor)[2:], strict=True):
        assert half.dtype == dtype
        assert (half - full).norm() < 0.01 * full.norm()


def test_under_autocast_both_products_are_of_half_precision():
    hidden, weight, targets, weights = inputs(torch.float32)
    with torch.autocast(hidden.device.type, dtype=torch.bfloat16):
        found = gradients(linear_cross_entropy, (hidden, weight, targets, weights))
    halves = [part.detach().bfloat16().requires_grad_() for part in (hidden, weight)]
    expected = gradients(linear_cross_entropy, (*halves, targets, weights))
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, theirs.float())


@torch.no_grad()
def test_without_gradients_losses_are_the_same():
    for ours, theirs in zip(linear_cross_entropy(*inputs()), plain(*inputs()), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_compiled_it_gives_the_same(monkeypatch):
    monkeypatch.setattr(module, "compiled_once", partial(torch.compile, backend="aot_eager", fullgraph=True))

    def compiled(*arguments):
        return linear_cross_entropy(*arguments, compiled=True)

    for ours, theirs in zip(gradients(compiled, inputs()), gradients(plain, inputs()), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


class LargestTensor(TorchDispatchMode):
    """Notes the number of elements of the largest tensor that an operation made."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        made = [tensor.numel() for tensor in tree_leaves(result) if isinstance(tensor, torch.Tensor)]
        self.elements = max([self.elements, *made])
        return result


def test_neither_logits_of_the_batch_nor_their_gradient_exist_or_are_kept():
    found = {}
    for function in (plain, linear_cross_entropy):
        kept = []
        with (
            LargestTensor() as largest,
            torch.autograd.graph.saved_tensors_hooks(
                lambda tensor, kept=kept: (kept.append(tensor), tensor)[1], lambda tensor: tensor
            ),
        ):
            function(*inputs())[0].backward()
        found[function] = largest.elements, sum(tensor.numel() for tensor in kept)
    logits = N * VOCABULARY
    assert found[plain] >= (logits, logits)
    assert found[linear_cross_entropy][0] <= max(N * HIDDEN, VOCABULARY * HIDDEN)
    assert found[linear_cross_entropy][1] <= 2 * (N * HIDDEN + VOCABULARY * HIDDEN)
