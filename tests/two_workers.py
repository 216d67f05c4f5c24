"""fairseq's commands run by two processes of this machine, and the weights that came of it."""

import socket
from functools import partial

import fairseq_cli.train
import torch
from processes import Command

# Plain gradient descent: weights of two ways to compute the same differ as little as their gradients. Adam's first
# steps are as large for a gradient of 1e-9 as for one of 1, so that last digits, which differ from one processor to the
# next, become whole steps; and neither it nor clipped gradients show that a loss was divided by the wrong number.
DESCENT = "--optimizer nag --momentum 0 --lr 1e-2 --clip-norm 0".split()

GLOO = "--cpu --ddp-backend legacy_ddp --distributed-backend gloo --distributed-world-size 2".split()


def train_by_two_workers(*arguments):
    """Run ``fairseq-train`` with *arguments* in two processes, joined by gloo; returns what the first printed."""
    return run_two_workers(fairseq_cli.train.cli_main, *arguments)


def run_two_workers(main, *arguments):
    """Run one of fairseq's commands in two processes, joined by gloo; returns what the first printed."""
    meeting = ["--distributed-no-spawn", "--distributed-init-method", f"tcp://127.0.0.1:{free_port()}"]
    workers = [Command(main, *arguments, *GLOO, *meeting, "--distributed-rank", rank) for rank in ("0", "1")]
    first, _ = [worker.wait() for worker in workers]
    return first


def start_two_workers(main, *arguments, method="fork"):
    """Run one of fairseq's commands, which itself starts a worker for each of two GPUs, here on the CPU.

    fairseq's own *method* is "spawn": workers that import everything again, which takes seconds. Forked from a process
    that has imported it, they do all else as fairseq has them do.

    Returns what all of them printed.
    """
    return start_on_two_gpus(main, *arguments, *GLOO, method=method)


def start_on_two_gpus(main, *arguments, method="fork"):
    """The same for a command whose arguments say themselves that its workers are joined on the CPU."""
    return Command(partial(_on_two_gpus, main, method), *arguments).wait()


def _on_two_gpus(main, method):
    torch.cuda.device_count = lambda: 2
    torch.cuda.set_device = lambda device: None
    torch.multiprocessing.spawn = partial(torch.multiprocessing.start_processes, start_method=method)
    main()


def free_port():
    """A port of this machine that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def assert_same_weights(folder, other, tolerance=1e-5):
    """Check that the last checkpoints of two runs hold the same weights, within *tolerance*, and have learned any."""
    weights, expected = (
        torch.load(path / "checkpoint_last.pt", weights_only=True)["model"] for path in (folder, other)
    )
    assert weights.keys() == expected.keys()
    for name, weight in weights.items():
        torch.testing.assert_close(weight, expected[name], rtol=0, atol=tolerance)
    assert (expected["model.norm.weight"] - 1).abs().max() > 10 * tolerance  # it was one at the start
