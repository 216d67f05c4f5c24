"""The number of workers of a run, and how they share an update: the same recipe on one GPU, one node, or several.

fairseq supports three ways of starting (``fairseq/distributed/utils.py``, ``infer_init_method``): directly, when it
spawns a worker per GPU itself; by ``torchrun``, with one process per GPU; and by Slurm's ``srun``, with one process per
GPU or one per node. These functions read the same environment variables as fairseq.
"""

import os

import torch

from pixelgpt_fairseq.errors import UserError

_PORTS = range(20000, 60000)  # between the ports of services and those that systems give out for a while


def workers() -> int:
    """The number of workers of this run on all nodes: one per GPU, or a single one on the CPU."""
    gpus = max(torch.cuda.device_count(), 1)
    if _started_by_torchrun():
        return int(os.environ["WORLD_SIZE"])
    if _started_by_srun():
        tasks, nodes = int(os.environ["SLURM_NTASKS"]), int(os.environ["SLURM_NNODES"])
        return nodes * gpus if tasks == nodes else tasks
    return gpus


def port() -> int:
    """The rendezvous port of workers started by ``srun``, derived from the job id; -1 where fairseq needs none.

    Without a port, fairseq ignores Slurm and starts an independent run on every node.
    """
    if _started_by_torchrun() or not _started_by_srun() or workers() == 1:
        return -1
    return _PORTS[int(os.environ.get("SLURM_JOB_ID", 0)) % len(_PORTS)]


def update_freq(examples, batch_size, number_of_workers) -> int:
    """``--update-freq`` with which an update has *examples* examples, whatever the number of workers.

    Args:
        examples: blocks, pairs or labeled examples of an update, on all workers together.
        batch_size: examples of a micro-batch.
        number_of_workers: workers that share the update.

    Raises:
        UserError: if the examples cannot be divided evenly; the message names a setting with which they can.
    """
    share = examples / number_of_workers
    if share % batch_size == 0:
        return int(share // batch_size)
    workers_and_batch = f"{examples} examples an update: {number_of_workers} workers that take {batch_size} at a time"
    if share == int(share):
        fitting = max(size for size in range(1, int(min(batch_size, share)) + 1) if share % size == 0)
        raise UserError(f"{workers_and_batch} cannot share them evenly: dataset.batch_size={fitting} can")
    nearest = max(round(share / batch_size), 1)
    raise UserError(
        f"{workers_and_batch} cannot share them evenly: choose another number of workers, or give up the recipe's "
        f"batch with optimization.update_freq=[{nearest}], which makes it {nearest * batch_size * number_of_workers}"
    )


def _started_by_torchrun():
    return all(name in os.environ for name in ("MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE", "RANK"))


def _started_by_srun():
    # A batch script has SLURM_NTASKS too; only processes started by srun have a step id.
    return all(name in os.environ for name in ("SLURM_STEP_ID", "SLURM_NTASKS", "SLURM_NNODES"))
