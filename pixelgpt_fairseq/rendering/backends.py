"""Renderer backends: what draws a line of text. The renderer sets the lines on strips, the same for all of them."""

import importlib
from collections.abc import Callable

from pixelgpt_fairseq.registries import check_free

BACKENDS: dict[str, Callable] = {}  # by the name that --renderer-backend gives


def register_backend(name):
    """Decorator: let ``--renderer-backend`` and ``RendererConfig(backend=...)`` name this class.

    It is called with a RendererConfig, whose fonts have been found, and has four methods. Lengths are in pixels; a
    *pen* is the column at which a character begins.

    * ``line(text, max_width)``: a :class:`~pixelgpt_fairseq.rendering.lines.Line`, drawn up to *max_width*.
    * ``boxes(text)``: advance, left and right of every character's box from its pen: int64 ``[3, len(text)]``.
    * ``columns(text)``: where each character of a line begins and ends: int64 ``[len(text), 2]``.
    * ``reads_left_to_right(text)``: whether the line has its characters in the order of the text.

    Raises:
        ValueError: if another class has the name.
    """

    def register(raster):
        check_free("backend", name, BACKENDS.get(name), raster)
        BACKENDS[name] = raster
        return raster

    return register


def _register_own(name, module, raster):
    """Register a backend of this package, whose module is imported when it first draws."""

    def make(config):
        return getattr(importlib.import_module(f"pixelgpt_fairseq.rendering.{module}"), raster)(config)

    make.__qualname__ = raster
    register_backend(name)(make)


_register_own("pygame", "pygame_raster", "PygameRaster")
_register_own("pillow", "pillow_raster", "PillowRaster")
