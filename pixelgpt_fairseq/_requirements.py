"""Is this Python able to run the package? One line says what is missing, and how to get it.

Nothing is imported to find out, so the check costs about a millisecond. The file reads nothing but the standard
library and stays within old syntax: ``python pixelgpt_fairseq/_requirements.py`` answers on any Python 3.6 and later
whether the package can be installed there.
"""

import importlib.util
import os
import platform
import re
import shutil
import sys
import sysconfig

PYTHONS = ((3, 11), (3, 12), (3, 13))
# The first that reads plain data alone from files unless it is told otherwise, which fairseq does not do.
TORCH = (2, 6)
# The Pythons for which ve-fairseq has wheels (for Linux x86-64). For all others, fairseq-fixed is compiled.
PYTHONS_WITH_WHEEL = ((3, 11), (3, 12))

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
    problem = python_problem() or missing_packages_problem() or torch_problem() or fairseq_problem()
    if problem:
        _print_requirement_errors_without_frames()
        raise RequirementError(problem)


def python_problem():
    """The line about an unsupported Python, or None."""
    if sys.version_info[:2] in PYTHONS:
        return None
    oldest, newest = ("{}.{}".format(*version) for version in (PYTHONS[0], PYTHONS[-1]))
    too_new = sys.version_info[:2] > PYTHONS[-1]
    reason = ", which Hydra and pygame do not support yet" if too_new else ""
    return (
        f"pixelgpt-fairseq needs Python {oldest} to {newest}, and this is Python "
        f"{'.'.join(map(str, sys.version_info[:3]))}{reason}: install one of those beside it, and name it if `make` "
        f"does not find it, for example `make demo PYTHON=python3.12`"
    )


def installation_problem():
    """The line about all that the system lacks to make an environment and install into it, or None."""
    return python_problem() or _system_problem()


def _system_problem():
    version = "{}.{}".format(*sys.version_info[:2])
    venv, compiler, headers = f"Python {version}'s venv module", "a C++ compiler", "Python's headers (Python.h)"
    missing = []
    if importlib.util.find_spec("ensurepip") is None:
        missing.append(venv)
    if fairseq_is_compiled() and not any(shutil.which(name) for name in ("c++", "g++", "clang++")):
        missing.append(compiler)
    if fairseq_is_compiled() and not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")):
        missing.append(headers)
    if not missing:
        return None
    debian = {venv: f"python{version}-venv", compiler: "g++", headers: f"python{version}-dev"}
    fedora = {venv: f"python{version}", compiler: "gcc-c++", headers: f"python{version}-devel"}
    problem = (
        f"the installation needs {', '.join(missing)}: install what is missing "
        f"(Debian, Ubuntu: `apt install {' '.join(map(debian.get, missing))}`; "
        f"Fedora: `dnf install {' '.join(map(fedora.get, missing))}`)"
    )
    if missing != [venv]:
        problem += (
            f", or take Python 3.12 on Linux x86-64: for Python {version} on {sys.platform} {platform.machine()} "
            "there is no ready-made build of fairseq, so it is compiled"
        )
    return problem


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


def torch_problem():
    """The line about a torch with which fairseq would run code from the checkpoints that it reads, or None."""
    folder = os.path.dirname(_package_origin("torch"))
    try:
        with open(os.path.join(folder, "version.py"), encoding="utf-8") as source:
            found = re.search(r"^__version__ = ['\"]((\d+)\.(\d+)[^'\"]*)", source.read(), re.MULTILINE)
    except OSError:
        return None  # laid out in another way
    if found is None or (int(found.group(2)), int(found.group(3))) >= TORCH:
        return None
    oldest = "{}.{}".format(*TORCH)
    return (
        f"torch {found.group(1)} in {folder} is too old: before {oldest}, fairseq runs code from the checkpoints that "
        f"it reads: run `pip install 'torch>={oldest}'`"
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
    return "fairseq-fixed==0.12.3.1" if fairseq_is_compiled() else "ve-fairseq==0.12.3"


def fairseq_is_compiled():
    """Whether fairseq has no wheel for this Python and platform."""
    here = platform.python_implementation(), sys.platform, platform.machine()
    return here != ("CPython", "linux", "x86_64") or sys.version_info[:2] not in PYTHONS_WITH_WHEEL


def fairseq_is_installed():
    """Whether the distribution that setup.py asks for is installed for this Python."""
    import importlib.metadata  # not to be had before Python 3.8

    name, version = fairseq_distribution().split("==")
    try:
        return importlib.metadata.version(name) == version
    except importlib.metadata.PackageNotFoundError:
        return False


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
    # For the Makefile: may it install here, and how does fairseq come?
    if installation_problem():
        sys.exit("error: " + installation_problem())
    print("installed" if fairseq_is_installed() else "compiled" if fairseq_is_compiled() else "wheel")
