"""Training by two processes of this machine, and the weights that came of it."""

import socket
import subprocess
from shlex import split

import torch
from toy_corpus import BIN, ENVIRONMENT, ROOT


def train_by_two_workers(*arguments):
    """Run ``fairseq-train`` with *arguments* in two processes, joined by gloo; returns what the first printed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    distributed = split(
        "--ddp-backend legacy_ddp --distributed-backend gloo --distributed-world-size 2 --distributed-no-spawn "
        f"--distributed-init-method tcp://127.0.0.1:{port} --distributed-rank"
    )
    start = {"cwd": ROOT, "env": ENVIRONMENT, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    workers = [
        subprocess.Popen([BIN / "fairseq-train", *arguments, *distributed, rank], **start) for rank in ("0", "1")
    ]
    outputs = [worker.communicate(timeout=240)[0] for worker in workers]
    assert all(worker.returncode == 0 for worker in workers), outputs
    return outputs[0]


def assert_same_weights(folder, other):
    """Check that the last checkpoints of two runs hold the same weights, within 1e-5."""
    weights, expected = (
        torch.load(path / "checkpoint_last.pt", weights_only=True)["model"] for path in (folder, other)
    )
    assert weights.keys() == expected.keys()
    for name, weight in weights.items():
        torch.testing.assert_close(weight, expected[name], rtol=0, atol=1e-5)
