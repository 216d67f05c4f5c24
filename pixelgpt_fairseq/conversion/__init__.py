"""Released folders to checkpoints, and back."""
