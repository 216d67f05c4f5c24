"""Where the fixtures made with the published code lie: a folder beside the checkout, which not every machine has."""

import os
from pathlib import Path

import pytest

_SHARED = Path(__file__).parents[1].parent / "shared"


def shared(path: str) -> Path:
    """Return *path* inside the ``shared`` folder beside the checkout, or skip the running test when it is absent.

    With ``PIXELGPT_REQUIRE_SHARED`` set, as in CI, the test fails instead.
    """
    found = _SHARED / path
    if not found.exists():
        if os.environ.get("PIXELGPT_REQUIRE_SHARED"):
            pytest.fail(f"no shared/{path} beside the checkout, and PIXELGPT_REQUIRE_SHARED is set")
        pytest.skip(f"needs shared/{path} beside the checkout")
    return found
