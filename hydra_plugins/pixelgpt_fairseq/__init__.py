"""Hydra finds its plugins here, see the one module."""
