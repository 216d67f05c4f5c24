"""``--compile``: layers compiled in place are one graph each, and an epoch of many shapes needs few of them."""

import pytest
import torch
from naive import VOCABULARY, small_model
from torch._dynamo.utils import counters

from pixelgpt_fairseq.data.batches import collate

PAIRS = [(row, 30 - row) for row in range(3, 28, 2)]  # patches and tokens of the longest row of each batch


DEVICE = torch.get_default_device()


@pytest.fixture(autouse=True)
def nothing_compiled():
    # A default device is a mode that sees every call, and breaks graphs; here all is put on the device by hand.
    torch.set_default_device(None)
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()
    torch.set_default_device(DEVICE)


def compiled_and_plain(**options):
    """The same weights twice. One graph a layer is demanded; the graphs run uncompiled, which takes no C++ compiler."""
    compiled, plain = small_model(**options).to(DEVICE), small_model(**options).to(DEVICE)
    compiled.compile_layers(backend="eager", fullgraph=True)
    return compiled, plain


def batch(modality, lengths, seed=0):
    """What the collater makes of rows of these ``(patches, tokens)``."""
    torch.manual_seed(seed)
    rows = []
    for number, (patches, tokens) in enumerate(lengths):
        row = {"id": number, "modality": modality}
        if modality != "text":
            row["patches"] = torch.randint(256, (patches, 256), dtype=torch.uint8)
        if modality != "pixel":
            row["tokens"] = torch.randint(VOCABULARY, (tokens,))
        rows.append(row)
    inputs = collate(rows, pad=0, strip_patches=30)["net_input"]
    return {name: value.to(DEVICE) if torch.is_tensor(value) else value for name, value in inputs.items()}


def assert_alike(compiled, plain, inputs):
    """The same outputs and, in training, the same gradients."""
    for model in (compiled, plain):
        model.zero_grad()
    outputs = [[part for part in model(**inputs) if part is not None] for model in (compiled, plain)]
    for ours, theirs in zip(*outputs, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    if torch.is_grad_enabled():
        for parts in outputs:
            sum(part.square().mean() for part in parts).backward()
    for (name, ours), theirs in zip(compiled.named_parameters(), plain.parameters(), strict=True):
        if theirs.grad is not None:
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-3, msg=name)


def test_names_of_parameters_stay():
    compiled, plain = compiled_and_plain()
    assert list(compiled.state_dict()) == list(plain.state_dict())


def test_pretraining_on_full_rows_needs_one_graph():
    compiled, plain = compiled_and_plain()
    compiled.train(), plain.train()
    for update in range(3):
        for modality in ("pixel", "text"):
            assert_alike(compiled, plain, batch(modality, [(32, 32)] * 2, update))
    assert counters["stats"]["unique_graphs"] == 1


@pytest.mark.parametrize("checkpoint_activations", [False, True])
def test_an_epoch_of_pairs_and_its_validation_need_few_graphs(checkpoint_activations):
    compiled, plain = compiled_and_plain(checkpoint_activations=checkpoint_activations)
    shapes = [[(patches, tokens), (patches // 2, tokens), (3, 2)] for patches, tokens in PAIRS]
    shapes += [[(patches, patches // 3)] * 2 for patches in range(3, 28, 3)]
    compiled.train(), plain.train()
    for seed, lengths in enumerate(shapes):
        assert_alike(compiled, plain, batch("pair", lengths, seed))
    compiled.eval(), plain.eval()
    with torch.no_grad():
        for seed, lengths in enumerate(shapes[::8]):
            assert_alike(compiled, plain, batch("pair", lengths, seed))
    assert counters["stats"]["unique_graphs"] <= 8
    assert not counters["graph_break"]


def test_an_epoch_of_classification_and_its_validation_need_few_graphs():
    compiled, plain = compiled_and_plain(num_labels=3)
    shapes = [[(n, 0), (max(2, n // 2), 0)] * rows for n in range(2, 60, 5) for rows in (1, 2, 3)]
    for training in (True, False):
        compiled.train(training), plain.train(training)
        with torch.set_grad_enabled(training):
            for seed, lengths in enumerate(shapes):
                assert_alike(compiled, plain, batch("pixel", lengths, seed))
    assert counters["stats"]["unique_graphs"] <= 8
    assert not counters["graph_break"]


@pytest.mark.parametrize("num_labels", [None, 3])
@pytest.mark.parametrize("modality", ["pixel", "text", "pair"])
def test_the_whole_forward_has_no_graph_break(modality, num_labels):
    model = small_model(num_labels=num_labels).to(DEVICE).train()
    inputs = batch(modality, [(9, 7), (4, 3), (6, 7)])
    expected = model(**inputs)
    found = torch.compile(model, backend="eager", fullgraph=True)(**inputs)
    for ours, theirs in zip(found, expected, strict=True):
        if theirs is not None:
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
