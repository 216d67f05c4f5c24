"""Pictures for a person to look at: a text as the model reads it, and what the model predicts, patch by patch."""

import torch
from PIL import Image, ImageDraw

from pixelgpt_fairseq.data.patches import (
    denormalize_patches,
    gray_to_rgb_patches,
    patch_layout,
    scale_pixels,
    unpatchify,
)
from pixelgpt_fairseq.errors import UserError

_PAPER = 255
_NOTHING = 215  # where there is no prediction: the first patch
_CAPTION = 140
_GAP = 3  # pixels between a row of text and its predictions, before scaling


@torch.no_grad()
def predict_patches(model, patches, raw_patch_targets=False):
    """What *model* predicts for each patch but the first, from the patches before it.

    A model trained on normalised targets (norm_pix_loss) predicts neither brightness nor contrast: both are taken from
    the patch that was to be predicted, as in the pictures of MAE papers. A blank patch is therefore shown blank.

    Args:
        model: PixelGPTModel in eval mode.
        patches: uint8 ``[n, 256]``, or rgb ``[n, 768]``.
        raw_patch_targets: the model was trained on pixel values.

    Returns:
        float ``[n - 1, 256]``, 0 (black) to 1 (white): of gray patches the channels' mean; of rgb ``[n - 1, 768]``.

    Raises:
        UserError: if the model reads no patches, or is a classifier.
    """
    if model.num_labels is not None:
        raise UserError("this model was fine-tuned on a task: it gives labels, and predicts no patches")
    if not model.uses_patches:
        raise UserError("this model was trained on text alone: it predicts no patches")
    predictions = model(patches=patches[None]).patch_predictions[0, :-1].float()
    channels = predictions.shape[-1] // patches.shape[-1]
    if not raw_patch_targets:
        references = gray_to_rgb_patches(scale_pixels(patches[1:]), channels)
        predictions = denormalize_patches(predictions, references)
    return predictions.unflatten(-1, (-1, channels)).mean(-1).clamp(0, 1)


def draw_predictions(patches, predictions, patches_per_row=40, scale=2):
    """A picture of rendered text with the predictions below each row of it.

    Args:
        patches: uint8 ``[n, 256]``, or rgb ``[n, 768]``.
        predictions: float, of one patch less, from :func:`predict_patches`.
        patches_per_row: where rows are broken.
        scale: screen pixels per pixel.

    Returns:
        PIL.Image
    """
    size, channels = patch_layout(patches.shape[-1])
    nothing = torch.full_like(patches[:1], _NOTHING)
    predicted = torch.cat([nothing, (predictions * 255).round().to(torch.uint8)])
    rows = list(zip(patches.split(patches_per_row), predicted.split(patches_per_row), strict=True))
    width = min(patches_per_row, len(patches)) * size
    row_height = 2 * size + 3 * _GAP
    picture = Image.new("L" if channels == 1 else "RGB", (width, row_height * len(rows)), (_PAPER,) * channels)
    ticks = ImageDraw.Draw(picture)
    for number, (shown, guessed) in enumerate(rows):
        top = number * row_height + _GAP
        picture.paste(_strip(shown), (0, top))
        picture.paste(_strip(guessed), (0, top + size + _GAP))
        for column in range(len(shown) + 1):  # patch boundaries, between the two
            ticks.line(
                [(column * size, top + size), (column * size, top + size + _GAP - 1)], fill=(_CAPTION,) * channels
            )
    return picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)


def _strip(patches):
    size, channels = patch_layout(patches.shape[-1])
    strip = unpatchify(patches[None], channels, size)[0]
    return Image.fromarray((strip[0] if channels == 1 else strip.permute(1, 2, 0)).numpy())
