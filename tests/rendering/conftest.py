import contextlib
import time
import tracemalloc
import types

import pytest
from color_font import write_color_font
from pillow_strips import pillow
from pygame_reference import Reference

from pixelgpt_fairseq.rendering import RendererConfig, TextRenderer, default_fonts


@pytest.fixture(scope="session")
def latin():
    """Path of the first default font."""
    return default_fonts()[0].path


@pytest.fixture(scope="session")
def chinese():
    """Path of the second default font."""
    return default_fonts()[1].path


@pytest.fixture(scope="session")
def color_font(tmp_path_factory):
    """Path of a font with colors."""
    return write_color_font(tmp_path_factory.mktemp("fonts") / "Color.ttf")


@pytest.fixture(scope="session")
def renderer():
    """A renderer with the default settings."""
    return TextRenderer()


@pytest.fixture(scope="session")
def shaped():
    """A renderer of the pillow backend."""
    return pillow()


@pytest.fixture(scope="session")
def small():
    """The same for strips of 12 patches."""
    return pillow(max_patches=12)


@pytest.fixture
def both():
    """Makes a renderer and the reference with the same settings."""

    def make(font, **settings):
        names = {"font_size": "size", "background_color": "background", "font_color": "color"}
        reference = Reference(font, **{names.get(name, name): value for name, value in settings.items()})
        return TextRenderer(RendererConfig(fonts=[font], **settings)), reference

    return make


@pytest.fixture
def measured():
    """Context manager that measures seconds and the peak of what Python and numpy allocate, in megabytes."""

    @contextlib.contextmanager
    def measure():
        cost = types.SimpleNamespace()
        tracemalloc.start()
        began = time.perf_counter()
        try:
            yield cost
        finally:
            cost.seconds = time.perf_counter() - began
            cost.megabytes = tracemalloc.get_traced_memory()[1] / 1e6
            tracemalloc.stop()

    return measure
