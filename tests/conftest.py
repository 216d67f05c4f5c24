from refusals import fairseq
from toy_corpus import toy_data

__all__ = ["fairseq", "toy_data"]
