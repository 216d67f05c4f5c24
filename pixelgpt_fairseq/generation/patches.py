"""Patches that follow a strip, one after the other; each is made black and white before the model reads it."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from pixelgpt_fairseq.data.patches import BCE, NORMALIZED_MSE, PATCH_LOSSES
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.models.cache import KeyValueCache
from pixelgpt_fairseq.rendering.config import RendererConfig
from pixelgpt_fairseq.rendering.renderer import MARGIN

WHITE = 255
_SEPARATOR_SHARE = 0.1  # the most white that a separator has
# The values of a normalized patch of black and white lie at least 2 apart; all those of a blank patch are 0. A
# predicted patch is taken for blank if its values lie less than half of that apart.
_BLANK_RANGE = 1.0


class GeneratedPatches(NamedTuple):
    """What follows a prompt."""

    patches: Tensor  # uint8 [n, values], 0 or 255; without the separator
    ended: bool  # by a separator, not by the limit


def generate_patches(model, prompt: Tensor, max_new_patches: int, **options) -> Tensor:
    """The patches with which a model continues a strip.

    Args:
        model: PixelGPTModel.
        prompt: uint8 ``[L, values]``: the patches of the strip, without its separator; see :func:`prompt_patches`.
        max_new_patches: the most that are added.
        options: see :func:`continue_strips`.

    Returns:
        uint8 ``[n, values]``: 0 or 255, without the prompt and without the separator.

    Raises:
        UserError: see :func:`continue_strips`.
    """
    return continue_strips(model, [prompt], max_new_patches, **options)[0].patches


@torch.inference_mode()
def continue_strips(
    model,
    prompts: list[Tensor],
    max_new_patches: int,
    patch_loss: str | None = None,
    temperature: float = 0.0,
) -> list[GeneratedPatches]:
    """Continue strips of any lengths, all in one batch, with a key-value cache.

    Args:
        model: PixelGPTModel.
        prompts: a list of uint8 ``[L, values]``; *values* is the same for all, L may differ.
        max_new_patches: the most that are added to each.
        patch_loss: what the model was trained with (``--patch-loss``); None: as ``model.patch_loss`` tells.
        temperature: with ``bce``, pixels are drawn from their probabilities, with logits divided by this; 0: each is
            what is likelier.

    Returns:
        For each prompt what follows it.

    Raises:
        UserError: if the model predicts no patches, a prompt is empty, it does not fit the model's positions with what
            is to follow, or a temperature is given where there are no probabilities.
    """
    patch_loss = patch_loss or model.patch_loss
    _check(model, prompts, max_new_patches, patch_loss, temperature)
    if not prompts:
        return []
    device = next(model.parameters()).device
    lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
    rows = pad_sequence([torch.as_tensor(prompt).to(device) for prompt in prompts], batch_first=True)
    mask = torch.arange(rows.shape[1], device=device) < lengths[:, None]
    blank = _blank_value(model)
    cache = KeyValueCache(capacity=rows.shape[1] + max_new_patches)
    predictions = model(patches=rows, patch_mask=None if mask.all() else mask, cache=cache).patch_predictions
    predictions = predictions[torch.arange(len(rows), device=device), lengths - 1]
    found, ends = [], torch.full_like(lengths, max_new_patches)
    for number in range(max_new_patches):
        patches = black_and_white(predictions, rows.shape[-1], patch_loss, temperature, blank)
        if patch_loss != NORMALIZED_MSE and blank:
            ends[is_separator(patches) & (ends > number)] = number
        found.append(patches)
        if number + 1 == max_new_patches or not (ends > number).any():
            break
        predictions = model(patches=patches[:, None], cache=cache).patch_predictions[:, -1]
    found = torch.stack(found, dim=1).cpu()
    return [GeneratedPatches(row[:end], end < max_new_patches) for row, end in zip(found, ends.tolist(), strict=True)]


def black_and_white(
    predictions: Tensor, values: int, patch_loss: str, temperature: float = 0.0, blank: int = WHITE
) -> Tensor:
    """Turn predictions into black and white patches, which the model can read.

    * ``bce``: a pixel is white if that is more likely than black; with a *temperature* it is drawn at random.
    * ``mse``: a pixel is white if its predicted value is above one half.
    * ``normalized_mse``: a pixel is white if its value is above the middle between the smallest and the largest value
      of the patch. If these are less than 1 apart, the patch is blank.

    Args:
        predictions: ``[..., C * values]``, channels last.
        values: of a patch; where the prediction has C times as many, its channels are averaged first.
        patch_loss, temperature: see :func:`continue_strips`.
        blank: the pixels of a blank patch.

    Returns:
        uint8 ``[..., values]``: 0 or 255.
    """
    predictions = predictions.float()
    predictions = predictions.unflatten(-1, (values, predictions.shape[-1] // values)).mean(-1)
    if patch_loss == BCE:
        chances = (predictions / (temperature or 1.0)).sigmoid()
        white = chances > (torch.rand_like(chances) if temperature else 0.5)
    elif patch_loss == NORMALIZED_MSE:
        lowest, highest = predictions.aminmax(dim=-1, keepdim=True)
        white = predictions > (lowest + highest) / 2
        white = torch.where(highest - lowest < _BLANK_RANGE, torch.full_like(white, bool(blank)), white)
    else:
        white = predictions > 0.5
    return white.to(torch.uint8) * WHITE


def is_separator(patches: Tensor) -> Tensor:
    """Whether patches, uint8 ``[..., values]``, are black: bool ``[...]``."""
    return patches.float().mean(-1) <= _SEPARATOR_SHARE * WHITE


def prompt_patches(renderer, text: str, shift: bool = False) -> Tensor:
    """The strip of a text for a model to continue, up to the last patch that the text fills completely.

    A patch that the text fills in part is left out, and the model draws it: a patch with a blank rest would end the
    text.

    Args:
        renderer: TextRenderer.
        text: what is to be continued.
        shift: instead move the text to the right by up to a patch, so that the strip shows all of it, and a word that
            follows after a space begins at a patch border; in the structure ``words`` it does without being moved.

    Returns:
        uint8 ``[L, values]``

    Raises:
        UserError: if the text is blank, or longer than the renderer's strips.
    """
    if not text.strip():
        raise UserError("the prompt is empty: give some text to continue")
    side = renderer.config.patch_size
    pen = MARGIN + int(renderer.pen_positions(text.rstrip() + " " if shift else text)[-1])
    moves = shift and renderer.config.structure != "words"
    before = -pen % side if moves else 0
    strip = renderer(text.rstrip() if shift else text)
    if pen + before > (renderer.config.max_patches - 1) * side:
        raise UserError(
            f"a prompt of {-(-(pen + before) // side)} patches is longer than a strip of the renderer, "
            f"{renderer.config.max_patches} patches with its separator (--max-patches): shorten it"
        )
    if not moves:
        pixels = strip.pixels[:, : max(side, pen // side * side)]
    else:
        pixels = strip.pixels[:, : strip.num_text_patches * side]
        ends = before + pen
        paper = np.empty_like(pixels, shape=(side, ends, *pixels.shape[2:]))
        paper[:] = renderer("").pixels[:1, :1]
        kept = min(pixels.shape[1], ends - before)
        paper[:, before : before + kept] = pixels[:, :kept]
        pixels = paper
    count = pixels.shape[1] // side
    return torch.from_numpy(pixels.reshape(side, count, -1).swapaxes(0, 1).reshape(count, -1).copy())


def patches_to_pixels(patches, side: int) -> np.ndarray:
    """A strip of patches: uint8 ``[n, values]`` to ``[side, n * side]``, or with colors ``[side, n * side, 3]``."""
    patches = np.asarray(patches)
    channels = patches.shape[-1] // side**2
    pixels = patches.reshape(len(patches), side, side, channels).swapaxes(0, 1).reshape(side, -1, channels)
    return pixels[..., 0] if channels == 1 else pixels


def _blank_value(model):
    """Pixels of the background of the model's strips, in black and white."""
    settings = model.data_settings.get("renderer")
    paper = RendererConfig.from_dict(settings).background_rgb if settings else (WHITE,) * 3
    return WHITE if sum(paper) / 3 > WHITE / 2 else 0


