import atexit
import logging
import os

from skips import pytest_runtest_makereport, pytest_terminal_summary

__all__ = ["pytest_runtest_makereport", "pytest_terminal_summary"]

# fairseq starts a worker for each GPU that it finds when it is imported, even with --cpu; tests run on one worker, or
# say how many.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")

# Before torch is imported, here and in processes that tests start: there is a test on each core, and threads that wait
# for each other take seconds for what one does at once.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Imported, fairseq asks for a package that nothing here needs; where tests run in several processes, pytest would print
# that after its summary.
logging.getLogger("fairseq.tasks.text_to_speech").setLevel(logging.WARNING)


def pytest_configure(config):
    # Where several processes run tests, the one that shares them out needs none of what takes seconds to import.
    shares_out = config.getoption("numprocesses", None) and not hasattr(config, "workerinput")
    if hasattr(config, "workerinput"):
        atexit.register(os._exit, 0)  # the last of all: to free what was imported takes Python seconds
    if not shares_out or config.option.collectonly:
        config.pluginmanager.import_plugin("common_fixtures")
