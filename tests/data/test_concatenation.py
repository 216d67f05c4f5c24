"""Documents do not know of each other: binarized together they are what they are apart, in either backend."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skips import needs_raqm

from pixelgpt_fairseq.data.data_folder import DataFolder
from pixelgpt_fairseq.data.streams import COLUMNS, PIXEL, TEXT
from pixelgpt_fairseq.preprocessing.binarize import binarize
from pixelgpt_fairseq.rendering import RendererConfig

CHARACTERS = "ab fi.,(1%) \u0301\u200b\u200d\u202e\u2067\tक्ि้ำ語ﷺאבمرحب😀\ufe0f🇩\x07"
# Control characters become blanks, and a document must have more than blanks.
TEXT_OF_ONE = st.text(st.sampled_from(CHARACTERS), min_size=1, max_size=60).filter(
    lambda text: text.strip(" \t\x07\u2067")
)
DOCUMENTS = st.lists(TEXT_OF_ONE, min_size=1, max_size=5)
ROW_WIDTHS = {PIXEL: 256, TEXT: 1, COLUMNS: 2}


def items(documents, folder, config, tokenizer):
    """Every stream of the binarized documents as a list of arrays."""
    path = folder / "corpus.txt"
    path.write_text("".join(document + "\n" for document in documents), encoding="utf-8", newline="\n")
    binarize(
        [path], folder / "data", "train", config, tokenizer, documents="line", max_missing=1, overwrite=True,
        progress=False,
    )  # fmt: skip
    streams = {stream: DataFolder(folder / "data").open("train", stream, width) for stream, width in ROW_WIDTHS.items()}
    return {stream: [rows[i].numpy() for i in range(len(rows))] for stream, rows in streams.items()}


@pytest.mark.parametrize("backend", ["pygame", pytest.param("pillow", marks=needs_raqm)])
@settings(max_examples=8, deadline=None)
@given(documents=DOCUMENTS)
def test_documents_binarized_together_are_what_they_are_apart(toy_data, backend, documents):
    config, tokenizer = RendererConfig(backend=backend, max_patches=8), DataFolder(toy_data).tokenizer()
    with tempfile.TemporaryDirectory() as folder:
        together = items(documents, Path(folder), config, tokenizer)
        apart = [items([document], Path(folder), config, tokenizer) for document in documents]
    for stream, found in together.items():
        expected = [item for one in apart for item in one[stream]]
        assert [item.shape for item in found] == [item.shape for item in expected]
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)
