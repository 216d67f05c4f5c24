"""Tokens that follow a prompt of tokens, of patches, or of both."""

from dataclasses import dataclass

import torch
from fairseq import search
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from pixelgpt_fairseq.data.patches import patchify
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.generation.sequence_generation import (
    GenerationDictionary,
    GenerationModel,
    TokenGenerator,
    first_position,
)

_DEFAULT_EOS = 2  # LLaMA's


@dataclass
class Continuation:
    """What follows a prompt."""

    tokens: list[int]  # with eos, if the model ended the text
    log_probabilities: list[float]  # of each token, in nats
    score: float  # their sum over the length to the power of the length penalty


def generate_tokens(
    model,
    prompts,
    max_new_tokens: int,
    patches: Tensor | None = None,
    patch_mask: Tensor | None = None,
    strip_patches: int | None = None,
    beam: int = 1,
    **options,
) -> list[list[int]]:
    """Continue prompts, all in one batch, by fairseq's SequenceGenerator.

    Args:
        model: PixelGPTModel.
        prompts: lists of token ids, bos included, of any lengths; at least one token each.
        max_new_tokens: the most tokens that are added to each.
        patches: strips that are read before the tokens, one for each prompt; see
            :meth:`PixelGPTModel.forward <pixelgpt_fairseq.models.pixelgpt.PixelGPTModel.forward>`.
        patch_mask: bool ``[B, Lp]``: the patches in use.
        strip_patches: the strip width at which the positions of text begin; None: that of the pairs that the model was
            trained on, or else the width of *patches*.
        beam: hypotheses that are kept of each prompt; 1: greedy, or one sample.
        options: see :func:`continue_prompts`.

    Returns:
        For each prompt the ids that follow it, the best hypothesis, without the prompt; with eos at their end, if the
        model ended the text.

    Raises:
        UserError: see :func:`continue_prompts`.
    """
    found = continue_prompts(model, prompts, max_new_tokens, patches, patch_mask, strip_patches, beam, **options)
    return [hypotheses[0].tokens for hypotheses in found]


def continue_prompts(
    model,
    prompts,
    max_new_tokens: int,
    patches: Tensor | None = None,
    patch_mask: Tensor | None = None,
    strip_patches: int | None = None,
    beam: int = 1,
    sampling: bool = False,
    topk: int = -1,
    topp: float = -1.0,
    temperature: float = 1.0,
    length_penalty: float = 1.0,
    no_repeat_ngram_size: int = 0,
    eos: int | None = None,
) -> list[list[Continuation]]:
    """Continue prompts, and tell how likely each token was. Arguments that are not listed: :func:`generate_tokens`.

    Args:
        sampling: draw tokens, by torch's random numbers, instead of searching for the most likely text.
        topk: with *sampling*, draw from so many of the most likely tokens.
        topp: with *sampling*, draw from the most likely tokens whose probabilities reach this sum.
        temperature: logits are divided by it.
        length_penalty: above 1.0 longer hypotheses are preferred, below shorter ones.
        no_repeat_ngram_size: no sequence of so many tokens comes twice in what is added; 0: any may.
        eos: the token that ends a text; None: the model's, or else 2.

    Returns:
        For each prompt its *beam* hypotheses, the best one first.

    Raises:
        UserError: if a prompt is empty or has ids that the model does not know, it does not fit the model's positions
            with what is to follow, or the model does not read the modality.
    """
    limits = {"max_new_tokens": max_new_tokens, "beam": beam, "temperature": temperature}
    for name, value in limits.items():
        if value <= 0:
            raise UserError(f"{name} {value}: must be greater than 0")
    if (topk > 0 or topp > 0) and not sampling:
        raise UserError("topk and topp say what is drawn from: they need sampling")
    if model.vocab_size is None:
        raise UserError("this model reads no tokens: it was built for pixels alone, and generates patches only")
    device = next(model.parameters()).device
    eos = end_of_text(model) if eos is None else eos
    if patches is not None and patches.dim() == 4:
        patches = patchify(patches)
    rows = _check_prompts(model, prompts, patches, patch_mask)
    if not rows:
        return []
    if strip_patches is None and patches is not None:
        strip_patches = model.data_settings.get("pair_patches") or patches.shape[1]
    prompt, first_tokens = make_prompt(rows, patches, patch_mask, strip_patches, device)
    end = first_position(prompt) + max_new_tokens
    if end > model.max_positions():
        raise UserError(
            f"a prompt of {end - max_new_tokens + 1} positions and {max_new_tokens} new tokens need {end}, the model "
            f"has {model.max_positions()} (--max-position-embeddings): shorten the prompt, or ask for fewer tokens"
        )
    dictionary = GenerationDictionary.of_size(model.vocab_size, eos)
    strategy = search.Sampling(dictionary, min(topk, model.vocab_size), topp) if sampling else None
    training = model.training
    generator = TokenGenerator(
        [GenerationModel(model, dictionary)],
        dictionary,
        free_end=True,
        beam_size=beam,
        max_len_b=max_new_tokens,
        min_len=0,
        len_penalty=length_penalty,
        temperature=temperature,
        no_repeat_ngram_size=no_repeat_ngram_size,
        search_strategy=strategy,
    )
    generator.positions += 1  # the end that the generator forces is not read by the model
    sample = {"net_input": {"src_tokens": first_tokens.unsqueeze(1), "prompt": prompt}}
    sample["net_input"]["src_lengths"] = torch.ones_like(first_tokens)
    try:
        found = generator.generate(None, sample, bos_token=first_tokens.repeat_interleave(generator.beam_size))
    finally:
        model.train(training)
    return [[_continuation(hypothesis, max_new_tokens, length_penalty) for hypothesis in row] for row in found]


