"""What a strip of text looks like: the renderer's settings, and the JSON file that records them."""

import dataclasses
import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path

from PIL import ImageColor

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.rendering.backends import BACKENDS
from pixelgpt_fairseq.rendering.fonts import FontFile, default_fonts
from pixelgpt_fairseq.storage.files import read_json, write_whole

logger = logging.getLogger(__name__)

RENDER_MODES = ("gray", "rgb", "binary")
STRUCTURES = ("continuous", "words")
# The published models' strips: patches of 16 pixels, text of 8 points.
PATCH_SIZE = 16  # pixels per side
FONT_SIZE = 8  # points, on strips of this patch size; others in proportion

# text_renderer_config.json, as checkpoints of the PIXEL family carry it, calls some settings by other names.
_JSON_NAMES = {"max_patches": "max_seq_length", "patch_size": "pixels_per_patch"}
# Renderers of that family that draw as ours does; its Pango renderer does not.
_RENDERER_TYPES = ("TextRenderer", "PyGameTextRenderer")


@dataclass(frozen=True)
class RendererConfig:
    """Settings of a :class:`~pixelgpt_fairseq.rendering.TextRenderer`.

    Attributes:
        fonts: the font chain, best first: paths are accepted and kept as a tuple of FontFile. A character is drawn with
            the first font that has it. None is the default chain.
        font_size: in points; None: 8 at a patch size of 16, and in proportion at others (4 at 8, 16 at 32).
        dpi: pixels per inch: size 8 at 120 dpi is 13.3 pixels per em.
        patch_size: height of the strip and side of its square patches, in pixels.
        max_patches: the longest strip, its last separator included.
        pad_size: pixels above the words in the words layout; in the structure ``words`` at a patch size of 16, and in
            proportion at others.
        background_color, font_color: names or ``#rrggbb``, as Pillow understands them.
        render_mode: ``gray``; ``rgb``; or ``binary``: gray, but white (255) where it is above 127, else black (0).
        structure: of texts: ``continuous``, as published; or ``words``: every word begins at a patch
            (:mod:`~pixelgpt_fairseq.rendering.structured`).
        backend: what draws the lines: ``pygame``, the look of the published models; ``pillow``: shaped text; or another
            that is registered (:func:`~pixelgpt_fairseq.rendering.backends.register_backend`).

    Raises:
        UserError: for an invalid value, or a font that cannot be read.
    """

    fonts: tuple[FontFile, ...] | None = None
    font_size: float | None = None
    dpi: int = 120
    patch_size: int = PATCH_SIZE
    max_patches: int = 1024
    pad_size: int = 3
    background_color: str = "white"
    font_color: str = "black"
    render_mode: str = "gray"
    structure: str = "continuous"
    backend: str = "pygame"

    def __post_init__(self):
        fonts = default_fonts() if self.fonts is None else self.fonts
        if isinstance(fonts, str | os.PathLike | FontFile):
            fonts = (fonts,)
        fonts = tuple(font if isinstance(font, FontFile) else FontFile.from_path(font) for font in fonts)
        object.__setattr__(self, "fonts", fonts)
        if self.font_size is None and isinstance(self.patch_size, int):
            object.__setattr__(self, "font_size", _in_proportion(FONT_SIZE, PATCH_SIZE, self.patch_size))
        self._check()

    def _check(self):
        if not self.fonts:
            raise UserError("fonts: name at least one font file")
        for name, least in {"patch_size": 2, "font_size": 1, "dpi": 1, "max_patches": 2, "pad_size": 0}.items():
            value = getattr(self, name)
            kinds = (int, float) if name == "font_size" else (int,)
            if isinstance(value, bool) or not isinstance(value, kinds) or not value >= least:
                raise UserError(f"{name}: must be a number not below {least}, not {value!r}")
        for name in ("background_color", "font_color"):
            self._rgb(name)
        for name, choices in {"backend": BACKENDS, "render_mode": RENDER_MODES, "structure": STRUCTURES}.items():
            if getattr(self, name) not in choices:
                raise UserError(f"{name}: {getattr(self, name)!r} is not available, choose {' or '.join(choices)}")

    def _rgb(self, name):
        try:
            return ImageColor.getrgb(getattr(self, name))[:3]
        except (ValueError, AttributeError, TypeError):
            raise UserError(f"{name}: {getattr(self, name)!r} is not a color, such as black or #000000") from None

    @property
    def background_rgb(self) -> tuple[int, int, int]:
        """Red, green and blue of the background, 0 to 255."""
        return self._rgb("background_color")

    @property
    def font_rgb(self) -> tuple[int, int, int]:
        """Red, green and blue of the text, 0 to 255."""
        return self._rgb("font_color")

    @property
    def channels(self) -> int:
        """Values of a pixel: 3 in the render mode ``rgb``, else 1."""
        return 3 if self.render_mode == "rgb" else 1

    @property
    def patch_values(self) -> int:
        """Values of a patch."""
        return self.patch_size**2 * self.channels

    def located(self, near=None) -> "RendererConfig":
        """The same settings with every font's file found on this machine and its contents checked.

        Args:
            near: a folder to look in, beside the recorded paths and the weblate-fonts package.

        Raises:
            UserError: for a font that is not there, or is another than the recorded one.
        """
        return dataclasses.replace(self, fonts=tuple(font.located(near) for font in self.fonts))

    def replaced(self, chosen: dict) -> "RendererConfig":
        """These settings but for those that a user chose; fonts are not looked for.

        A font size that is not chosen keeps its proportion to the patch size.

        Args:
            chosen: attributes and their values.

        Raises:
            UserError: for a value that cannot be.
        """
        if "patch_size" in chosen and "font_size" not in chosen:
            size = _in_proportion(self.font_size, self.patch_size, chosen["patch_size"])
            chosen = {**chosen, "font_size": size}
        return dataclasses.replace(self, **chosen)

    def with_settings(self, chosen: dict, like, near=None) -> "RendererConfig":
        """These settings but for those that a user chose, with every font's file found.

        Args:
            chosen: attributes and their values. What they change about the look is logged in one line.
            like: what these settings are those of, for that line.
            near: see :meth:`located`.

        Raises:
            UserError: for an invalid value, or a font that is not there.
        """
        config = self.replaced(chosen).located(near)
        differences = config.differences(self)
        if differences:
            logger.warning("the look is not that of %s: %s", like, "; ".join(differences))
        return config

    def differences(self, other: "RendererConfig") -> list[str]:
        """What makes strips of the two look different, a line each; an empty list if nothing does.

        Fonts are compared by name and SHA-256, not by path. ``max_patches`` does not count: it limits strips, and does
        not change how they look.
        """
        lines = []
        for i in range(max(len(self.fonts), len(other.fonts))):
            ours, theirs = (config.fonts[i] if i < len(config.fonts) else None for config in (self, other))
            same = ours == theirs
            if ours and theirs and None in (ours.sha256, theirs.sha256):
                same = ours.name == theirs.name
            if not same:
                lines.append(f"font {i + 1}: {ours or 'none'} against {theirs or 'none'}")
        for field in dataclasses.fields(self):
            ours, theirs = getattr(self, field.name), getattr(other, field.name)
            if field.name not in ("fonts", "max_patches") and ours != theirs:
                lines.append(f"{field.name}: {ours} against {theirs}")
        return lines

    def to_dict(self) -> dict:
        """The settings as plain JSON values, under the names that ``text_renderer_config.json`` uses."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "fonts"}
        named = {_JSON_NAMES.get(name, name): value for name, value in fields.items()}
        named["font_file"] = self.fonts[0].name
        named["text_renderer_type"] = _RENDERER_TYPES[0]
        named = dict(sorted(named.items()))
        named["fonts"] = [{"name": font.name, "sha256": font.sha256, "path": str(font.path)} for font in self.fonts]
        return named

    @classmethod
    def from_dict(cls, values: dict) -> "RendererConfig":
        """Settings from what :meth:`to_dict` returned, or from a released ``text_renderer_config.json``.

        Reads no font: :meth:`located` finds them. Keys that do not concern this renderer are ignored.

        Raises:
            UserError: for invalid values.
        """
        if not isinstance(values, dict):
            raise UserError("renderer settings: not a JSON object")
        kind = values.get("text_renderer_type", _RENDERER_TYPES[0])
        if kind not in _RENDERER_TYPES:
            raise UserError(f"text_renderer_type: {kind!r} is not available, only {' and '.join(_RENDERER_TYPES)}")
        names = {field.name: _JSON_NAMES.get(field.name, field.name) for field in dataclasses.fields(cls)}
        chosen = {field: values[name] for field, name in names.items() if name in values}
        recorded = values.get("fonts") or [{"name": values.get("font_file")}]
        if not isinstance(recorded, list):
            raise UserError("fonts: must be a list")
        chosen["fonts"] = tuple(_recorded_font(font) for font in recorded)
        return cls(**chosen)

    def to_json_text(self) -> str:
        """The contents of ``text_renderer_config.json``."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n"

    def to_json(self, path):
        """Write ``text_renderer_config.json``, whole or not at all.

        Raises:
            UserError: if it cannot be written.
        """
        write_whole(path, self.to_json_text())

    @classmethod
    def from_json(cls, path, locate_fonts=True, **overrides) -> "RendererConfig":
        """Read ``text_renderer_config.json``, ours or a released one.

        Args:
            path: the file.
            locate_fonts: find the fonts (also beside the file) and check their contents; without it, the settings can
                be compared and recorded, but not drawn with until they are :meth:`located`.
            overrides: settings that take the place of the file's, by attribute name.

        Raises:
            UserError: if the file or a font is missing or damaged, naming it.
        """
        path = Path(path)
        values = read_json(path)
        try:
            config = cls.from_dict(values).replaced(overrides)
            return config.located(near=path.parent) if locate_fonts else config
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: cannot read renderer settings: {error}") from None
        except UserError as error:
            raise UserError(f"{path}: {error}") from None


def _in_proportion(font_size, patch_size, other_patch_size):
    """A font size for strips of another height; an int where it is whole, so that it is recorded as one."""
    size = font_size * other_patch_size / patch_size
    return int(size) if size == int(size) else size


def _recorded_font(values):
    """The FontFile of an entry of ``fonts``."""
    if not isinstance(values, dict) or not isinstance(values.get("name"), str):
        raise UserError("fonts: every entry needs a name, and a released file needs font_file")
    return FontFile(values["name"], values.get("sha256"), Path(values.get("path") or values["name"]))
