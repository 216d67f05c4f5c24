"""Text drawn as the model sees it. Knows neither torch nor fairseq."""

from pixelgpt_fairseq.rendering.config import RendererConfig
from pixelgpt_fairseq.rendering.coverage import missing_characters, missing_summary
from pixelgpt_fairseq.rendering.fonts import FontFile, default_fonts
from pixelgpt_fairseq.rendering.renderer import RenderedText, TextRenderer

__all__ = [
    "FontFile",
    "RenderedText",
    "RendererConfig",
    "TextRenderer",
    "default_fonts",
    "missing_characters",
    "missing_summary",
]