def end_of_text(model) -> int:
    """The id of the token that ends a text: that of the model's tokenizer or settings, or else LLaMA's."""
    tokenizer = getattr(model, "tokenizer", None)
    if tokenizer is not None:
        return tokenizer.eos
    eos = getattr(model, "released_settings", {}).get("eos_token_id")
    eos = eos[0] if isinstance(eos, list) and eos else eos
    return eos if isinstance(eos, int) and 0 <= eos < model.vocab_size else min(_DEFAULT_EOS, model.vocab_size - 1)


def make_prompt(rows, patches, patch_mask, strip_patches, device) -> tuple[dict, Tensor]:
    """Split prompts into what the model reads at once and the last token of each, from which generation goes on.

    Returns:
        (arguments of the model's forward, last tokens int64 ``[B]``)

    Args:
        rows: lists of ids, at least one each.
        patches, patch_mask, strip_patches: see :func:`generate_tokens`; None without a strip.
    """
    prompt = {}
    if patches is not None:
        mask = None if patch_mask is None else patch_mask.to(device)
        prompt = {"patches": patches.to(device), "patch_mask": mask, "strip_patches": strip_patches}
    lengths = torch.tensor([len(row) - 1 for row in rows], device=device)
    if lengths.max() > 0:
        before = [torch.tensor(row[:-1], dtype=torch.long) for row in rows]
        prompt["tokens"] = pad_sequence(before, batch_first=True).to(device)
        columns = torch.arange(prompt["tokens"].shape[1], device=device)
        prompt["token_mask"] = columns < lengths.unsqueeze(1) if lengths.min() < lengths.max() else None
    return prompt, torch.tensor([row[-1] for row in rows], device=device)


def _check_prompts(model, prompts, patches, patch_mask) -> list[list[int]]:
    for number, prompt in enumerate(prompts):
        if isinstance(prompt, str):
            raise UserError(f"prompt {number} is a string: give the ids of its tokens, such as [bos, *tokenizer(text)]")
    rows = [list(map(int, prompt)) for prompt in prompts]
    for number, row in enumerate(rows):
        if not row:
            raise UserError(f"prompt {number} is empty: it needs at least the token that begins a text")
        unknown = [token for token in row if not 0 <= token < model.vocab_size]
        if unknown:
            raise UserError(f"prompt {number} has token {unknown[0]}, the model's are 0 to {model.vocab_size - 1}")
    if patches is not None and len(patches) != len(rows):
        raise UserError(f"{len(patches)} strips for {len(rows)} prompts: each prompt needs one")
    if patch_mask is not None and (patches is None or patch_mask.shape != patches.shape[:2]):
        needed = "there are no patches" if patches is None else f"the patches need {list(patches.shape[:2])}"
        raise UserError(f"patch_mask of shape {list(patch_mask.shape)}: {needed}")
    return rows


def _continuation(hypothesis, most, length_penalty) -> Continuation:
    tokens, scores = (hypothesis[name].tolist()[:most] for name in ("tokens", "positional_scores"))
    return Continuation(tokens, scores, sum(scores) / len(scores) ** length_penalty)
