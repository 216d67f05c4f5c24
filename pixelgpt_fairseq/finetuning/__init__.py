"""The published recipes of fine-tuning, and runs by them."""
