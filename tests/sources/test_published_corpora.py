"""The corpora that people train on, as they are published."""

import pytest
from compressed_files import compressed
from published_corpora import CORPORA, NEED_PARQUET, TEXTS
from skips import needs_pyarrow

from pixelgpt_fairseq.sources.corpus import read_passages
from pixelgpt_fairseq.sources.corpus_checks import check_inputs
from pixelgpt_fairseq.sources.corpus_inputs import find_inputs
from pixelgpt_fairseq.sources.row_documents import Fields

DRAWN = ["The first text. Its second line.", "Der zweite Text: ein längerer, über zwei Zeilen. Und ein Absatz."]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=needs_pyarrow if name in NEED_PARQUET else ()) for name in CORPORA]
)
def test_a_row_is_a_document_and_its_other_fields_are_ignored(tmp_path, name, caplog):
    corpus = CORPORA[name]
    folder = tmp_path / "corpus" / "AA"
    folder.mkdir(parents=True)
    compressed(folder / corpus.name, corpus.content())
    paths = find_inputs([folder.parent])
    fields = Fields(corpus.text, corpus.id)
    check_inputs(paths, fields=fields)
    passages = list(read_passages(paths, fields=fields))
    assert [passage.text for passage in passages] == DRAWN
    assert all(passage.starts_document and passage.ends_document for passage in passages)
    assert len({passage.id for passage in passages}) == 2
    assert not caplog.messages
    assert [passage.id for passage in read_passages(paths, fields=Fields(corpus.text))] == [None, None]


def test_the_same_documents_as_text_are_the_same(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text("\n\n".join(text.replace("\n\n", "\n") for text in TEXTS), encoding="utf-8")
    assert [passage.text for passage in read_passages([path])] == DRAWN
