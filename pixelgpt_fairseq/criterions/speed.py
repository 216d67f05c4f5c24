"""Speed in the training log: positions and operations a second per GPU, and the share of the GPU's peak."""

import torch
from fairseq.distributed import utils as distributed_utils
from fairseq.logging import metrics

from pixelgpt_fairseq.models.flops import peak_tflops, training_flops

_FLOPS = "_flops"  # meter: of all workers
_PRIORITY = 91  # beside fairseq's wps


def batch_flops(model, sample) -> float:
    """Operations of a training step on a batch (see :func:`~pixelgpt_fairseq.models.flops.training_flops`)."""
    patches = sample["net_input"].get("patches")
    return training_flops(model, **sample["positions"], patch_values=256 if patches is None else patches.shape[-1])


def log_speed(logging_outputs):
    """Log the training speed of each GPU, beside fairseq's ``wps`` of all workers together.

    ``wps_per_gpu``: patches and tokens in use a second. ``tflops_per_gpu``: the model's operations a second, in
    trillions. ``mfu`` (model FLOPs utilization): their share, in percent, of the GPU's dense bf16 peak, whatever the
    precision of the run; it is left out for a GPU whose peak is not known.
    """
    metrics.log_speed(_FLOPS, sum(output.get("flops", 0) for output in logging_outputs))
    workers = distributed_utils.get_data_parallel_world_size() if torch.distributed.is_initialized() else 1
    metrics.log_derived("wps_per_gpu", lambda meters: _rate(meters, "wps", workers, 1), _PRIORITY)
    metrics.log_derived("tflops_per_gpu", lambda meters: _rate(meters, _FLOPS, workers * 1e12, 2), _PRIORITY)
    peak = peak_tflops(_device_name(logging_outputs))
    if peak:
        metrics.log_derived("mfu", lambda meters: _rate(meters, _FLOPS, workers * peak * 1e10, 1), _PRIORITY)


def _device_name(logging_outputs):
    """Name of the GPU that holds the logged tensors, or "cpu"."""
    values = [value for output in logging_outputs for value in output.values() if torch.is_tensor(value)]
    return next((torch.cuda.get_device_name(value.device) for value in values if value.is_cuda), "cpu")


def _rate(meters, name, divisor, digits):
    return round(float(meters[name].avg) / divisor, digits) if name in meters else None
