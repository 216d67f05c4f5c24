import itertools
import multiprocessing
import os
import signal
from pathlib import Path

import pytest
from toy_corpus import documents

from pixelgpt_fairseq.data.tokens import train_tokenizer
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.preprocessing.binarize_examples import binarize_examples
from pixelgpt_fairseq.preprocessing.rendered_items import ChunkRenderer
from pixelgpt_fairseq.rendering import RendererConfig
from pixelgpt_fairseq.sources.examples import Example
from pixelgpt_fairseq.sources.glue import GLUE_TASKS

RTE = GLUE_TASKS["rte"][0]
EXAMPLES = [Example((text[: 20 + i], text[:30]), i % 2) for i, text in enumerate(documents(50) * 4)]


def binarized(folder, examples=EXAMPLES, **options):
    tokenizer = train_tokenizer(iter(documents()), 380)
    return binarize_examples(
        iter(examples), folder, "train", RTE, RendererConfig(), tokenizer, progress=False, **options
    )


def test_files_are_the_same_for_any_number_of_workers(tmp_path):
    summaries = [binarized(tmp_path / str(workers), workers=workers) for workers in (1, 2, 3)]
    assert summaries[0].counts.examples == 200
    files = sorted(path.relative_to(tmp_path / "1") for path in (tmp_path / "1").rglob("*") if path.is_file())
    assert Path("train.shards/00000/labels.npy") in files
    for other, summary in zip("23", summaries[1:], strict=True):
        assert (summary.counts, summary.labels) == (summaries[0].counts, summaries[0].labels)
        found = (path.relative_to(tmp_path / other) for path in (tmp_path / other).rglob("*") if path.is_file())
        assert sorted(found) == files
        for name in files:
            assert (tmp_path / other / name).read_bytes() == (tmp_path / "1" / name).read_bytes(), name


@pytest.mark.parametrize("workers", [1, 2])
def test_a_bad_row_in_the_middle_leaves_nothing(tmp_path, workers):
    def examples():
        yield from itertools.islice(EXAMPLES, 150)
        raise UserError("a.tsv, line 151: unknown label 'maybe'")

    before = multiprocessing.active_children()
    with pytest.raises(UserError, match="line 151: unknown label"):
        binarized(tmp_path / "data", examples(), workers=workers)
    assert not (tmp_path / "data").exists()
    assert set(multiprocessing.active_children()) <= set(before)


def test_a_worker_that_dies_is_told_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(ChunkRenderer, "__call__", lambda self, chunk: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(UserError, match="a worker process died: if memory ran out, choose fewer --workers"):
        binarized(tmp_path / "data", workers=2)
    assert not (tmp_path / "data").exists()


def test_there_is_at_least_one_worker(tmp_path):
    with pytest.raises(UserError, match="--workers 0: at least 1"):
        binarized(tmp_path / "data", workers=0)
