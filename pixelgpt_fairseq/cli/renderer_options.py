"""The command-line options that say how text looks, the same for every script that renders."""

import argparse
import importlib
import sys
from pathlib import Path

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.rendering.config import BACKENDS, FONT_SIZE, RENDER_MODES, STRUCTURES, RendererConfig

# Options, and the settings of RendererConfig that they choose.
_SETTINGS = {
    "font": "fonts",
    "font_size": "font_size",
    "dpi": "dpi",
    "patch_size": "patch_size",
    "max_patches": "max_patches",
    "render_mode": "render_mode",
    "structure": "structure",
    "background_color": "background_color",
    "font_color": "font_color",
    "renderer_backend": "backend",
}


def add_renderer_options(
    parser: argparse.ArgumentParser, title: str = "look", max_patches: int = RendererConfig.max_patches
):
    """Add the options to *parser*, as a group.

    Those that the user does not give are absent from the parsed arguments: read them with :func:`chosen_settings`.

    Args:
        parser: is changed.
        title: of the group; may say where what is not given comes from.
        max_patches: the default of ``--max-patches``, for its help text alone.
    """
    # Absent, not None, lest help texts speak of "default: None".
    look = parser.add_argument_group(title, argument_default=argparse.SUPPRESS)
    default = RendererConfig
    look.add_argument(
        "--font",
        nargs="+",
        metavar="FILE",
        help="paths, or names of installed fonts; those after the first draw what it lacks",
    )
    look.add_argument(
        "--patch-size",
        type=int,
        metavar="PIXELS",
        help=f"height of the strip and side of its square patches (default: {default.patch_size}, as published)",
    )
    look.add_argument(
        "--font-size",
        type=_number,
        metavar="POINTS",
        help=f"default: {FONT_SIZE}, or with another --patch-size as much larger or smaller: 4 at 8, 16 at 32",
    )
    look.add_argument("--dpi", type=int, help=f"pixels per inch (default: {default.dpi})")
    look.add_argument("--max-patches", type=int, metavar="N", help=f"longest strip (default: {max_patches})")
    modes, structures, backends = ("{" + ",".join(choices) + "}" for choices in (RENDER_MODES, STRUCTURES, BACKENDS))
    look.add_argument("--render-mode", metavar=modes, help=f"values of a pixel (default: {default.render_mode})")
    look.add_argument(
        "--structure",
        metavar=structures,
        help=f"words: every word begins at a patch; small models learn from it sooner (default: {default.structure})",
    )
    look.add_argument("--background-color", metavar="COLOR", help=f"default: {default.background_color}")
    look.add_argument("--font-color", metavar="COLOR", help=f"a name or #rrggbb (default: {default.font_color})")
    look.add_argument(
        "--renderer-backend",
        metavar=backends,
        help=f"pygame: the look of the published models; pillow: shaped text (default: {default.backend})",
    )
    look.add_argument(
        "--user-dir",
        action=_ImportPackage,
        metavar="DIR",
        help="a Python package of your own that registers backends (docs/extending.md)",
    )


class _ImportPackage(argparse.Action):
    """Import the package that the option names at once: data folders and checkpoints may have its backends."""

    def __call__(self, parser, namespace, value, option_string=None):
        folder = Path(value).resolve()
        if not folder.is_dir():
            raise UserError(f"{option_string} {value}: no such folder")
        sys.path.insert(0, str(folder.parent))
        importlib.import_module(folder.name)


def add_max_missing(parser: argparse.ArgumentParser):
    """Add to *parser* how many characters may lack a glyph."""
    parser.add_argument(
        "--max-missing",
        type=float,
        default=0.01,
        metavar="SHARE",
        help="greatest share of visible characters that no font may have (default: 0.01)",
    )


def chosen_settings(args: argparse.Namespace) -> dict:
    """The settings that the user gave, as keyword arguments of RendererConfig."""
    given = vars(args)
    return {setting: given[option] for option, setting in _SETTINGS.items() if option in given}


def _number(text):
    """An int where the text is one, so that a size of 8 is recorded as 8 by every script."""
    return int(text) if text.isdecimal() else float(text)
