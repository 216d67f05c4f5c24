"""The PixelGPT decoder for patches and tokens; importing it registers ``pixelgpt`` and its architectures."""

from pixelgpt_fairseq.models.architectures import PixelGPTConfig
from pixelgpt_fairseq.models.pixelgpt import PixelGPTModel, PixelGPTOutput

__all__ = ["PixelGPTConfig", "PixelGPTModel", "PixelGPTOutput"]