def _check(model, prompts, max_new_patches, patch_loss, temperature):
    if model.num_labels is not None:
        raise UserError("this model was fine-tuned on a task: it gives labels, and generates no patches")
    if not model.uses_patches:
        raise UserError("this model reads no patches: it was built for text alone, and generates tokens only")
    if max_new_patches < 1:
        raise UserError(f"max_new_patches {max_new_patches}: at least 1")
    if patch_loss not in PATCH_LOSSES:
        raise UserError(f"patch_loss {patch_loss!r}: one of {', '.join(PATCH_LOSSES)}")
    if temperature < 0:
        raise UserError(f"temperature {temperature}: 0 or more")
    if temperature and patch_loss != BCE:
        raise UserError(
            f"temperature {temperature}: this model was trained with --patch-loss {patch_loss}; only bce "
            "gives probabilities to draw from"
        )
    for prompt in prompts:
        if not len(prompt):
            raise UserError("the prompt is empty: give at least one patch to continue")
        needed, limit = len(prompt) + max_new_patches - 1, model.max_positions()
        if needed > limit:
            raise UserError(
                f"a prompt of {len(prompt)} patches and {max_new_patches} new ones need {needed} positions, the model "
                f"has {limit} (--max-position-embeddings): shorten the prompt, or ask for fewer patches"
            )
