"""Is this Python able to run the package? One line says what is missing, and how to get it.

Nothing is imported to find out, so the check costs about a millisecond. The file reads nothing but the standard
library and stays within old syntax: ``python pixelgpt_fairseq/_requirements.py`` answers on any Python 3.6 and later.
"""

import importlib.util
import os
import platform
import re
import sys

PYTHONS = ((3, 11), (3, 12))

# What is imported -> what pip calls it. setup.py says which versions.
DISTRIBUTIONS = {
    "fairseq": None,  # see fairseq_distribution
    "torch": "torch",
    "numpy": "numpy",
    "PIL": "pillow",
    "pygame": "pygame",
    "sentencepiece": "sentencepiece",
    "hydra": "hydra-core",
    "omegaconf": "omegaconf",
    "weblate_fonts": "weblate-fonts",
    "safetensors": "safetensors",
    "tqdm": "tqdm",
    "regex": "regex",
}


class RequirementError(ImportError):
    """Python or a package that pixelgpt-fairseq cannot do without is missing, too old or broken."""


def check_requirements():
    """Raise :class:`RequirementError`, with one line that says what to do, if the package cannot run here.

    Any importable ``fairseq`` will do, whatever distribution or checkout it comes from.
    """
    problem = python_problem() or missing_packages_problem() or fairseq_problem()
    if problem:
        _print_requirement_errors_without_frames()
        raise RequirementError(problem)


def python_problem():
    """The line about an unsupported Python, or None."""
    if sys.version_info[:2] in PYTHONS:
        return None
    supported = " or ".join(f"{major}.{minor}" for major, minor in PYTHONS)
    return (
        f"pixelgpt-fairseq needs Python {supported}, and this is Python {'.'.join(map(str, sys.version_info[:3]))}: "
        f"make its environment with one of those, for example `make demo PYTHON=python3.12`"
    )


def missing_packages_problem():
    """The line about packages that are not installed, or None."""
    missing = [name for name in DISTRIBUTIONS if _package_origin(name) is None]
    if not missing:
        return None
    install = " ".join(DISTRIBUTIONS[name] or fairseq_distribution() for name in missing)
    return (
        f"pixelgpt-fairseq needs {', '.join(missing)}, not installed for {sys.executable}: "
        f"run `pip install {install}`, or in the checkout `pip install -e . -c constraints.txt`"
    )


def fairseq_problem():
    """The line about a fairseq that Python 3.11 and later cannot import (as PyPI's 0.12.2), or None."""
    folder = os.path.dirname(_package_origin("fairseq"))
    try:
        with open(os.path.join(folder, "dataclass", "configs.py"), encoding="utf-8") as source:
            broken = re.search(r"^\s+common: CommonConfig = CommonConfig\(\)", source.read(), re.MULTILINE)
    except OSError:
        return None  # laid out in another way: let the import itself tell
    if not broken:
        return None
    return (
        f"the fairseq in {folder} cannot be imported by Python 3.11 and later (PyPI's `fairseq` 0.12.2 never can): "
        f"run `pip uninstall fairseq` and `pip install {fairseq_distribution()}`"
    )


def fairseq_distribution():
    """The distribution that provides a working ``fairseq`` on this platform; setup.py holds the same rule."""
    has_wheel = (platform.python_implementation(), sys.platform, platform.machine()) == ("CPython", "linux", "x86_64")
    return "ve-fairseq==0.12.3" if has_wheel else "fairseq-fixed==0.12.3.1"


def _package_origin(name):
    """The file behind an importable top-level package, or None; a mere folder of that name does not count."""
    spec = importlib.util.find_spec(name)
    return None if spec is None else spec.origin


def _print_requirement_errors_without_frames():
    """Where nobody catches the error, let its line be all that is printed: the frames above it help no one."""
    previous = sys.excepthook

    def excepthook(kind, error, traceback):
        if issubclass(kind, RequirementError):
            print(f"error: {error}", file=sys.stderr)
        else:
            previous(kind, error, traceback)

    sys.excepthook = excepthook


if __name__ == "__main__":
    # For the Makefile, before anything is installed.
    if python_problem():
        sys.exit(f"error: {python_problem()}")
