"""The wheel: installed where there is no checkout, it has all that the demo and the recipes need."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
from toy_corpus import ROOT

pytestmark = pytest.mark.skipif(
    not os.environ.get("PIXELGPT_WHEEL"), reason="slow: set PIXELGPT_WHEEL=1 to build a wheel and run the demo from it"
)
FAIRSEQ = """#!{python}
import sys
from fairseq_cli.{module} import cli_main
sys.exit(cli_main())
"""


def run(*command, **options):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [*map(str, command)], env=environment, capture_output=True, text=True, timeout=600, check=False, **options
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Folder of an environment's programs: the wheel is installed in it, and the packages it needs are on its path."""
    folder = tmp_path_factory.mktemp("wheel")
    # From a copy: setuptools would leave a folder "build" in the checkout.
    left_out = shutil.ignore_patterns(".*", "build", "dist", "demo", "runs", "*.egg-info")
    source = shutil.copytree(ROOT, folder / "source", ignore=left_out, symlinks=True)
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", folder / "dist", source)
    (wheel,) = (folder / "dist").glob("*.whl")
    venv.create(folder / "environment", with_pip=False)
    programs = folder / "environment" / "bin"
    run(sys.executable, "-m", "pip", "--python", programs / "python", "install", "--no-deps", "--no-index", wheel)
    # Without what .pth files there add to it: the checkout.
    site_packages = next((folder / "environment" / "lib").glob("python3*/site-packages"))
    (site_packages / "requirements.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    for name in ("train", "validate", "hydra_train"):
        program = programs / f"fairseq-{name.replace('_', '-')}"
        program.write_text(FAIRSEQ.format(python=programs / "python", module=name))
        program.chmod(0o755)
    return programs


def test_the_demo_runs_from_the_wheel_alone(installed, tmp_path):
    where = run(installed / "python", "-c", "import pixelgpt_fairseq; print(pixelgpt_fairseq.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(installed.parent)
    printed = run(installed / "pixelgpt", "demo", "--max-update", "60", cwd=tmp_path)
    assert (tmp_path / "demo" / "predictions.png").stat().st_size > 0
    assert f"Picture: {tmp_path / 'demo' / 'predictions.png'}" in printed


def test_the_recipes_are_found_by_name(installed, tmp_path):
    folder = Path(run(installed / "pixelgpt", "recipes", "pretraining", cwd=tmp_path).strip())
    assert folder.is_relative_to(installed.parent)
    names = ("--config-dir", folder, "--config-name", "dualgpt_tiny", "task.data=data", "--cfg", "job")
    assert "save_dir" in run(installed / "fairseq-hydra-train", *names, cwd=tmp_path)
