"""Strips that a loaded model continues, and the text that is read from them."""

from typing import NamedTuple

import numpy as np

from pixelgpt_fairseq.generation.patches import continue_strips, patches_to_pixels, prompt_patches
from pixelgpt_fairseq.generation.reading import read_continuation

MOST_PATCHES = 64  # drawn if the caller does not say how many, and the model's positions allow it


class GeneratedStrip(NamedTuple):
    """What a model has drawn."""

    text: str | None  # read from the new patches; None if strips of this backend cannot be read
    strip: np.ndarray  # uint8 [16, columns], rgb [16, columns, 3]: the prompt and what follows it
    prompt_patches: int
    scores: list[float]  # how well each character of the text fits, 0 to 1
    ended: bool  # by a separator


def generate_strips(
    loaded, prompts, max_patches=None, shift=False, temperature=0.0, alphabet=None, words=None
) -> list[GeneratedStrip]:
    """Continue the strips of texts, in one batch, and read what was drawn.

    Args:
        loaded: LoadedModel.
        prompts: strings.
        max_patches: the most patches to draw; None: as many as fit, at most ``MOST_PATCHES``.
        shift: see :func:`~pixelgpt_fairseq.generation.patches.prompt_patches`.
        temperature: see :func:`~pixelgpt_fairseq.generation.patches.continue_strips`.
        alphabet, words: see :func:`~pixelgpt_fairseq.generation.reading.read_strip`.

    Raises:
        UserError: if the model generates no patches, or a prompt is empty or does not fit.
    """
    if loaded.model.num_labels is not None or not loaded.model.uses_patches:
        continue_strips(loaded.model, [], 1)  # raises the UserError
    rows = [prompt_patches(loaded.renderer, prompt, shift) for prompt in prompts]
    if not rows:
        return []
    if max_patches is None:
        room = loaded.model.max_positions() - max(map(len, rows)) + 1
        max_patches = min(MOST_PATCHES, max(room, 1))
    found = continue_strips(loaded.model, rows, max_patches, temperature=temperature)
    narrowed = {"alphabet": alphabet, "words": words}
    return [_read(loaded.renderer.config, row, new, narrowed) for row, new in zip(rows, found, strict=True)]


def _read(config, prompt, new, narrowed):
    pixels = patches_to_pixels(np.concatenate([prompt.numpy(), new.patches.numpy()]), config.patch_size)
    reading = read_continuation(pixels, len(prompt) * config.patch_size, config, **narrowed)
    scores = [span.score for span in reading.spans] if reading else []
    return GeneratedStrip(reading.text if reading else None, pixels, len(prompt), scores, new.ended)
