"""Jobs on the workers of a Dask cluster, which runs under Slurm, MPI, Kubernetes or ssh.

Dask sends jobs to workers, and sends the job of a worker that is lost to another one. The machines must see the same
files under the same paths.
"""

import contextlib
import hashlib
import pickle
import threading

from pixelgpt_fairseq.errors import UserError

_local = threading.local()  # of a thread of a Dask worker: the worker that it made last


class Cluster:
    """A connection to a Dask scheduler, to be used in a ``with`` statement.

    Args:
        address: of the scheduler, such as ``tcp://host:8786``.
        make_worker: called with *args* once in each thread of the cluster; what it returns is called with each job.
        args: tuple.

    Raises:
        UserError: if Dask is not installed, or no scheduler answers.
    """

    def __init__(self, address, make_worker, args):
        try:
            import distributed
        except ImportError:
            raise UserError(
                "--scheduler needs Dask: pip install -e '.[cluster]' -c constraints.txt, on all machines"
            ) from None
        self.address, self._distributed = address, distributed
        try:
            self._client = distributed.Client(address, timeout=30, set_as_default=False)
        except (OSError, ValueError) as error:
            raise UserError(f"--scheduler {address}: no Dask scheduler answers there: {error}") from None
        setup = pickle.dumps((make_worker, args))
        # The result of a task, unlike data that is sent to workers, is there again after a worker is lost.
        self._setup = self._client.submit(_keep, hashlib.sha256(setup).hexdigest(), setup)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._client.close(timeout=5)

    def at_once(self):
        """How many jobs may wait: two for each thread of the cluster as it is now."""
        with self.loss_named():
            return 2 * max(1, sum(self._client.ncores().values()))

    def submit(self, job):
        """Submit a job; returns an object whose ``result()`` waits for it."""
        with self.loss_named():
            return _Submitted(self._client.submit(_do, self._setup, job, pure=False), self)

    @contextlib.contextmanager
    def loss_named(self):
        """Raise a UserError for the loss of the scheduler; errors of jobs are UserErrors already."""
        import asyncio
        import concurrent.futures

        try:
            yield
        except UserError:
            raise
        except (asyncio.CancelledError, concurrent.futures.CancelledError, OSError, RuntimeError) as error:
            raise self._failure(error) from None
        except Exception as error:
            if type(error).__module__.startswith("distributed"):
                raise self._failure(error) from None
            raise

    def _failure(self, error):
        if isinstance(error, self._distributed.KilledWorker):
            return UserError(
                f"--scheduler {self.address}: a shard ended its worker several times: if memory ran out, give workers "
                "more"
            )
        return UserError(
            f"--scheduler {self.address}: lost, or its jobs were canceled ({type(error).__name__}): shards that are "
            "finished stay, and the same command goes on"
        )


class _Submitted:
    def __init__(self, future, cluster):
        self._future, self._cluster = future, cluster

    def result(self):
        """The job's result.

        Raises:
            UserError: the job's own, or for the loss of the scheduler.
        """
        with self._cluster.loss_named():
            return self._future.result()


def _keep(key, setup):
    return key, setup


def _do(setup, job):
    """Do a job on a worker, which is made when the first job comes."""
    key, pickled = setup
    if getattr(_local, "key", None) != key:
        make_worker, args = pickle.loads(pickled)
        _local.worker, _local.key = make_worker(*args), key
    return _local.worker(job)
