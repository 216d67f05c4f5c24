"""How many floating point operations a training step takes, and what a GPU can do at most."""

# Dense peaks in bf16 from the makers' data sheets, in TFLOP/s; the first name that a GPU's contains counts.
PEAK_TFLOPS = {
    "H200": 989.0,
    "H100 PCIe": 756.0,
    "H100": 989.0,
    "A100": 312.0,
    "L40S": 362.0,
    "A10G": 70.0,
    "RTX 4090": 165.0,
    "V100": 125.0,
}


def training_flops(model, patches=0, tokens=0, squares=0, rows=0, patch_values=256) -> float:
    """Operations of a batch, forward and backward, that the model's matrix products need; padding is not counted.

    A multiplication and an addition are two operations. Forward, a position takes 2 for every weight it is multiplied
    with, and backward twice as many; only the patch embedding has no gradient of its input to compute. Attention, of
    which the causal half counts, takes 2 products of queries with keys and of weights with values for every position
    and each before it. What is not a matrix product is left out, as is usual for this figure, and so is whatever
    ``checkpoint_activations`` computes once more.

    Args:
        model: :class:`~pixelgpt_fairseq.models.pixelgpt.PixelGPTModel`.
        patches, tokens: positions in use, of all rows.
        squares: the sum over rows of their squared numbers of positions.
        rows: number of rows, for a classifier, whose last layer computes one position of each.
        patch_values: values of a patch as the model is given it: 256 (gray), or 768.
    """
    config = model.config
    hidden, layers = config.hidden_size, config.num_hidden_layers
    key_value = 2 * hidden * (hidden // config.num_attention_heads) * config.num_key_value_heads
    layer = 2 * hidden * hidden + key_value + 3 * hidden * config.intermediate_size
    positions = patches + tokens
    attention = squares + positions  # twice the pairs of a position and one that it attends to
    total = 4 * hidden * patch_values * patches
    if model.num_labels is None:
        total += 6 * layer * layers * positions + 6 * hidden * layers * attention
        total += 6 * hidden * config.patch_size**2 * config.num_channels * patches
        total += 6 * hidden * ((model.vocab_size or 0) + config.extra_token_rows) * tokens
    else:
        total += 6 * layer * (layers - 1) * positions + 6 * hidden * (layers - 1) * attention
        total += 6 * key_value * positions + 6 * (layer - key_value + hidden * model.num_labels) * rows
        total += 12 * hidden * positions  # one query for each row
    return float(total)


def peak_tflops(device_name: str) -> float | None:
    """The dense bf16 peak of a GPU in TFLOP/s, by its name as PyTorch tells it; None if it is not in the table."""
    return next((peak for name, peak in PEAK_TFLOPS.items() if name in device_name), None)
