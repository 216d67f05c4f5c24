"""Work shared out to processes, its results in the order of the jobs."""

import collections
import concurrent.futures
import itertools
import multiprocessing
import os
import signal
import threading
from concurrent.futures.process import BrokenProcessPool

from pixelgpt_fairseq.errors import UserError

_worker = None  # of a process of the pool


def map_in_order(make_worker, args, jobs, workers, known=lambda job: None):
    """Do *jobs* in *workers* processes, never holding many of them at a time.

    Args:
        make_worker: called with *args* once in each process; what it returns is called with each job.
        args: tuple.
        jobs: iterable.
        workers: processes; one is this process itself.
        known: function from a job to its result where that is known already; otherwise to None.

    Yields:
        The results, in the order of *jobs*. Close the generator to end its processes.

    Raises:
        UserError: if a worker dies.
    """
    if workers <= 1:
        worker = make_worker(*args)
        for job in jobs:
            result = known(job)
            yield worker(job) if result is None else result
        return
    others = set(multiprocessing.active_children())
    pool = concurrent.futures.ProcessPoolExecutor(workers, initializer=_begin, initargs=(make_worker, args))
    try:
        waiting = collections.deque()
        for job in itertools.chain(jobs, itertools.repeat(None, 2 * workers)):
            if job is not None:
                result = known(job)
                waiting.append(pool.submit(_do, job) if result is None else _finished(result))
            if waiting and (job is None or len(waiting) > 2 * workers):
                yield waiting.popleft().result()
    except BaseException as error:
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        if isinstance(error, BrokenProcessPool):
            raise UserError("a worker process died: if memory ran out, choose fewer --workers") from None
        raise
    finally:
        pool.shutdown(cancel_futures=True)


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
