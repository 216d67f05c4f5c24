"""What is checked before the installation and when the package is imported, and told in one line."""

import importlib.machinery
import importlib.metadata
import importlib.util
import itertools

import pytest
from python_process import ROOT, only_line, python

from pixelgpt_fairseq import _requirements

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


LEVEL = "logging.getLevelName(logging.getLogger().level)"
LOADED = f"""
    import logging, sys
    from pixelgpt_fairseq import errors, load

    try:
        errors.exit_on_user_error(load)("absent.pt")
    finally:
        print("fairseq" in sys.modules, {LEVEL}, logging.getLogger().handlers)
"""
# What parts of fairseq do when they are imported.
IMPORTING = f"""
    import logging
    from pixelgpt_fairseq import errors

    errors.command(lambda: logging.basicConfig(level=logging.DEBUG))()
    print({LEVEL})
"""


def test_importing_fairseq_prints_nothing_and_leaves_logging_to_the_program():
    result = python(LOADED)
    assert "absent.pt" in only_line(result)
    assert result.stdout.strip() == "True WARNING []"


def test_commands_do_not_print_what_fairseq_would_have_every_library_log():
    assert python(IMPORTING).stdout.strip() == "WARNING"


def test_the_check_imports_nothing_heavy():
    result = python(f"{CHECK}; import sys; print(sorted({{'torch', 'fairseq', 'pygame', 'numpy'}} & set(sys.modules)))")
    assert result.stdout.strip() == "[]"


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
