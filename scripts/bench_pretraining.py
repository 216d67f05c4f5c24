"""Time pretraining steps on one CPU core: pixels beside the published code's way, text beside a LLaMA of transformers.

    python scripts/bench_pretraining.py [--steps 7] [--hidden-size 256] [--layers 4] ...

Prints patches/s of forward, loss and backward for this package and for a plain rendition of what the published code
does, and tokens/s for this package and, where the transformers package is installed, for its LLaMA with the same
weights: medians of processor time of alternating steps in one process, so that their ratio means something on a busy
machine. Then what it gains that attention of short rows in bf16 is trained in float32, and where this package's step on
pixels spends its time.
"""

import argparse
import math
import time
from collections import defaultdict
from itertools import pairwise
from statistics import median
from unittest import mock


def get_parser():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden-size", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--intermediate-size", type=int, default=704)
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--patches", type=int, default=1024, help="per row")
    parser.add_argument(
        "--vocabularies", type=int, nargs="*", default=[4000, 32000], help="of text (default: 4000 32000)"
    )
    parser.add_argument("--steps", type=int, default=7, help="timed steps of each kind")
    return parser


if __name__ == "__main__":
    get_parser().parse_args()  # --help and mistakes do not wait for what follows, which takes seconds to import

import torch
from torch import nn

from pixelgpt_fairseq.criterions.patch_token_loss import PatchTokenLoss, PatchTokenLossConfig, next_patch_loss
from pixelgpt_fairseq.data.batches import collate
from pixelgpt_fairseq.data.patches import PATCH_SIZE, gray_to_rgb_patches, patchify, unpatchify
from pixelgpt_fairseq.errors import command
from pixelgpt_fairseq.models import decoder
from pixelgpt_fairseq.models.architectures import PixelGPTConfig
from pixelgpt_fairseq.models.decoder import Attention, RMSNorm, SwiGLU
from pixelgpt_fairseq.models.pixelgpt import PatchEmbeddings, PixelGPTModel

SHORT_ROWS = (16, 32, 64, 128)  # patches


class PublishedStyleModel(nn.Module):
    """The same model and weights, computed as the published code does: eager attention, full masks, float pixels."""

    def __init__(self, model: PixelGPTModel):
        super().__init__()
        self.inner, self.config = model, model.config

    def norm(self, norm, x):
        """RMSNorm, one operation at a time."""
        return norm.weight * (x.float() * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + norm.eps)).to(x.dtype)

    def attend(self, block, x, cos, sin, mask):
        """Attention with repeated key-value heads, an additive mask and a float32 softmax."""

        def heads(projection):
            return projection(x).unflatten(-1, (-1, head_dim)).transpose(1, 2)

        def turn(y):
            half = head_dim // 2
            return y * cos + torch.cat((-y[..., half:], y[..., :half]), -1) * sin

        head_dim = x.shape[-1] // block.num_heads
        q, k, v = turn(heads(block.q_proj)), turn(heads(block.k_proj)), heads(block.v_proj)
        groups = block.num_heads // block.num_key_value_heads
        k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
        scores = q @ k.transpose(2, 3) / math.sqrt(head_dim) + mask
        attended = torch.softmax(scores, dim=-1, dtype=torch.float32).to(q.dtype) @ v
        return block.o_proj(attended.transpose(1, 2).flatten(-2))

    def forward(self, strips, in_use):
        """Mean loss over the target patches in use, from float strips ``[B, 3, 16, 16 L]``."""
        config, model = self.config, self.inner.model
        embedding = model.embed_patches["patch_embeddings"]
        x = embedding.norm(embedding.projection(strips).flatten(2).transpose(1, 2))
        rows, length, width = x.shape
        head_dim = width // config.num_attention_heads
        frequencies = 1.0 / config.rope_theta ** (torch.arange(0, head_dim, 2).float() / head_dim)
        angles = torch.outer(torch.arange(length).float(), frequencies)
        angles = torch.cat((angles, angles), -1)
        lowest = torch.finfo(x.dtype).min
        mask = torch.full((length, length), lowest).triu(1).expand(rows, 1, length, length)
        mask = mask.masked_fill(~in_use[:, None, None, :], lowest)
        cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        for layer in model.layers:
            x = x + self.attend(layer.self_attn, self.norm(layer.input_layernorm, x), cos, sin, mask)
            x = x + layer.mlp(self.norm(layer.post_attention_layernorm, x))
        predictions = self.inner.lm_pixel_head(self.norm(model.norm, x))
        targets = patchify(strips)
        mean, variance = targets.mean(-1, keepdim=True), targets.var(-1, keepdim=True)
        targets = (targets - mean) / (variance + 1e-6) ** 0.5
        errors = ((predictions[:, :-1] - targets[:, 1:]) ** 2).mean(-1)
        return (errors * in_use[:, 1:]).sum() / in_use[:, 1:].sum()


