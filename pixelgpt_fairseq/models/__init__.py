"""The PixelGPT decoder for patches and tokens; importing it registers ``pixelgpt`` and its architectures."""

from pixelgpt_fairseq.models.pixelgpt import PixelGPTConfig, PixelGPTModel, PixelGPTOutput

__all__ = ["PixelGPTConfig", "PixelGPTModel", "PixelGPTOutput"]
