"""Tests that cannot run somewhere say so at the end of the run; in CI they fail it."""

import pytest
from PIL import features
from skips import INSTALL_FRIBIDI

from pixelgpt_fairseq.cli import demo

pytest_plugins = ["pytester"]


@pytest.fixture
def results(pytester, monkeypatch):
    """Runs a few tests as they would run without FriBiDi; *options* are environment variables."""
    monkeypatch.delenv("PIXELGPT_NO_SKIPS", raising=False)
    pytester.makepyfile(
        f"""
        import pytest

        needs_raqm = pytest.mark.skipif(True, reason="no FriBiDi: {INSTALL_FRIBIDI}")

        @needs_raqm
        @pytest.mark.parametrize("number", [1, 2])
        def test_shaped(number):
            pass

        def test_large():
            pytest.skip("slow: set an option")

        @pytest.mark.xfail
        def test_expected_to_fail():
            assert False

        def test_nothing():
            pass
        """
    )

    def run(**environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return pytester.runpytest_inprocess("-p", "skips", "-p", "no:cacheprovider")

    return run


def test_the_end_of_the_run_says_what_was_not_tested_and_what_brings_it(results):
    found = results()
    found.assert_outcomes(passed=1, skipped=3, xfailed=1)
    assert found.ret == 0
    found.stdout.fnmatch_lines(
        ["*not tested here*", "2 tests: *apt install libfribidi0*", "1 test: slow: set an option"]
    )


def test_where_nothing_may_be_skipped_the_run_fails_but_for_what_is_a_choice(results):
    found = results(PIXELGPT_NO_SKIPS="1")
    found.assert_outcomes(passed=1, errors=2, skipped=1, xfailed=1)
    assert found.ret == 1
    found.stdout.fnmatch_lines(["*would be skipped, and PIXELGPT_NO_SKIPS is set: no FriBiDi*"])


@pytest.mark.parametrize("there", [True, False])
def test_the_demo_says_at_its_end_what_shaped_text_lacks(there, monkeypatch, capsys):
    monkeypatch.setattr(features, "check", lambda name: there)
    demo.tell_what_is_missing()
    printed = capsys.readouterr().out
    assert (printed == "") is there
    assert ("apt install libfribidi0" in printed) is not there
