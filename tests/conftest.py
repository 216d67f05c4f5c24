from toy_corpus import toy_data

__all__ = ["toy_data"]
