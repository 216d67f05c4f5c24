"""Corpora and examples become the splits of a data folder."""
