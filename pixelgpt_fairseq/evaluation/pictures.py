"""Pictures for a person to look at: a text as the model reads it, and what the model predicts of it.

Patches and tokens are predicted by :func:`predict_patches` and :func:`predict_tokens`, and drawn in one picture by
:func:`draw_predictions`.
"""

from dataclasses import dataclass

import torch
from PIL import Image, ImageDraw

from pixelgpt_fairseq.data.patches import (
    BCE,
    NORMALIZED_MSE,
    denormalize_patches,
    gray_to_rgb_patches,
    patch_layout,
    scale_pixels,
    unpatchify,
)
from pixelgpt_fairseq.data.tokens import WORD_START
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.rendering.lettering import Lettering

_PAPER, _INK, _LABEL = (255, 255, 255), (0, 0, 0), (60, 90, 160)
_RIGHT, _TICK = (200, 235, 200), (140, 140, 140)
_NOTHING = 215  # the gray of the first patch, for which there is no prediction
_TICK_PIXELS = 3  # height of the marks between the patches and their predictions, before scaling
_NARROWEST = 160  # width of a picture, before scaling: its sentences need some room
_READ, _PREDICTED = "read", "predicted"
_PATCH_SENTENCE = (
    "Below each patch, what the model predicted there from the patches to its left (of the first, nothing)."
)
_TOKEN_SENTENCE = (
    "Below each token, the one that the model found most likely from the tokens to its left (green: right)."
)
_SEPARATOR = "the separator: the text ends here"


@dataclass(frozen=True)
class TokenPrediction:
    """A token of a text, and what the model predicted in its place."""

    token: str  # as the tokenizer spells it: ▁ begins a word
    predicted: str  # the most likely token
    probability: float  # of the most likely token

    @property
    def is_right(self):
        """Whether the most likely token was the one of the text."""
        return self.token == self.predicted


def _check_language_model(model):
    if model.num_labels is not None:
        raise UserError("this model was fine-tuned on a task: it gives labels, and predicts no patches or tokens")


@torch.no_grad()
def predict_patches(model, patches, patch_loss=NORMALIZED_MSE):
    """What *model* predicts for each patch but the first, from the patches before it.

    A model trained on normalized targets (norm_pix_loss) predicts neither brightness nor contrast: both are taken from
    the patch that was to be predicted, as in the pictures of MAE papers. A blank patch is therefore shown blank.

    Args:
        model: PixelGPTModel in eval mode.
        patches: uint8 ``[n, 256]``, or rgb ``[n, 768]``.
        patch_loss: what the model was trained with (``--patch-loss``).

    Returns:
        float ``[n - 1, 256]``, 0 (black) to 1 (white): of gray patches the channels' mean; of rgb ``[n - 1, 768]``.

    Raises:
        UserError: if the model reads no patches, or is a classifier.
    """
    _check_language_model(model)
    if not model.uses_patches:
        raise UserError("this model was trained on text alone: it predicts no patches")
    predictions = model(patches=patches[None]).patch_predictions[0, :-1].float()
    channels = predictions.shape[-1] // patches.shape[-1]
    if patch_loss == BCE:
        predictions = predictions.sigmoid()
    if patch_loss == NORMALIZED_MSE:
        references = gray_to_rgb_patches(scale_pixels(patches[1:]), channels)
        predictions = denormalize_patches(predictions, references)
    return predictions.unflatten(-1, (-1, channels)).mean(-1).clamp(0, 1)


@torch.no_grad()
def predict_tokens(model, tokenizer, text):
    """What *model* predicts for each token of *text*, and for its end, from the tokens before it.

    Args:
        model: PixelGPTModel in eval mode.
        tokenizer: the :class:`~pixelgpt_fairseq.data.tokens.Tokenizer` that it was trained with.
        text: str. What does not fit the model's positions is left out.

    Returns:
        list of TokenPrediction

    Raises:
        UserError: if the model reads no tokens, or is a classifier.
    """
    _check_language_model(model)
    if model.vocab_size is None:
        raise UserError("this model was trained on pixels alone: it predicts no tokens")
    ids = [tokenizer.bos, *tokenizer.encode(text)[0].tolist(), tokenizer.eos][: model.max_positions()]
    probabilities = model(tokens=torch.tensor([ids])).token_logits[0, :-1].float().softmax(-1)
    best, chosen = probabilities[:, : len(tokenizer)].max(-1)
    spelled = tokenizer.model.id_to_piece
    found = zip(ids[1:], chosen.tolist(), best.tolist(), strict=True)
    return [TokenPrediction(spelled(token), spelled(likeliest), share) for token, likeliest, share in found]


