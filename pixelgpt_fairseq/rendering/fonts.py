"""Font files: the default chain, and how a font that was recorded somewhere is found again."""

import functools
import hashlib
import itertools
import os
from dataclasses import dataclass, field
from pathlib import Path

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.rendering.installed_fonts import installed_fonts, package_fonts, searched_places

# KurintoSans has 14 of the 15 XNLI languages; the second has Chinese.
DEFAULT_FONTS = ("KurintoSans-Rg.ttf", "KurintoSansSC-Rg.ttf")


@dataclass(frozen=True)
class FontFile:
    """A font file: known by its name and contents, wherever it lies.

    Attributes:
        name: the file's name, without folders.
        sha256: of its contents, 64 hexadecimal digits; None where an old settings file does not tell.
        path: where it lay when this was recorded.
    """

    name: str
    sha256: str | None
    path: Path = field(compare=False)

    @classmethod
    def from_path(cls, path) -> "FontFile":
        """Record the font at *path*.

        Args:
            path: of the file; or its name alone, which is looked for in this folder, then in the weblate-fonts package
                and among the system's fonts.

        Raises:
            UserError: if it is not there, or cannot be read.
        """
        if os.path.basename(path) == os.fspath(path) and not os.path.exists(path):
            name, path = path, next((found for found in installed_fonts(str(path)) if found.is_file()), None)
            if path is None:
                searched = ", ".join([f"this folder ({os.getcwd()})", *searched_places()])
                raise UserError(f"{name}: no such font file: searched {searched}: pass its path")
        path = Path(os.path.abspath(path))
        try:
            status = path.stat()
            return cls(path.name, _sha256(path, status.st_size, status.st_mtime_ns), path)
        except FileNotFoundError:
            raise UserError(f"{path}: no such font file") from None
        except OSError as error:
            raise UserError(f"{path}: cannot read this font: {error.strerror}") from None

    def located(self, near=None) -> "FontFile":
        """Find the file again: at its path, else in the folder *near*, else where fonts are installed.

        Raises:
            UserError: if there is none, or only others of the same name.
        """
        others = []
        for candidate in self._candidates(near):
            found = FontFile.from_path(candidate)
            if self.sha256 in (None, found.sha256):
                return found
            others.append(found)
        if others:
            raise UserError(f"{others[0].path}: not the font that was used: expected {self}, this is {others[0]}")
        place = f"put it into {near}, or install it" if near else "install it"
        raise UserError(f"font {self} is missing: {place}; commands that have --font take its path")

    def _candidates(self, near):
        paths = [self.path, *([Path(near) / self.name] if near else [])]
        return (path for path in itertools.chain(paths, installed_fonts(self.name)) if path.is_file())

    def __str__(self):
        return f"{self.name} (sha256 {self.sha256[:8]}…)" if self.sha256 else self.name


def default_fonts() -> tuple[FontFile, ...]:
    """The fonts used where none is named: weblate-fonts' KurintoSans, and KurintoSansSC for what the first lacks.

    Raises:
        UserError: if weblate-fonts is not installed.
    """
    found = [package_fonts(name) for name in DEFAULT_FONTS]
    if not all(found):
        raise UserError("the default fonts are missing: run `pip install weblate-fonts`, or name a font (--font)")
    return tuple(FontFile.from_path(paths[0]) for paths in found)


@functools.lru_cache(maxsize=64)
def _sha256(path, size, modified):
    """SHA-256 of a file; *size* and *modified* are here to tell its versions apart in the cache."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
