"""Text that a loaded model writes: what a picture of text says, a translation, or how a text goes on."""

from typing import NamedTuple

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from pixelgpt_fairseq.data.patches import PATCH_SIZE, patchify
from pixelgpt_fairseq.data.streams import PIXEL, TEXT
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.generation.sequence_generation import first_position
from pixelgpt_fairseq.generation.tokens import continue_prompts, make_prompt

MOST_TOKENS = 200  # written if the caller does not say how many, and the model's positions allow it


class GeneratedText(NamedTuple):
    """What a model has written."""

    text: str
    ids: list[int]  # of the tokens, with eos if the model ended the text
    scores: list[float]  # log-probability of each token, in nats


def generate_texts(loaded, sources, max_tokens=None, modality=None, beam=1, **options) -> list[GeneratedText]:
    """Write what follows each of *sources*, in one batch.

    Args:
        loaded: LoadedModel.
        sources: strings, or with modality ``pixel`` also strips, see :func:`strip_patches_of`.
        max_tokens: the most tokens to write; None: as many as fit, at most ``MOST_TOKENS``.
        modality: ``pixel``: a string is drawn, and the model writes what follows its strip; ``text``: the model goes on
            with the string, or, if it was fine-tuned by ``--task rendered_translation``, writes its target. None: what
            it was fine-tuned on, or else ``pixel`` if it reads patches.
        beam, options: see :func:`~pixelgpt_fairseq.generation.tokens.continue_prompts`.

    Raises:
        UserError: if the model does not read the modality or has no tokenizer, or a source is empty or does not fit.
    """
    task = loaded.task_options
    translates = task.get("_name") == "rendered_translation"
    if modality is None:
        modality = task.get("source_modality") if translates else PIXEL if loaded.model.uses_patches else TEXT
    if modality not in (PIXEL, TEXT):
        raise UserError(f"modality {modality!r}: {PIXEL} or {TEXT}")
    if not sources:
        return []
    if loaded.model.vocab_size is None:
        raise UserError(f"{loaded.path}: reads no tokens: it was built for pixels alone, and generates patches only")
    if loaded.tokenizer is None:
        raise UserError(f"{loaded.path}: no tokenizer beside the model: it can write no text")
    tokenizer, strips = loaded.tokenizer, {}
    if modality == PIXEL:
        prompts = [[tokenizer.bos]] * len(sources)
        strips = _strips(loaded, sources)
    else:
        end = [tokenizer.bos] if translates else []
        prompts = [[tokenizer.bos, *tokenizer(_not_empty(source)), *end] for source in sources]
    room = loaded.model.max_positions() - _positions(prompts, strips)
    if max_tokens is None:
        max_tokens = min(MOST_TOKENS, max(room, 1))
    found = continue_prompts(loaded.model, prompts, max_tokens, beam=beam, eos=tokenizer.eos, **strips, **options)
    goes_on = modality == TEXT and not translates
    return [
        _generated(best, prompt if goes_on else [], tokenizer)
        for (best, *_), prompt in zip(found, prompts, strict=True)
    ]


def strip_patches_of(strip, patch_size: int = PATCH_SIZE) -> torch.Tensor:
    """The patches ``[n, values]`` of a strip: a RenderedText, or an array or tensor.

    Args:
        strip: pixels ``[P, P * n]`` or ``[P, P * n, channels]``, or patches ``[n, P * P * channels]``; uint8, or
            0 to 1.
        patch_size: P, the model's.

    Raises:
        UserError: if it is none of them.
    """
    if hasattr(strip, "patches"):
        return torch.from_numpy(strip.patches())
    array = strip if torch.is_tensor(strip) else torch.as_tensor(np.asarray(strip))
    is_pixels = array.dim() in (2, 3) and array.shape[0] == patch_size and array.shape[1] % patch_size == 0
    is_patches = array.dim() == 2 and array.shape[1] in (patch_size**2, 3 * patch_size**2)
    if is_pixels and is_patches:
        raise UserError(
            f"a strip of shape {list(array.shape)} may be pixels or patches: give pixels as "
            f"[{patch_size}, {array.shape[1]}, 1], or patches as what the renderer returns"
        )
    if is_patches and len(array):
        return array
    if is_pixels and array.shape[1]:
        channels = array[None] if array.dim() == 2 else array.permute(2, 0, 1)
        return patchify(channels[None])[0]
    raise UserError(
        f"a strip of shape {list(array.shape)}: give pixels [{patch_size}, {patch_size} * n], patches "
        f"[n, {patch_size**2}], or what the renderer returns"
    )


def draw_source(loaded, text: str):
    """The strip of a text that a model is to read.

    Args:
        loaded: LoadedModel.
        text: a string.

    Returns:
        RenderedText

    Raises:
        UserError: if the model reads no patches, or the text is blank or longer than its strips.
    """
    _check_reads_patches(loaded)
    strip = loaded.renderer(_not_empty(text))
    patches = strip.num_text_patches + 1
    # A renderer cuts what is longer than its strips.
    if patches > loaded.strip_width or patches == loaded.renderer.config.max_patches:
        raise _too_long(patches, loaded.strip_width)
    return strip


def _check_reads_patches(loaded):
    if not loaded.model.uses_patches:
        raise UserError(
            f"{loaded.path}: reads no patches: it was built for text alone: modality={TEXT!r} continues texts"
        )


def _too_long(patches, width):
    return UserError(f"a strip of {patches} patches or more: the model was trained on {width} at most")


def _strips(loaded, sources) -> dict:
    """The arguments of continue_prompts for sources that are drawn."""
    _check_reads_patches(loaded)
    width = loaded.strip_width
    rows = []
    for source in sources:
        strip = draw_source(loaded, source) if isinstance(source, str) else source
        patches = strip_patches_of(strip, loaded.model.config.patch_size)
        if len(patches) > width:
            raise _too_long(len(patches), width)
        rows.append(patches)
    lengths = torch.tensor([len(row) for row in rows])
    patches = pad_sequence(rows, batch_first=True, padding_value=255 if rows[0].dtype == torch.uint8 else 1.0)
    mask = torch.arange(patches.shape[1]) < lengths.unsqueeze(1)
    return {"patches": patches, "patch_mask": mask, "strip_patches": width}


def _not_empty(source):
    if not isinstance(source, str):
        raise UserError(f"modality {TEXT!r} goes on with strings: a strip needs modality {PIXEL!r}")
    if not source.strip():
        raise UserError("an empty text: there is nothing to read")
    return source


def _positions(prompts, strips) -> int:
    arguments = [strips.get(name) for name in ("patches", "patch_mask", "strip_patches")]
    return first_position(make_prompt(prompts, *arguments, torch.device("cpu"))[0])


def _generated(best, prompt, tokenizer) -> GeneratedText:
    """The text of what was added to *prompt*; a leading space is there only after another text."""
    ids = [token for token in best.tokens if token != tokenizer.eos]
    text = tokenizer.decode(ids)
    if prompt:
        text = tokenizer.decode([*prompt, *ids])[len(tokenizer.decode(prompt)) :]
    return GeneratedText(text, best.tokens, best.log_probabilities)