class Stopwatch:
    """Seconds that kinds of modules spend forward and backward, by hooks; only for the table, they cost a little."""

    KINDS = ((PatchEmbeddings, "patch embedding"), (Attention, "attention"), (SwiGLU, "MLP"), (RMSNorm, "norms"))

    def __init__(self, model: PixelGPTModel):
        self.seconds, self.started = defaultdict(float), {}
        for module in model.modules():
            for kind, name in self.KINDS:
                if isinstance(module, kind):
                    self.watch(module, name)
        self.watch(model.lm_pixel_head, "head")

    def watch(self, module, name):
        """Time *module* under *name*."""

        def start(key):
            self.started[key] = time.perf_counter()

        def stop(key):
            self.seconds[key] += time.perf_counter() - self.started.pop(key)

        module.register_forward_pre_hook(lambda *_: start((name, "forward")))
        module.register_forward_hook(lambda *_: stop((name, "forward")))
        if name != "patch embedding":  # nothing flows back into pixels: autograd tells no end there
            module.register_full_backward_pre_hook(lambda *_: start((name, "backward")))
            module.register_full_backward_hook(lambda *_: stop((name, "backward")))


def build(options, key_value_heads: int, vocabulary: int | None = None) -> PixelGPTModel:
    """A fresh model for training."""
    torch.manual_seed(0)
    config = PixelGPTConfig(
        hidden_size=options.hidden_size,
        num_hidden_layers=options.layers,
        num_attention_heads=options.heads,
        num_key_value_heads=key_value_heads,
        intermediate_size=options.intermediate_size,
        max_position_embeddings=options.patches,
    )
    return PixelGPTModel(config, uses_patches=vocabulary is None, vocab_size=vocabulary).train()


def train_step(model, patches) -> float:
    """Forward, loss and backward of the next patches: the loss."""
    sums, targets = next_patch_loss(model(patches=patches).patch_predictions, patches)
    loss = sums.sum() / targets.sum()
    loss.backward()
    return loss.item()


def compare(options, key_value_heads: int, patches: torch.Tensor):
    """Alternate steps of both renditions; print their medians."""
    model = build(options, key_value_heads)
    published = PublishedStyleModel(model)
    strips = unpatchify(gray_to_rgb_patches(patches)).float() / 255
    in_use = torch.ones(patches.shape[:2], dtype=torch.bool)

    def ours():
        return train_step(model, patches)

    def theirs():
        loss = published(strips, in_use)
        loss.backward()
        return loss.item()

    rates = take_turns(options, model, ours, theirs, positions=options.rows * options.patches)
    print(
        f"{options.heads} heads, {key_value_heads} key-value heads: {rates[ours]:,.0f} patches/s; "
        f"in the published style {rates[theirs]:,.0f}: {rates[ours] / rates[theirs]:.2f}x"
    )


def take_turns(options, model, *steps, positions, tolerance=1e-4):
    """Alternate steps on the same weights and *positions* that give the same loss, but for *tolerance*.

    Returns:
        dict: positions/s of each.
    """
    seconds, losses = defaultdict(list), {}
    for number in range(options.steps + 1):
        for run in steps:
            model.zero_grad(set_to_none=True)
            start = time.process_time()
            losses[run] = run()
            if number:  # the first warms up
                seconds[run].append(time.process_time() - start)
    assert max(losses.values()) - min(losses.values()) < tolerance, "the ways disagree"
    return {run: positions / median(times) for run, times in seconds.items()}


