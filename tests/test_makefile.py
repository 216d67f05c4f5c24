"""The Makefile: the environment that it makes, when it installs, and with which Python."""

import os
import re
import shutil
import subprocess
import sys

import pytest
from python_process import ROOT

TESTS = "-m pytest -n auto --dist worksteal"  # what make test runs

STUB = """\
#!/bin/sh
# A Python to the Makefile, as far as it asks: writes down what is asked, installs nothing.
echo "$*" >> '{log}'
case "$*" in
    "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    "-m pip --version") test -e .venv ;;
    "-m pip install "*) {install} ;;
    pixelgpt_fairseq/_requirements.py) {check} ;;
    -V) echo "Python {version}" ;;
esac
"""


@pytest.fixture
def checkout(tmp_path):
    """A folder with a space in its name that holds the files of the Makefile, and a stand-in for Python."""
    folder = tmp_path / "a checkout"
    for name in ("pixelgpt_fairseq", "hydra_plugins", "scripts", "examples", "tests"):
        (folder / name).mkdir(parents=True)
    for name in ("Makefile", "setup.py", "constraints.txt", "fairseq.txt", "pixelgpt_fairseq/_requirements.py"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def write_stub(path, log, install="true", check="echo wheel", version="3.11.0"):
    path.parent.mkdir(exist_ok=True)
    path.write_text(STUB.format(log=log, install=install, check=check, version=version))
    path.chmod(0o755)


def make(checkout, *arguments, **stub):
    """Run make with the stand-in; return the result and what was asked of Python."""
    log = checkout / "asked"
    log.unlink(missing_ok=True)
    write_stub(checkout / "python", log, **stub)
    if (checkout / ".venv" / "bin").exists():
        shutil.copy(checkout / "python", checkout / ".venv" / "bin" / "python")
    result = subprocess.run(
        ["make", *arguments],
        cwd=checkout,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "PYTHON": str(checkout / "python")},
    )
    return result, log.read_text().splitlines() if log.exists() else []


HASHED = "-m pip install --disable-pip-version-check --no-deps --require-hashes -r fairseq.txt"
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


@needs_make
def test_make_installs_once_and_again_when_the_versions_change(checkout):
    install = "-m pip install --disable-pip-version-check -e .[test,lint,tensorboard] -c constraints.txt"
    result, asked = make(checkout, "test")
    assert result.returncode == 0, result.stderr
    assert asked.count(install) == 1
    assert asked.index(HASHED) < asked.index(install)
    assert asked[-1] == TESTS

    _, asked = make(checkout, "test", "ARGS=tests/data")
    assert install not in asked
    assert asked[-1] == f"{TESTS} tests/data"

    later = (checkout / ".venv" / ".installed").stat().st_mtime + 10
    os.utime(checkout / "constraints.txt", (later, later))
    _, asked = make(checkout, "demo")
    assert install in asked
    assert asked[-1] == "examples/quickstart/run.py"


@needs_make
def test_an_installation_that_fails_is_not_taken_for_a_finished_one(checkout):
    result, _ = make(checkout, "test", install="echo 'no network' >&2; exit 1")
    assert result.returncode != 0
    assert "no network" in result.stderr
    assert not (checkout / ".venv" / ".installed").exists()

    result, asked = make(checkout, "test")
    assert result.returncode == 0
    assert asked[-1] == TESTS


@needs_make
def test_make_clean_leaves_the_users_files(checkout):
    make(checkout, "test")
    (checkout / "my corpus.txt").write_text("mine")
    (checkout / "checkpoints").mkdir()
    assert make(checkout, "clean")[0].returncode == 0
    assert not (checkout / ".venv").exists()
    assert (checkout / "my corpus.txt").exists()
    assert (checkout / "checkpoints").exists()


def make_among(checkout, pythons):
    """Run make where *pythons* (name -> version, what the check does) are installed; return what was asked of which."""
    folder = checkout / "bin"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(checkout / ".venv", ignore_errors=True)
    log = checkout / "asked"
    log.unlink(missing_ok=True)
    for name, (version, check) in pythons.items():
        write_stub(folder / name, log, version=version, check=check)
    for tool in ("make", "sh", "sed", "grep", "cat", "cp", "mkdir", "test", "touch", "sleep", "kill", "rm"):
        if shutil.which(tool):
            (folder / tool).symlink_to(shutil.which(tool))
    result = subprocess.run(["make", "test"], cwd=checkout, capture_output=True, text=True, env={"PATH": str(folder)})
    made = (checkout / ".venv" / "bin" / "python").read_text() if (checkout / ".venv" / "bin").exists() else ""
    return result, re.findall(r'echo "Python ([\d.]+)"', made)


@needs_make
@pytest.mark.parametrize(
    ("pythons", "taken"),
    [
        ({"python3": ("3.14.0", "exit 1"), "python3.12": ("3.12.1", "echo wheel")}, ["3.12.1"]),
        ({"python3": ("3.11.7", "echo wheel"), "python3.13": ("3.13.0", "echo wheel")}, ["3.13.0"]),
        ({"python3": ("3.11.7", "echo wheel"), "python3.13": ("3.13.0", "exit 1")}, ["3.11.7"]),
        ({"python3": ("3.13.5", "echo compiled")}, ["3.13.5"]),
        ({"python3": ("3.14.0", "echo no 3.14 >&2; exit 1")}, []),
    ],
)
def test_make_takes_the_newest_supported_python_that_has_what_it_needs(checkout, pythons, taken):
    result, made_with = make_among(checkout, pythons)
    assert made_with == taken
    assert (result.returncode == 0) == bool(taken), result.stderr
    assert taken or "no 3.14" in result.stderr


@needs_make
def test_compiling_fairseq_is_announced_and_its_build_uses_the_pinned_versions(checkout):
    result, asked = make(checkout, "test", check="echo compiled", version="3.13.0")
    assert result.returncode == 0, result.stderr
    assert "it is compiled, which takes about four minutes" in result.stdout
    needs = "-m pip install --disable-pip-version-check -c constraints.txt torch numpy cython setuptools"
    compiled = HASHED.replace("-r fairseq", "--no-build-isolation -r fairseq")
    assert asked.index(needs) < asked.index(compiled)


@needs_make
def test_a_fairseq_that_is_there_is_not_installed_again(checkout):
    result, asked = make(checkout, "test", check="echo installed", version="3.13.0")
    assert result.returncode == 0, result.stderr
    assert "compiled" not in result.stdout
    assert HASHED not in asked
    assert asked[-1] == TESTS


@needs_make
def test_make_names_a_python_that_is_not_there(checkout):
    result, _ = make(checkout, "demo", "PYTHON=no-such-python")
    ours = [line for line in result.stderr.splitlines() if not line.startswith("make")]
    assert ours == [
        "error: there is no no-such-python here: install Python 3.11, 3.12 or 3.13 (Debian, Ubuntu: apt install "
        "python3 python3-venv), or name one: 'make demo PYTHON=python3.12'"
    ]


@needs_make
def test_make_does_not_pass_one_python_off_as_another(checkout):
    make(checkout, "test")
    result, asked = make(checkout, "test", f"PYTHON={sys.executable}")
    assert result.returncode != 0
    assert "error: .venv has Python 3.11.0, which is not" in result.stderr
    assert TESTS not in asked
