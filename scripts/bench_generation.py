#!/usr/bin/env python3
"""Time generation on one CPU core: tokens and patches, with a cache, without one, and by a LLaMA of transformers.

    python scripts/bench_generation.py [--positions 512] [--tokens 64] [--rows 1 8] [--patches 32] [--strips 1 32] ...

A model of the architecture pixelgpt_small with random weights continues prompts to so many positions: greedy tokens,
and black and white patches. Printed are new tokens/s and patches/s, the reading of the prompt included: medians of
processor time of alternating runs in one process, so that their ratio means something on a busy machine. Without a
cache, everything is read anew for each token or patch, as PIXAR's published code does. All ways must give the same. The
LLaMA has the same weights and its own cache; it is left out where the transformers package is not installed.
"""

import argparse
import time
from collections import defaultdict
from statistics import median


def get_parser():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--positions", type=int, default=512, help="of prompt and new tokens together (default: 512)")
    parser.add_argument("--tokens", type=int, default=64, help="that are generated; 0: none (default: 64)")
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 8], help="prompts in a batch (default: 1 8)")
    parser.add_argument("--patches", type=int, default=32, help="that are generated; 0: none (default: 32)")
    parser.add_argument("--strips", type=int, nargs="+", default=[1, 32], help="strips in a batch (default: 1 32)")
    parser.add_argument("--vocabulary", type=int, default=8000)
    parser.add_argument("--runs", type=int, default=3, help="timed runs of each way (default: 3)")
    return parser


if __name__ == "__main__":
    get_parser().parse_args()  # --help and mistakes do not wait for what follows, which takes seconds to import

import torch
import torch.nn.functional as F

from pixelgpt_fairseq.data.patches import BCE, PATCH_SIZE
from pixelgpt_fairseq.errors import command
from pixelgpt_fairseq.generation import generate_tokens
from pixelgpt_fairseq.generation.patches import WHITE, black_and_white, continue_strips
from pixelgpt_fairseq.models.architectures import ARCHITECTURES, PixelGPTConfig
from pixelgpt_fairseq.models.cache import KeyValueCache
from pixelgpt_fairseq.models.pixelgpt import PixelGPTModel

ARCHITECTURE = "pixelgpt_small"
SLOW = 20  # seconds after which a way runs once


def build(options, **reads):
    """A model with random weights."""
    torch.manual_seed(0)
    config = PixelGPTConfig(**ARCHITECTURES[ARCHITECTURE], max_position_embeddings=options.positions)
    model = PixelGPTModel(config, **reads).eval()
    head = model.lm_pixel_head if model.uses_patches else model.lm_token_head
    with torch.no_grad():  # else all texts come to one and the same token or patch
        head.weight.normal_(std=0.3)
    return model


def last_logits(hidden, weight):
    """A token head that predicts what follows the last position alone."""
    return F.linear(hidden[:, -1:], weight)


def cached(model, prompts, tokens):
    """Greedy tokens, one position at a time."""
    cache = KeyValueCache(capacity=prompts.shape[1] + tokens)
    given, chosen = prompts, []
    for _ in range(tokens):
        logits = model(tokens=given, cache=cache, token_head=last_logits).token_logits
        given = logits[:, -1:].argmax(-1)
        chosen.append(given)
    return torch.cat(chosen, dim=1)


def uncached(model, prompts, tokens):
    """Greedy tokens, everything read anew for each."""
    for _ in range(tokens):
        logits = model(tokens=prompts, token_head=last_logits).token_logits
        prompts = torch.cat([prompts, logits[:, -1:].argmax(-1)], dim=1)
    return prompts[:, -tokens:]


def by_fairseq(model, prompts, tokens, end):
    """Greedy tokens by fairseq's SequenceGenerator; the token *end* ends a text, and never comes."""
    return torch.tensor(generate_tokens(model, prompts.tolist(), tokens, eos=end))


def build_llama(model, options):
    """A LLaMA of transformers with the same weights; None where the package is not installed."""
    try:
        from transformers import LlamaConfig, LlamaForCausalLM
    except ImportError:
        print("the LLaMA is left out, for it needs transformers (pip install transformers)")
        return None
    sizes = {name: getattr(model.config, name) for name in (*ARCHITECTURES[ARCHITECTURE], "rms_norm_eps")}
    config = LlamaConfig(**sizes, vocab_size=options.vocabulary, max_position_embeddings=options.positions)
    llama = LlamaForCausalLM(config).eval()
    renamed = {"lm_head.weight" if name == "lm_token_head.weight" else name: p for name, p in model.named_parameters()}
    for name, parameter in llama.named_parameters():
        parameter.data = renamed[name].data
    return llama


