"""Files of models: checkpoints of fairseq-train, the released layout, weight files and what lies beside them."""

from pixelgpt_fairseq.checkpoints.released import load_released, save_released

__all__ = ["load_released", "save_released"]