def draw_predictions(patches=None, predictions=None, tokens=(), patches_per_row=20, scale=4):
    """A labeled picture of a text, with the model's predictions below each row of it: of patches, of tokens, or both.

    Args:
        patches: uint8 ``[n, 256]``, or rgb ``[n, 768]``; None to draw tokens alone.
        predictions: float, of one patch less, from :func:`predict_patches`.
        tokens: from :func:`predict_tokens`.
        patches_per_row: where rows are broken.
        scale: screen pixels per pixel of a patch; labels grow with it.

    Returns:
        PIL.Image, RGB
    """
    pen = _Pen(scale)
    width = _NARROWEST * scale
    if patches is not None:
        side, _ = patch_layout(patches.shape[-1])
        width = max(width, min(patches_per_row, len(patches)) * side * scale)
    elif tokens:
        width *= 2
    parts = []
    if patches is not None:
        parts += [pen.sentence(_PATCH_SENTENCE, width), *_patch_rows(patches, predictions, patches_per_row, pen)]
    if tokens:
        parts += [pen.sentence(_TOKEN_SENTENCE, width), *_token_rows(tokens, pen, width)]
    margin = 2 * scale
    gap = 4 * scale
    height = sum(part.height + gap for part in parts) - gap + 2 * margin
    picture = Image.new("RGB", (max(part.width for part in parts) + 2 * margin, height), _PAPER)
    top = margin
    for part in parts:
        picture.paste(part, (margin, top))
        top += part.height + gap
    return picture


class _Pen(Lettering):
    """Writes labels in a size that suits the patches' *scale*."""

    def __init__(self, scale):
        # The mark that begins a word stands on the left of right-to-left words, too.
        super().__init__(size=4 + 4 * scale, apart=WORD_START)
        self.scale = scale
        self.margin = round(max(self.length(label) for label in (_READ, _PREDICTED))) + 2 * scale  # of every row

    def write(self, draw, position, text, fill=_LABEL):
        super().write(draw, position, text, fill)

    def sentence(self, text, width):
        """A picture of *text*, broken into lines no wider than rows of *width* with their labels."""
        width += self.margin
        lines, line = [], ""
        for word in text.split():
            if line and self.length(f"{line} {word}") > width:
                lines.append(line)
                line = word
            else:
                line = f"{line} {word}".strip()
        lines.append(line)
        picture = Image.new("RGB", (width, self.height * len(lines)), _PAPER)
        for number, each in enumerate(lines):
            self.write(ImageDraw.Draw(picture), (0, number * self.height), each)
        return picture


def _patch_rows(patches, predictions, patches_per_row, pen):
    """Yield a picture of every row of patches, with the predictions below and labels on the left."""
    side, _ = patch_layout(patches.shape[-1])
    nothing = torch.full_like(patches[:1], _NOTHING)
    predicted = torch.cat([nothing, (predictions * 255).round().to(torch.uint8)])
    rows = list(zip(patches.split(patches_per_row), predicted.split(patches_per_row), strict=True))
    scale = pen.scale
    for number, (shown, guessed) in enumerate(rows):
        last = number == len(rows) - 1
        below = 2 * side + _TICK_PIXELS
        width = pen.margin + len(shown) * side * scale
        if last:
            width = max(width, pen.margin + round(pen.length(_SEPARATOR)) + side * scale)
        picture = Image.new("RGB", (width, below * scale + last * pen.height), _PAPER)
        draw = ImageDraw.Draw(picture)
        for strip, top, label in ((shown, 0, _READ), (guessed, side + _TICK_PIXELS, _PREDICTED)):
            drawn = _strip(strip)
            enlarged = drawn.resize((drawn.width * scale, drawn.height * scale), Image.Resampling.NEAREST)
            picture.paste(enlarged, (pen.margin, top * scale))
            pen.write(draw, (0, top * scale + (side * scale - pen.height) // 2), label)
        for column in range(len(shown) + 1):
            x = min(pen.margin + column * side * scale, picture.width - 1)
            draw.line([(x, side * scale), (x, (side + _TICK_PIXELS) * scale - 1)], fill=_TICK)
        if last:  # under the separator, which is the last patch
            right = pen.margin + len(shown) * side * scale
            left = max(pen.margin, right - round(pen.length(_SEPARATOR)))
            pen.write(draw, (left, below * scale), _SEPARATOR)
        yield picture


def _token_rows(tokens, pen, width):
    """Yield a picture of every row of tokens, with the predictions below and labels on the left."""
    pad = 2 * pen.scale
    columns = [round(max(pen.length(each.token), pen.length(each.predicted))) + 2 * pad for each in tokens]
    row, used = [], 0
    for token, column in zip(tokens, columns, strict=True):
        if row and used + column > width:
            yield _token_row(row, pen, pad)
            row, used = [], 0
        row.append((token, column))
        used += column
    yield _token_row(row, pen, pad)


def _token_row(row, pen, pad):
    line = pen.height + pad
    picture = Image.new("RGB", (pen.margin + sum(column for _, column in row) + 1, 2 * line + 1), _PAPER)
    draw = ImageDraw.Draw(picture)
    pen.write(draw, (0, pad // 2), _READ)
    pen.write(draw, (0, line + pad // 2), _PREDICTED)
    left = pen.margin
    for token, column in row:
        draw.rectangle([left, line, left + column, 2 * line], fill=_RIGHT if token.is_right else _PAPER, outline=_TICK)
        draw.rectangle([left, 0, left + column, line], outline=_TICK)
        pen.write(draw, (left + pad, pad // 2), token.token, _INK)
        pen.write(draw, (left + pad, line + pad // 2), token.predicted, _INK)
        left += column
    return picture


def _strip(patches):
    side, channels = patch_layout(patches.shape[-1])
    strip = unpatchify(patches[None], channels, side)[0]
    return Image.fromarray((strip[0] if channels == 1 else strip.permute(1, 2, 0)).numpy())
