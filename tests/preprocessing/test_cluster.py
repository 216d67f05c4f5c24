"""Rendering on a Dask cluster: the same bytes, also where a worker is lost, or the scheduler."""

import importlib
import signal
import time
from functools import partial

import pytest
from processes import Command
from skips import needs_distributed
from toy_corpus import documents

from pixelgpt_fairseq.data.data_folder import DataFolder
from pixelgpt_fairseq.data.tokens import train_tokenizer
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.preprocessing import shards
from pixelgpt_fairseq.preprocessing.binarize import binarize
from pixelgpt_fairseq.preprocessing.partial_folder import finished_shards, partial_path
from pixelgpt_fairseq.rendering import RendererConfig

pytestmark = needs_distributed


class ToyCluster:
    """A scheduler and its workers, each a process of its own."""

    def __init__(self, folder, workers):
        self.file, self.processes = folder / "scheduler.json", []
        self.scheduler = self._start("dask_scheduler", "--port", "0", "--no-dashboard", "--no-show")
        self.workers = [
            self._start("dask_worker", "--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", folder)
            for _ in range(workers)
        ]

    def _start(self, program, *options):
        # Forked from a process that has imported this package, which takes seconds, and not Dask.
        command = Command(partial(_main_of_dask, program), "--scheduler-file", self.file, *options)
        self.processes.append(command.process)
        return command.process

    @property
    def address(self):
        """The scheduler's, once two workers are there."""
        import distributed

        with distributed.Client(scheduler_file=str(self.file), timeout=120, set_as_default=False) as client:
            client.wait_for_workers(len(self.workers), timeout=120)
            return client.scheduler.address

    def end(self):
        for process in reversed(self.processes):
            process.kill()
            process.join()


def _main_of_dask(program):
    importlib.import_module(f"distributed.cli.{program}").main()


@pytest.fixture
def cluster(tmp_path):
    found = ToyCluster(tmp_path, 2)
    yield found
    found.end()


def contents(path):
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_a_lost_worker_makes_no_difference_and_a_lost_scheduler_leaves_whole_shards(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "SHARD_CHARACTERS", 400)
    (tmp_path / "corpus.txt").write_text("\n\n".join(documents(60)))
    config, tokenizer = RendererConfig(max_patches=40), train_tokenizer(iter(documents()), 400)

    def render(name, **options):
        return binarize(
            [tmp_path / "corpus.txt"], tmp_path / name, "train", config, tokenizer, progress=False, **options
        )

    render("local")
    address, waiting = cluster.address, time.monotonic()
    read_stretches = shards.stretches

    def kill_in_the_middle(victim):
        def stretches(*args):
            for number, stretch in enumerate(read_stretches(*args)):
                yield stretch
                if number == 6:  # it has one of those before, and waits for others
                    victim.kill()

        monkeypatch.setattr("pixelgpt_fairseq.preprocessing.binarize.stretches", stretches)

    kill_in_the_middle(cluster.workers[0])
    render("cluster", scheduler=address)
    cluster.workers[0].join(30)
    assert cluster.workers[0].exitcode == -signal.SIGKILL
    number = len(list((tmp_path / "local" / "train.shards").iterdir()))
    assert number > 12
    assert contents(tmp_path / "cluster") == contents(tmp_path / "local")

    kill_in_the_middle(cluster.scheduler)
    with pytest.raises(UserError, match=r"--scheduler tcp://.*: lost, .*: shards that are finished stay"):
        render("orphaned", scheduler=address)
    kept = finished_shards(partial_path(DataFolder(tmp_path / "orphaned"), "train"))
    assert 0 < len(kept) < number
    monkeypatch.undo()
    monkeypatch.setattr(shards, "SHARD_CHARACTERS", 400)
    assert render("orphaned").resumed.pieces > 0  # on this machine, now that there is no other
    assert contents(tmp_path / "orphaned") == contents(tmp_path / "local")
    assert time.monotonic() - waiting < 300


def test_a_scheduler_that_is_not_there(tmp_path, monkeypatch):
    import distributed

    monkeypatch.setattr(distributed, "Client", lambda *args, **options: (_ for _ in ()).throw(OSError("timed out")))
    (tmp_path / "corpus.txt").write_text("text")
    with pytest.raises(UserError, match=r"--scheduler tcp://nowhere:1: no Dask scheduler answers there: timed out"):
        binarize(
            *([tmp_path / "corpus.txt"], tmp_path / "data", "train", RendererConfig()),
            **{"progress": False, "scheduler": "tcp://nowhere:1"},
        )
    assert not (tmp_path / "data").exists()
