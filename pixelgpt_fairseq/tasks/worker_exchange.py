"""Exchange of Python objects between the workers of a job; replaces two functions of fairseq that no longer work.

To resume a run or fine-tune a checkpoint, fairseq reads the file on the first worker and broadcasts its contents:
tensors one by one, everything else pickled. The receivers unpickle with ``torch.load``, which since torch 2.6 refuses
the classes in it (fairseq's own and those of omegaconf). The pickle comes from another worker of the same job, not from
a file, so torch's own object broadcast is safe here. Reading files stays limited to plain data.

``fairseq-validate`` gathers the logs of all workers through a GPU buffer of fixed size, which fails for long
validations and on CPUs.
"""

import inspect
import logging

import torch.distributed
from fairseq import utils
from fairseq.distributed import utils as distributed_utils

logger = logging.getLogger(__name__)


def broadcast_object(obj, src_rank, group, dist_device):
    """Broadcast *obj* from worker *src_rank* to all workers of *group*; each returns it."""
    objects = [obj]
    torch.distributed.broadcast_object_list(objects, src=src_rank, group=group, device=dist_device)
    return objects[0]


def all_gather_list(data, group=None, max_size=None):
    """Gather *data* from all workers, in rank order, with tensors on the CPU; *max_size* is ignored."""
    group = distributed_utils.get_global_group() if group is None else group
    gathered = [None] * distributed_utils.get_world_size(group)
    torch.distributed.all_gather_object(gathered, utils.move_to_cpu(data), group=group)
    return gathered


_REPLACEMENTS = {"_broadcast_object_slow": broadcast_object, "all_gather_list": all_gather_list}


def replace_object_exchange(module=distributed_utils):
    """Replace fairseq's functions by those above; warn, and leave them, if their signatures are unknown.

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
