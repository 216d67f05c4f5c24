"""Work shared out to processes, here or on the machines of a Dask cluster, its results in the order of the jobs."""

import collections
import concurrent.futures
import multiprocessing
import os
import signal
import threading
from concurrent.futures.process import BrokenProcessPool

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.preprocessing.cluster import Cluster

_worker = None  # of a process of the pool


def map_in_order(make_worker, args, jobs, workers, known=lambda job: None, scheduler=None):
    """Do *jobs* in *workers* processes, never holding many of them at a time.

    Args:
        make_worker: called with *args* once in each process; what it returns is called with each job.
        args: tuple.
        jobs: iterable.
        workers: processes; one is this process itself.
        known: function from a job to its result where that is known already; otherwise to None.
        scheduler: address of a Dask scheduler, such as ``tcp://host:8786``, whose workers take the place of processes
            of this machine: see :mod:`~pixelgpt_fairseq.preprocessing.cluster`.

    Yields:
        The results, in the order of *jobs*. Close the generator to end its processes.

    Raises:
        UserError: if a worker dies.
    """
    if scheduler is not None:
        with Cluster(scheduler, make_worker, args) as cluster:
            yield from _in_order(jobs, known, cluster.submit, cluster.at_once)
        return
    if workers <= 1:
        worker = make_worker(*args)
        for job in jobs:
            result = known(job)
            yield worker(job) if result is None else result
        return
    others = set(multiprocessing.active_children())
    pool = concurrent.futures.ProcessPoolExecutor(workers, initializer=_begin, initargs=(make_worker, args))
    try:
        yield from _in_order(jobs, known, lambda job: pool.submit(_do, job), lambda: 2 * workers)
    except BaseException as error:
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        if isinstance(error, BrokenProcessPool):
            raise UserError("a worker process died: if memory ran out, choose fewer --workers") from None
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _in_order(jobs, known, submit, at_once):
    """Submit jobs, no more than ``at_once()`` of them before the first is done; yields their results in order."""
    waiting = collections.deque()
    for job in jobs:
        result = known(job)
        waiting.append(submit(job) if result is None else _finished(result))
        while len(waiting) > at_once():
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _finished(result):
    future = concurrent.futures.Future()
    future.set_result(result)
    return future


def _begin(make_worker, args):
    # Ctrl-C reaches every process of a terminal: the parent alone answers it. No worker outlives its parent.
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    _worker = make_worker(*args)


def _do(job):
    return _worker(job)


def _die_with_parent():
    multiprocessing.parent_process().join()
    os._exit(1)