def by_llama(llama, prompts, tokens):
    """Greedy tokens of the LLaMA, by its own loop and cache."""
    mask = torch.ones_like(prompts)
    options = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0, "use_cache": True}
    return llama.generate(prompts, attention_mask=mask, max_new_tokens=tokens, **options)[:, -tokens:]


def strips_cached(model, strips, patches):
    """Patches by the package's own loop, with a cache."""
    found = continue_strips(model, list(strips), patches, patch_loss=BCE)
    return torch.stack([each.patches for each in found])


def strips_uncached(model, strips, patches):
    """The same patches, all of the strips read anew for each."""
    for _ in range(patches):
        predictions = model(patches=strips).patch_predictions[:, -1]
        strips = torch.cat([strips, black_and_white(predictions, strips.shape[-1], BCE)[:, None]], dim=1)
    return strips[:, -patches:]


def compare(ways, number, runs, unit, same=torch.equal):
    """Alternate ways to make *number* tokens or patches, the first of which has a cache, and print their rates."""
    seconds, reference = defaultdict(list), None
    for run in range(runs + 1):
        for name, way in ways.items():
            if run and seconds[name] and seconds[name][0] > SLOW:
                continue
            start = time.process_time()
            found = way()
            taken = time.process_time() - start
            if run or taken > SLOW:  # the first warms up
                seconds[name].append(taken)
            reference = found if reference is None else reference
            assert same(found, reference), f"{name}: other {unit}"
    rates = {name: number / median(seconds[name]) for name in ways}
    first, *others = ways
    print(f"{first}: {rates[first]:,.1f} {unit}/s", flush=True)
    for name in others:
        print(f"{name}: {rates[name]:,.1f} {unit}/s; cached {rates[first] / rates[name]:.2f}x", flush=True)


def compare_tokens(options, model, llama, rows):
    """Compare the ways to make tokens."""
    prompts = torch.randint(3, options.vocabulary, (rows, options.positions - options.tokens))
    made = set(cached(model, prompts, options.tokens).flatten().tolist())
    end = next(token for token in range(options.vocabulary) if token not in made)
    ways = {
        f"rows {rows}, cached": lambda: cached(model, prompts, options.tokens),
        f"rows {rows}, cached, by fairseq's generator": lambda: by_fairseq(model, prompts, options.tokens, end),
        f"rows {rows}, uncached": lambda: uncached(model, prompts, options.tokens),
    }
    if llama is not None:
        ways[f"rows {rows}, LLaMA of transformers, cached"] = lambda: by_llama(llama, prompts, options.tokens)
    compare(ways, rows * options.tokens, options.runs, "tokens")


def compare_patches(options, model, strips):
    """Compare the ways to make patches."""
    shape = strips, options.positions - options.patches, PATCH_SIZE**2
    prompts = (torch.rand(shape) < 0.8).to(torch.uint8) * WHITE
    ways = {
        f"strips {strips}, cached": lambda: strips_cached(model, prompts, options.patches),
        f"strips {strips}, uncached": lambda: strips_uncached(model, prompts, options.patches),
    }
    compare(ways, strips * options.patches, options.runs, "patches", almost_the_same)


def almost_the_same(patches, others):
    """Whether patches have the same pixels, but for a few whose probability is one half within rounding."""
    return patches.shape == others.shape and float((patches != others).float().mean()) < 0.01


@command
@torch.inference_mode()
def main(argv=None):
    """Print the rates."""
    options = get_parser().parse_args(argv)
    torch.set_num_threads(1)
    if options.tokens:
        model = build(options, uses_patches=False, vocab_size=options.vocabulary)
        llama, read = build_llama(model, options), options.positions - options.tokens
        print(f"{ARCHITECTURE}, prompts of {read} tokens and {options.tokens} new, one core")
        for rows in options.rows:
            compare_tokens(options, model, llama, rows)
    if options.patches:
        model, read = build(options), options.positions - options.patches
        print(f"{ARCHITECTURE}, strips of {read} patches and {options.patches} new, one core")
        for strips in options.strips:
            compare_patches(options, model, strips)


if __name__ == "__main__":
    main()
