"""What trained models answer: predictions, tables of results, pictures."""

MAX_TOKENS = 8192  # positions of a batch, where the user asks for nothing else
