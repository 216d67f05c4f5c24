"""Where the fixtures made with the published code lie: a folder beside the checkout, which not every machine has."""

from pathlib import Path

import pytest

_SHARED = Path(__file__).parents[1].parent / "shared"


def shared(path: str) -> Path:
    """Return *path* inside the ``shared`` folder beside the checkout, or skip the running test when it is absent."""
    found = _SHARED / path
    if not found.exists():
        pytest.skip(f"no shared/{path} beside the checkout: the published code's outputs are not compared with")
    return found
