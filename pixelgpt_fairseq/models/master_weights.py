"""Saves the float32 weights of half-precision training in checkpoints, so that resuming does not round them.

With ``--bf16`` and ``--fp16``, fairseq's optimizer trains float32 copies of the weights, the master weights; the model
holds rounded copies, and only those are saved. A model with :class:`MasterWeights` saves and loads the master weights
instead, so that a resumed run continues exactly and exported or fine-tuned weights were never rounded.
"""

import weakref

import torch


class MasterWeights:
    """Connects a model with the master weights of the optimizer that trains it.

    A copy, which fairseq makes together with the model for ``--store-ema``, is not connected.
    """

    def __init__(self):
        self._optimizer = lambda: None  # a weak reference
        self._loaded = {}  # name -> float32 tensor, for an optimizer that is yet to be built

    def __reduce__(self):
        return MasterWeights, ()

    def loaded(self, model, state):
        """Remember the weights of *state*, which *model* has just loaded, if loading rounded them."""
        self._loaded = {
            name: state[name]
            for name, parameter in model.named_parameters()
            if parameter.dtype in (torch.float16, torch.bfloat16) and state[name].dtype == torch.float32
        }

    def connect(self, model, optimizer):
        """Copy the loaded weights into *optimizer* before its first step; afterwards :meth:`of` returns its weights.

        Args:
            model: whose parameters it trains.
            optimizer: fairseq's; nothing happens if it has no master weights.
        """
        if self._optimizer() is optimizer:
            return
        self._optimizer = weakref.ref(optimizer)
        masters = self.of(model)
        for name, weight in self._loaded.items():
            if name in masters:
                masters[name].copy_(weight)
        self._loaded = {}

    def of(self, model):
        """The master weights of *model*: name -> float32 tensor, no copies; empty where there are none."""
        optimizer = self._optimizer()
        masters = getattr(optimizer, "fp32_params", None)
        if masters is None:  # float32 throughout, or --memory-efficient-bf16, which trains the rounded weights
            return {}
        if isinstance(masters, dict):  # for each device, all weights in one
            sizes = {device: [] for device in masters}
            for parameter in optimizer.fp16_params:
                sizes[parameter.device.index].append(parameter.numel())
            parts = {device: iter(flat.data.split(sizes[device])) for device, flat in masters.items()}
            masters = [next(parts[parameter.device.index]) for parameter in optimizer.fp16_params]
        master_of = dict(zip(map(id, optimizer.fp16_params), masters, strict=True))
        return {
            name: master_of[id(parameter)].data.view_as(parameter)
            for name, parameter in model.named_parameters()
            if id(parameter) in master_of
        }
