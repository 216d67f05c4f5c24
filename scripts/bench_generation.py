#!/usr/bin/env python3
"""Time the generation of tokens on one CPU core: with a cache, without one, and by a LLaMA of transformers.

    python scripts/bench_generation.py [--positions 512] [--tokens 64] [--rows 1 8] ...

A model of the architecture pixelgpt_small with random weights continues prompts greedily to so many positions. Printed
are new tokens/s, the reading of the prompt included: medians of processor time of alternating runs in one process, so
that their ratio means something on a busy machine. All ways must give the same tokens. The LLaMA has the same weights
and its own cache; it is left out where the transformers package is not installed.
"""

import argparse
import time
from collections import defaultdict
from statistics import median


def get_parser():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--positions", type=int, default=512, help="of prompt and new tokens together (default: 512)")
    parser.add_argument("--tokens", type=int, default=64, help="that are generated (default: 64)")
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 8], help="prompts in a batch (default: 1 8)")
    parser.add_argument("--vocabulary", type=int, default=8000)
    parser.add_argument("--runs", type=int, default=3, help="timed runs of each way (default: 3)")
    return parser


if __name__ == "__main__":
    get_parser().parse_args()  # --help and mistakes do not wait for what follows, which takes seconds to import

import torch
import torch.nn.functional as F

from pixelgpt_fairseq.errors import command
from pixelgpt_fairseq.generation import generate_tokens
from pixelgpt_fairseq.models.architectures import ARCHITECTURES, PixelGPTConfig
from pixelgpt_fairseq.models.cache import KeyValueCache
from pixelgpt_fairseq.models.pixelgpt import PixelGPTModel

ARCHITECTURE = "pixelgpt_small"


def build(options):
    """A model with random weights."""
    torch.manual_seed(0)
    config = PixelGPTConfig(**ARCHITECTURES[ARCHITECTURE], max_position_embeddings=options.positions)
    model = PixelGPTModel(config, uses_patches=False, vocab_size=options.vocabulary).eval()
    with torch.no_grad():  # else all texts come to one and the same token
        model.lm_token_head.weight.normal_(std=0.3)
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


def compare(options, model, llama, rows):
    """Alternate the ways, and print their rates."""
    prompts = torch.randint(3, options.vocabulary, (rows, options.positions - options.tokens))
    reference = cached(model, prompts, options.tokens)
    end = next(token for token in range(options.vocabulary) if token not in set(reference.flatten().tolist()))
    ways = {
        "cached": lambda: cached(model, prompts, options.tokens),
        "cached, by fairseq's generator": lambda: by_fairseq(model, prompts, options.tokens, end),
        "uncached": lambda: uncached(model, prompts, options.tokens),
    }
    if llama is not None:
        ways["LLaMA of transformers, cached"] = lambda: by_llama(llama, prompts, options.tokens)
    seconds = defaultdict(list)
    for number in range(options.runs + 1):
        for name, way in ways.items():
            start = time.process_time()
            found = way()
            if number:  # the first warms up
                seconds[name].append(time.process_time() - start)
            assert torch.equal(found, reference), f"{name}: other tokens"
    rates = {name: rows * options.tokens / median(times) for name, times in seconds.items()}
    for name, rate in rates.items():
        ratio = rates["cached"] / rate
        print(f"rows {rows}, {name}: {rate:,.0f} tokens/s" + (f"; cached {ratio:.2f}x" if name != "cached" else ""))


@command
@torch.inference_mode()
def main(argv=None):
    """Print the rates."""
    options = get_parser().parse_args(argv)
    torch.set_num_threads(1)
    model = build(options)
    llama = build_llama(model, options)
    print(f"{ARCHITECTURE}, prompts of {options.positions - options.tokens} tokens and {options.tokens} new, one core")
    for rows in options.rows:
        compare(options, model, llama, rows)


if __name__ == "__main__":
    main()
