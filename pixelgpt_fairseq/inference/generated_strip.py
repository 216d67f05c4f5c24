"""Strips that a loaded model continues, and what they read as."""

from typing import NamedTuple

import numpy as np

from pixelgpt_fairseq.generation.patches import continue_strips, patches_to_pixels, prompt_patches
from pixelgpt_fairseq.generation.reading import Reading, read_strip

MOST_PATCHES = 64  # where none are asked for, and the model's positions allow it
_CONTEXT = 8  # patches of the prompt that are read, too: they show where the line stands


class GeneratedStrip(NamedTuple):
    """What a model has drawn."""

    text: str | None  # what the new patches read as; None where the look cannot be read back
    strip: np.ndarray  # uint8 [16, columns], rgb [16, columns, 3]: the prompt and what follows it
    prompt_patches: int
    scores: list[float]  # how well each character of the text fits, 0 to 1
    ended: bool  # by a separator


def generate_strips(
    loaded, prompts, max_patches=None, shift=False, temperature=0.0, alphabet=None
) -> list[GeneratedStrip]:
    """Continue the strips of texts, in one batch, and read what was drawn.

    Args:
        loaded: LoadedModel.
        prompts: strings.
        max_patches: the most patches to draw; None: as many as fit, at most ``MOST_PATCHES``.
        shift: see :func:`~pixelgpt_fairseq.generation.patches.prompt_patches`.
        temperature: see :func:`~pixelgpt_fairseq.generation.patches.continue_strips`.
        alphabet: see :func:`~pixelgpt_fairseq.generation.reading.read_strip`.

    Raises:
        UserError: if the model generates no patches, or a prompt is empty or does not fit.
    """
    if loaded.model.num_labels is not None or not loaded.model.uses_patches:
        continue_strips(loaded.model, [], 1)  # says so
    rows = [prompt_patches(loaded.renderer, prompt, shift) for prompt in prompts]
    if not rows:
        return []
    if max_patches is None:
        room = loaded.model.max_positions() - max(map(len, rows)) + 1
        max_patches = min(MOST_PATCHES, max(room, 1))
    found = continue_strips(loaded.model, rows, max_patches, temperature=temperature)
    return [_read(loaded.renderer.config, row, new, alphabet) for row, new in zip(rows, found, strict=True)]


def read_continuation(pixels: np.ndarray, start: int, config, alphabet=None) -> Reading | None:
    """What a strip reads as from column *start* on; None if the look cannot be read back.

    All of the strip is made black and white, as the patches of the model are; what stands before *start* shows the row
    on which the line stands, and the letter that *start* cuts in two belongs to it.
    """
    if config.backend != "pygame":
        return None
    first = max(0, start - _CONTEXT * config.patch_size)
    reading = read_strip(np.where(pixels[:, first:] > 127, 255, 0).astype(np.uint8), config, alphabet)
    spans = [span._replace(start=span.start + first, end=span.end + first) for span in reading.spans]
    spans = [span for span in spans if span.start + span.end >= 2 * start]
    scores = [span.score for span in spans]
    return Reading("".join(span.text for span in spans), sum(scores) / len(scores) if scores else 1.0, spans)


def _read(config, prompt, new, alphabet):
    pixels = patches_to_pixels(np.concatenate([prompt.numpy(), new.patches.numpy()]), config.patch_size)
    reading = read_continuation(pixels, len(prompt) * config.patch_size, config, alphabet)
    scores = [span.score for span in reading.spans] if reading else []
    return GeneratedStrip(reading.text if reading else None, pixels, len(prompt), scores, new.ended)
