"""The float32 weights behind a model in half precision."""

import copy
import pickle
from types import SimpleNamespace

import torch
from torch import nn

from pixelgpt_fairseq.models.master_weights import MasterWeights


def model_and_optimizer(flat):
    """A model in bfloat16, and an optimizer as fairseq's of all its weights but the first, which is frozen."""
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2)).bfloat16()
    trained = list(model.parameters())[1:]
    masters = [nn.Parameter(parameter.data.float()) for parameter in trained]
    if flat:  # --fp16 on a GPU: one tensor for each device
        masters = {None: nn.Parameter(torch.cat([master.data.flatten() for master in masters]))}
    return model, SimpleNamespaceWithReferences(fp16_params=trained, fp32_params=masters)


class SimpleNamespaceWithReferences(SimpleNamespace):
    """One that weak references may point to."""


def check(flat):
    model, optimizer = model_and_optimizer(flat)
    masters = MasterWeights()
    weights = {name: torch.randn_like(parameter.float()) for name, parameter in model.named_parameters()}
    model.load_state_dict(weights)
    masters.loaded(model, weights)
    assert masters.of(model) == {}
    masters.connect(model, optimizer)
    found = masters.of(model)
    assert list(found) == list(weights)[1:]
    for name, weight in found.items():
        assert torch.equal(weight, weights[name]), name
    found["1.bias"].zero_()
    flattened = optimizer.fp32_params[None] if flat else optimizer.fp32_params[-1]
    assert flattened[-2:].tolist() == [0, 0]  # no copies
    return masters, model


def test_masters_by_parameter():
    check(flat=False)


def test_masters_in_one_tensor():
    check(flat=True)


def test_copies_are_connected_with_nothing():
    model, optimizer = model_and_optimizer(flat=False)
    masters = MasterWeights()
    masters.connect(model, optimizer)
    assert len(masters.of(model)) == 3
    for other in (copy.deepcopy(masters), pickle.loads(pickle.dumps(masters))):
        assert other.of(model) == {}
    del optimizer
    assert masters.of(model) == {}


def test_without_masters_the_weights_are_the_models_own():
    model, _ = model_and_optimizer(flat=False)
    optimizer = SimpleNamespaceWithReferences()
    masters = MasterWeights()
    masters.connect(model, optimizer)
    assert masters.of(model) == {}
