"""What surrounds a run of fairseq-train: checks before it starts, its folder, its checkpoints, its workers."""
