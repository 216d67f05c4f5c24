"""What follows a prompt: tokens, one after the other."""

from pixelgpt_fairseq.generation.tokens import generate_tokens

__all__ = ["generate_tokens"]
