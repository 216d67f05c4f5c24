"""How many workers a run has, and every way to start them."""

import os
from functools import partial

import fairseq_cli.hydra_train
import pytest
import torch
from fairseq.dataclass.configs import DistributedTrainingConfig
from fairseq.distributed.utils import infer_init_method
from hydra_runs import PRETRAINING, SMALL_PRETRAINING, hydra_options
from processes import Command
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
from two_workers import free_port, start_on_two_gpus

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.training import launch

TORCHRUN = {"MASTER_ADDR": "localhost", "MASTER_PORT": "1", "RANK": "3"}
STEP = {"SLURM_STEP_ID": "0", "SLURM_JOB_ID": "7"}


@pytest.fixture
def machine(monkeypatch):
    """A machine with a number of GPUs, on which nothing is said about how a run is started."""
    for name in os.environ:
        if name.startswith("SLURM_") or name in (*TORCHRUN, "WORLD_SIZE"):
            monkeypatch.delenv(name)

    def describe(gpus, **environment):
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        for name, value in environment.items():
            monkeypatch.setenv(name, str(value))

    return describe


@pytest.mark.parametrize(
    ("gpus", "environment", "expected"),
    [
        (0, {}, 1),
        (8, {}, 8),
        (8, TORCHRUN | {"WORLD_SIZE": "32"}, 32),
        (1, TORCHRUN | {"WORLD_SIZE": "1"}, 1),
        (8, STEP | {"SLURM_NNODES": "2", "SLURM_NTASKS": "16"}, 16),  # a task for each GPU
        (8, STEP | {"SLURM_NNODES": "2", "SLURM_NTASKS": "2"}, 16),  # a task for each node
        (8, {"SLURM_JOB_ID": "7", "SLURM_NNODES": "2", "SLURM_NTASKS": "16"}, 8),  # the script of a batch job itself
    ],
)
def test_workers_are_those_of_all_nodes(machine, gpus, environment, expected):
    machine(gpus, **environment)
    assert launch.workers() == expected
    joined_by_slurm = "SLURM_STEP_ID" in environment
    assert (launch.port() > 1024) == joined_by_slurm
    assert joined_by_slurm or launch.port() == -1


def test_an_update_is_the_same_for_every_number_of_workers():
    for workers in (1, 2, 4, 8, 64, 256):
        assert launch.update_freq(4096, 16, workers) * 16 * workers == 4096
    with pytest.raises(UserError, match=r"dataset\.batch_size=8 can$"):
        launch.update_freq(4096, 16, 512)
    with pytest.raises(UserError, match=r"optimization\.update_freq=\[43\], which makes it 4128$"):
        launch.update_freq(4096, 16, 6)
    with pytest.raises(UserError, match=r"update_freq=\[1\]"):
        launch.update_freq(4, 16, 8)


def recipe(run):
    """The command line of two updates by the recipe of the released size, made small; 16 examples an update."""
    share = "${pixelgpt.update_freq:16,${dataset.batch_size},${distributed_training.distributed_world_size}}"
    small = [*SMALL_PRETRAINING, "model.num_attention_heads=2", "model.num_key_value_heads=1"]
    cpu = "common.cpu=true common.bf16=false distributed_training.distributed_backend=gloo"
    options = f"{cpu} distributed_training.ddp_backend=legacy_ddp optimization.max_update=2 dataset.num_workers=0"
    return [*small, *options.split(), f"optimization.update_freq=['{share}']", f"hydra.run.dir={run}"]


def torchrun():
    """What ``torchrun --nproc-per-node 2 fairseq-hydra-train`` does, but its workers are forked."""
    one_node = {"min_nodes": 1, "max_nodes": 1, "rdzv_backend": "c10d", "rdzv_endpoint": f"127.0.0.1:{free_port()}"}
    elastic_launch(LaunchConfig(**one_node, nproc_per_node=2, start_method="fork"), on_one_of_two_gpus)()


def on_one_of_two_gpus():
    torch.cuda.device_count = lambda: 2
    torch.cuda.set_device = lambda device: None
    fairseq_cli.hydra_train.cli_main()


def hydra_train_in(environment):
    os.environ.update(environment)
    fairseq_cli.hydra_train.cli_main()


def assert_two_workers_trained(run):
    saved = torch.load(run / "checkpoints" / "checkpoint_last.pt", weights_only=True)
    assert saved["optimizer_history"][-1]["num_updates"] == 2
    assert saved["cfg"]["distributed_training"]["distributed_world_size"] == 2
    assert saved["cfg"]["optimization"]["update_freq"] == [4]  # 16 examples, two workers, two at a time
    log = (run / "hydra_train.log").read_text()
    assert "training on 2 devices (GPUs/TPUs)" in log


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """The environment of a Slurm step on one node, as far as fairseq looks, for a number of tasks there."""
    (tmp_path / "scontrol").write_text("#!/bin/sh\necho 127.0.0.1\n")
    (tmp_path / "scontrol").chmod(0o755)

    def environment(tasks):
        return {
            **STEP,
            "SLURM_JOB_ID": str(free_port()),
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "SLURM_STEP_NODELIST": "node",
            "SLURM_NODEID": "0",
            "SLURM_NNODES": "1",
            "SLURM_NTASKS": str(tasks),
            "SLURM_NTASKS_PER_NODE": str(tasks),
        }

    return environment


@pytest.mark.parametrize("way", ["torchrun", "srun"])
def test_every_way_to_start_gives_one_run_of_all_workers(way, slurm, toy_data, tmp_path):
    """Two processes of torchrun; one of srun that starts two workers, as fairseq does on a single machine, too."""
    run = tmp_path / "run"
    arguments = hydra_options(PRETRAINING, "dualgpt", "size=released", f"task.data={toy_data}", *recipe(run))
    if way == "torchrun":
        Command(torchrun, *arguments).wait()
    else:
        environment = slurm(tasks=1) | {"SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
        start_on_two_gpus(partial(hydra_train_in, environment), *arguments)
    assert_two_workers_trained(run)


def test_a_slurm_task_for_each_gpu_becomes_a_worker(machine, slurm, monkeypatch):
    machine(2, **slurm(tasks=2), SLURM_PROCID="1", SLURM_LOCALID="1")
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    counted = {"distributed_world_size": launch.workers(), "distributed_port": launch.port()}
    cfg = DistributedTrainingConfig(**counted, tpu=False)
    infer_init_method(cfg)
    assert (cfg.distributed_world_size, cfg.distributed_rank, cfg.device_id) == (2, 1, 1)
    assert cfg.distributed_no_spawn
    assert cfg.distributed_init_method == f"tcp://127.0.0.1:{launch.port()}"
