"""A data folder becomes patches, tokens, blocks, pairs, examples, and batches of one modality."""
