"""How the workers of one job exchange Python objects, in place of two functions of fairseq that cannot do it.

When a run is resumed or a checkpoint is fine-tuned, fairseq reads the file on the first worker alone and broadcasts
what it read: tensors one by one, all else pickled. The receivers unpickle with ``torch.load``, which since torch 2.6
refuses the classes that are in there (fairseq's own, and those of omegaconf). What arrives was pickled a moment ago by
another worker of the same job, so torch's own exchange of objects may serve. No file is read here: what is read from
files stays limited to plain data.

``fairseq-validate`` gathers what every worker logged, through a buffer of a fixed size on a GPU: a longer validation
fails, and any on CPUs.
"""

import inspect
import logging

import torch.distributed
from fairseq import utils
from fairseq.distributed import utils as distributed_utils

logger = logging.getLogger(__name__)


def broadcast_object(obj, src_rank, group, dist_device):
    """Send *obj* of worker *src_rank* to all workers of *group*, and return it on each."""
    objects = [obj]
    torch.distributed.broadcast_object_list(objects, src=src_rank, group=group, device=dist_device)
    return objects[0]


def all_gather_list(data, group=None, max_size=None):
    """The *data* of all workers, in their order, with tensors on the CPU; *max_size* is not needed."""
    group = distributed_utils.get_global_group() if group is None else group
    gathered = [None] * distributed_utils.get_world_size(group)
    torch.distributed.all_gather_object(gathered, utils.move_to_cpu(data), group=group)
    return gathered


_REPLACEMENTS = {"_broadcast_object_slow": broadcast_object, "all_gather_list": all_gather_list}


def replace_object_exchange(module=distributed_utils):
    """Let fairseq call the functions above; where it has others than those known, warn and leave them alone.

    Args:
        module: ``fairseq.distributed.utils``.
    """
    for name, replacement in _REPLACEMENTS.items():
        original = getattr(module, name, None)
        if original is not None and _arguments(original) == _arguments(replacement):
            setattr(module, name, replacement)
        else:
            logger.warning(
                f"this fairseq has another {name} than pixelgpt-fairseq knows: if several workers cannot load a "
                "checkpoint, use --load-checkpoint-on-all-dp-ranks or another version of fairseq"
            )


def _arguments(function):
    return list(inspect.signature(function).parameters)


replace_object_exchange()
