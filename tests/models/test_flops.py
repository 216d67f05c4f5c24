import pytest
import torch
from naive import CONFIG, VOCABULARY, small_model
from torch.utils.flop_counter import FlopCounterMode

from pixelgpt_fairseq.models.flops import peak_tflops, training_flops

# The model of naive.py: hidden 32, 2 layers, 4 heads of 8, 2 key-value heads, 48 inside SwiGLU.
LAYER = 32 * 32 + 2 * 32 * 16 + 32 * 32 + 3 * 32 * 48  # weights: query, key and value, output, SwiGLU


def test_operations_of_a_pair_are_those_counted_by_hand():
    model = small_model()
    assert (CONFIG["hidden_size"], CONFIG["intermediate_size"]) == (32, 48)
    weights = 2 * 6 * LAYER * 12  # 12 positions in 2 layers
    pairs_of_positions = 12 * 13 // 2  # each with itself and all before it
    attention = 2 * 3 * 2 * 2 * 32 * pairs_of_positions  # layers; forward and twice as much backward; products; 2 each
    heads = 6 * 32 * 768 * 9 + 6 * 32 * VOCABULARY * 3
    embedding = 4 * 32 * 256 * 9
    counted = training_flops(model, patches=9, tokens=3, squares=144, rows=1)
    assert counted == weights + attention + heads + embedding
    colors = training_flops(model, patches=9, tokens=3, squares=144, rows=1, patch_values=768)
    assert colors == counted + 4 * 32 * 512 * 9


def test_rows_add_up():
    model = small_model()
    both = training_flops(model, patches=12, squares=5**2 + 7**2, rows=2)
    alone = [training_flops(model, patches=n, squares=n**2, rows=1) for n in (5, 7)]
    assert both == sum(alone)


@pytest.mark.parametrize("num_labels", [None, 3])
def test_torch_counts_the_same_products_of_weights(num_labels):
    model = small_model(num_labels=num_labels).train()
    tokens = torch.randint(VOCABULARY, (2, 40))
    with FlopCounterMode(display=False) as counter:
        output = model(tokens=tokens)
        (output.token_logits if num_labels is None else output.class_logits).sum().backward()
    products = sum(flops for kind, flops in counter.get_flop_counts()["Global"].items() if "attention" not in str(kind))
    # Attention: each pair of a position and one before it, or itself, in each layer; a classifier's last has one query.
    pairs = 2 * 40 * 41 // 2
    attention = 12 * 32 * (2 * pairs if num_labels is None else pairs + 2 * 40)
    assert products + attention == training_flops(model, tokens=80, squares=2 * 40**2, rows=2)


def test_the_released_size_costs_two_billion_operations_a_patch():
    with torch.device("meta"):
        model = small_model(
            vocab_size=32000,
            hidden_size=1024,
            num_hidden_layers=24,
            num_attention_heads=16,
            num_key_value_heads=8,
            intermediate_size=2816,
            max_position_embeddings=1024,
        )
    assert training_flops(model, patches=1024, squares=1024**2, rows=1) / 1024 == pytest.approx(1.86e9, rel=0.01)
    assert training_flops(model, tokens=1024, squares=1024**2, rows=1) / 1024 == pytest.approx(2.05e9, rel=0.01)


def test_peaks_go_by_the_name_of_the_gpu():
    assert peak_tflops("NVIDIA H100 80GB HBM3") == 989
    assert peak_tflops("NVIDIA H100 PCIe") == 756
    assert peak_tflops("cpu") is None
