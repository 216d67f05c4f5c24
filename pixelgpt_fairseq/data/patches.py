"""Strips of rendered text and the patches a model reads, as tensors.

A *strip* is an image one patch high, ``[B, C, P, P * L]``; its *patches* are ``[B, L, P * P * C]``, left to right.
Inside a patch the values stand row by row, column by column, channels last (einsum ``nchpwq->nhwpqc``, as in MAE).
A *gray* patch has P * P values; where a model reads three channels it means the same value in each of them.
"""

import math

import torch
from torch import Tensor

from pixelgpt_fairseq.rendering.config import PATCH_SIZE  # of the released models, and of others where nothing is said

# What a model's predictions of patches are: see the criterion patch_token_loss.
NORMALIZED_MSE, MSE, BCE = PATCH_LOSSES = ("normalized_mse", "mse", "bce")
NORMALIZATION_EPSILON = 1e-6  # added to the variance, as in MAE's norm_pix_loss


def patchify(strips: Tensor) -> Tensor:
    """Cut strips ``[B, C, P, P * L]`` into patches ``[B, L, P * P * C]`` (a view where the layout allows it).

    Raises:
        ValueError: if the width is not a multiple of the height P.
    """
    batch, channels, size, width = strips.shape
    if width % size:
        raise ValueError(f"a strip {width} px wide cannot be cut into patches of {size} px")
    cut = strips.reshape(batch, channels, size, width // size, size)
    return cut.permute(0, 3, 2, 4, 1).reshape(batch, width // size, size * size * channels)


def unpatchify(patches: Tensor, channels: int = 3, patch_size: int = PATCH_SIZE) -> Tensor:
    """Put patches ``[B, L, P * P * C]`` back together as strips ``[B, C, P, P * L]``; the inverse of :func:`patchify`.

    Raises:
        ValueError: if a patch does not hold P * P * C values.
    """
    batch, length, values = patches.shape
    if values != patch_size * patch_size * channels:
        raise ValueError(f"a patch of {values} values is not {patch_size} x {patch_size} px in {channels} channels")
    cut = patches.reshape(batch, length, patch_size, patch_size, channels)
    return cut.permute(0, 4, 2, 1, 3).reshape(batch, channels, patch_size, patch_size * length)


def patch_layout(values: int) -> tuple[int, int]:
    """Side in pixels and channels (1 or 3) of a patch of so many values.

    Raises:
        ValueError: if a patch cannot have so many.
    """
    for channels in (1, 3):  # never both: 3 is no square
        side = math.isqrt(values // channels)
        if side and side * side * channels == values:
            return side, channels
    raise ValueError(f"{values} values are not a square patch of 1 or 3 channels")


def gray_to_rgb_patches(patches: Tensor, channels: int = 3) -> Tensor:
    """Repeat gray patches ``[..., P * P]`` in every channel: ``[..., P * P * channels]``, channels last."""
    return patches.unsqueeze(-1).expand(*patches.shape, channels).flatten(-2)


def normalize_patches(patches: Tensor) -> Tensor:
    """Scale every patch to zero mean and unit (unbiased) variance over its values: the target of ``norm_pix_loss``.

    Args:
        patches: ``[..., values]``, 0..255 (uint8) or already 0..1 (floating point).

    Returns:
        float32 of the same shape.
    """
    patches = scale_pixels(patches)
    variance, mean = torch.var_mean(patches, dim=-1, keepdim=True)
    return (patches - mean) * torch.rsqrt(variance + NORMALIZATION_EPSILON)


def normalize_gray_patches(patches: Tensor, channels: int = 3) -> Tensor:
    """``normalize_patches(gray_to_rgb_patches(patches))`` at a third of the work.

    Repeating every value *c* times leaves the mean alone, and makes the unbiased variance of n values
    ``c * sum((t - mean) ** 2) / (c * n - 1)``.

    Args:
        patches: ``[..., P * P]``, 0..255 (uint8) or 0..1 (floating point).

    Returns:
        float32 ``[..., P * P * channels]``.
    """
    patches = scale_pixels(patches)
    variance, mean = torch.var_mean(patches, dim=-1, keepdim=True, correction=0)
    values = patches.shape[-1] * channels
    variance = variance * (values / (values - 1))
    return gray_to_rgb_patches((patches - mean) * torch.rsqrt(variance + NORMALIZATION_EPSILON), channels)


def binarize_patches(patches: Tensor) -> Tensor:
    """1 where a patch is white, above 127 of 255, else 0, as the render mode ``binary``: float32 of the same shape.

    Args:
        patches: ``[..., values]``, 0..255 (uint8) or 0..1 (floating point).
    """
    return (scale_pixels(patches) > 127 / 255).float()


def denormalize_patches(predictions: Tensor, references: Tensor) -> Tensor:
    """Undo :func:`normalize_patches` on *predictions*, with the mean and variance of the true patches.

    A model trained on normalized patches says nothing about a patch's brightness and contrast, so pictures of its
    predictions borrow both from the patch that was to be predicted, as those in the MAE papers do.

    Args:
        predictions: ``[..., values]``.
        references: the true patches, same shape, 0..255 (uint8) or 0..1 (floating point).

    Returns:
        float32, about 0..1 (not clipped).
    """
    variance, mean = torch.var_mean(scale_pixels(references), dim=-1, keepdim=True)
    return predictions.float() * torch.sqrt(variance + NORMALIZATION_EPSILON) + mean


def scale_pixels(pixels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Pixel values as the model reads them, 0 (black) to 1 (white): integers divided by 255, floats as they are."""
    scaled = pixels.to(dtype)
    return scaled if pixels.is_floating_point() else scaled / 255
