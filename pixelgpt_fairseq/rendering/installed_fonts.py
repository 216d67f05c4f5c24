"""Fonts that are known by their file's name alone: those of the weblate-fonts package, and those of the system."""

import functools
import importlib.resources
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

PACKAGE = "the package weblate-fonts"
_FC_LIST_SECONDS = 20
_FOLDERS = (
    "~/.local/share/fonts",
    "~/.fonts",
    "/usr/local/share/fonts",
    "/usr/share/fonts",
    "~/Library/Fonts",
    "/Library/Fonts",
    "/System/Library/Fonts",
    "C:/Windows/Fonts",
)


def installed_fonts(name: str) -> Iterator[Path]:
    """The files of this name in the weblate-fonts package and among the system's fonts; the best first."""
    yield from package_fonts(name)
    yield from _system_fonts(name)


def searched_places() -> list[str]:
    """Where :func:`installed_fonts` looks on this machine, for messages."""
    listed = ["the fonts that fc-list knows"] if _fc_list() else []
    return [PACKAGE, *listed, *(str(folder) for folder in _folders())]


def package_fonts(name: str) -> list[Path]:
    """The files of this name in the weblate-fonts package: one, or none."""
    try:
        package = importlib.resources.files("weblate_fonts")
    except ModuleNotFoundError:
        return []
    there = Path(str(package)).glob("static/weblate_fonts/*/ttf/*")
    return sorted(path for path in there if path.name == name)


def _system_fonts(name):
    found = sorted(path for path in _fc_list() if path.name == name)
    if not found:
        found = (Path(folder, name) for top in _folders() for folder, _, files in os.walk(top) if name in files)
    yield from found


def _folders():
    """The system's folders of fonts that are there."""
    folders = (Path(os.path.expanduser(folder)) for folder in _FOLDERS)
    return [folder for folder in folders if folder.is_dir()]


@functools.cache
def _fc_list():
    """Paths of all fonts that fontconfig knows; none where it is not installed."""
    try:
        listed = subprocess.run(
            ["fc-list", "--format", "%{file}\n"],
            capture_output=True,
            check=True,
            stdin=subprocess.DEVNULL,
            timeout=_FC_LIST_SECONDS,
        )
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(Path(os.fsdecode(line)) for line in listed.stdout.splitlines() if line)