def compare_text(options, vocabulary: int):
    """Alternate steps on tokens of this package and of the LLaMA of transformers; print their medians."""
    try:
        from transformers import LlamaConfig, LlamaForCausalLM
    except ImportError:
        print("text: left out, for the comparison needs transformers (pip install transformers)")
        return
    model = build(options, options.heads // 2, vocabulary)
    names = (
        "hidden_size num_hidden_layers num_attention_heads num_key_value_heads intermediate_size rms_norm_eps".split()
    )
    sizes = {name: getattr(model.config, name) for name in (*names, "max_position_embeddings")}
    llama = LlamaForCausalLM(LlamaConfig(**sizes, vocab_size=vocabulary, use_cache=False)).train()
    renamed = {"lm_head.weight" if name == "lm_token_head.weight" else name: p for name, p in model.named_parameters()}
    for name, parameter in llama.named_parameters():
        parameter.data = renamed[name].data
    tokens = torch.randint(3, vocabulary, (options.rows, options.patches))
    sample = collate([{"id": 0, "modality": "text", "tokens": row} for row in tokens], pad=0)
    criterion = PatchTokenLoss(PatchTokenLossConfig(), None).train()

    def ours():
        loss, sample_size, _ = criterion(model, sample)
        loss = loss / sample_size
        loss.backward()
        return loss.item()

    def theirs():
        llama.zero_grad(set_to_none=True)
        loss = llama(input_ids=tokens, labels=tokens).loss
        loss.backward()
        return loss.item()

    rates = take_turns(options, model, ours, theirs, positions=options.rows * options.patches)
    print(
        f"text, vocabulary {vocabulary:,}: {rates[ours]:,.0f} tokens/s; a LLaMA of transformers {rates[theirs]:,.0f}: "
        f"{rates[ours] / rates[theirs]:.2f}x"
    )


def compare_attention(options, length: int, patches: torch.Tensor):
    """Alternate steps in bf16 on rows of *length* patches, with attention as it is and in bf16; print their medians."""
    model = build(options, options.heads // 2).bfloat16()
    rows = torch.stack(patches.flatten(0, 1).split(length)[: patches.shape[:2].numel() // length])

    def ours():
        return train_step(model, rows)

    def theirs():
        with mock.patch.object(decoder, "trains_faster_in_float32", return_value=False):
            return train_step(model, rows)

    rates = take_turns(options, model, ours, theirs, positions=rows.shape[0] * length, tolerance=0.02)
    print(
        f"bf16, rows of {length}: {rates[ours]:,.0f} patches/s; with attention in bf16 {rates[theirs]:,.0f}: "
        f"{rates[ours] / rates[theirs]:.2f}x"
    )


def account(options, key_value_heads: int, patches: torch.Tensor):
    """Print which part of a step costs what, optimizer included."""
    model = build(options, key_value_heads)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    watch = Stopwatch(model)
    steps = []
    for step in range(options.steps + 1):
        watch.seconds.clear()
        marks = [time.perf_counter()]
        predictions = model(patches=patches).patch_predictions
        marks.append(time.perf_counter())
        sums, targets = next_patch_loss(predictions, patches)
        loss = sums.sum() / targets.sum()
        marks.append(time.perf_counter())
        loss.backward()
        marks.append(time.perf_counter())
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        marks.append(time.perf_counter())
        forward, loss_forward, backward, update = (end - start for start, end in pairwise(marks))
        spent = dict(watch.seconds)
        for direction, total in (("forward", forward), ("backward", backward)):
            spent["the rest", direction] = total - sum(s for (_, way), s in spent.items() if way == direction)
        spent["loss", "forward"], spent["optimizer (AdamW)", "forward"] = loss_forward, update
        if step:
            steps.append(spent)
    parts = {key: 1000 * median(step[key] for step in steps) for key in steps[0]}
    total = sum(parts.values())
    print(f"\n{'part of a step':24}{'forward ms':>12}{'backward ms':>13}{'share':>8}")
    for name in dict.fromkeys(name for name, _ in parts):
        forward, backward = parts.get((name, "forward"), 0.0), parts.get((name, "backward"), 0.0)
        shown = f"{backward:.1f}" if (name, "backward") in parts else "-"
        print(f"{name:24}{forward:12.1f}{shown:>13}{(forward + backward) / total:8.1%}")
    print(f"{'all':24}{total:37.1f} ms")
    print("(the rest: residual additions; backward, also those of the loss and the patch embedding)")


@command
def main():
    """Parse the sizes and print the figures."""
    options = get_parser().parse_args()
    torch.set_num_threads(1)
    patches = torch.randint(0, 256, (options.rows, options.patches, PATCH_SIZE**2), dtype=torch.uint8)
    print(
        f"{options.rows} x {options.patches} patches, hidden {options.hidden_size} x {options.layers} layers, one core"
    )
    for key_value_heads in (options.heads // 2, options.heads):
        compare(options, key_value_heads, patches)
    for vocabulary in options.vocabularies:
        compare_text(options, vocabulary)
    for length in SHORT_ROWS:
        compare_attention(options, length, patches)
    account(options, options.heads // 2, patches)


if __name__ == "__main__":
    main()
