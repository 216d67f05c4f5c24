"""A few rows of each of the corpora that people train on, laid out as their publishers' cards describe them."""

import html
import io
import json
from typing import NamedTuple

from skips import pyarrow

TEXTS = ("The first text.\nIts second line.", "Der zweite Text: ein längerer, über zwei Zeilen.\n\nUnd ein Absatz.")


class Corpus(NamedTuple):
    """What a corpus looks like."""

    name: str  # of a file
    rows: list | str
    text: str = "text"
    id: str = "id"

    def content(self):
        """The bytes of the file, before it is compressed."""
        if isinstance(self.rows, str):
            return self.rows.encode()
        if ".parquet" not in self.name:
            return "".join(json.dumps(row) + "\n" for row in self.rows).encode()
        from pyarrow import parquet

        file = io.BytesIO()
        parquet.write_table(pyarrow.Table.from_pylist(self.rows), file, row_group_size=1)
        return file.getvalue()


def _rows(text="text", **fields):
    return [{**{key: f"{value}{i}" for key, value in fields.items()}, text: body} for i, body in enumerate(TEXTS)]


def _extracted():
    documents = (
        f'<doc id="{i}" url="https://example.org/wiki?curid={i}" title="A &amp; {i}">\n{html.escape(body)}\n\n</doc>\n'
        for i, body in enumerate(TEXTS)
    )
    return "".join(documents)


def _oscar(identity, body):
    return {
        "content": body,
        "warc_headers": {
            "warc-record-id": identity,
            "warc-date": "2022-11-26T09:45:47Z",
            "content-type": "text/plain",
            "content-length": len(body),
            "warc-type": "conversion",
            "warc-identified-content-language": "deu",
            "warc-target-uri": "https://example.org/",
            "warc-block-digest": "sha1:B4KBLM",
        },
        "metadata": {
            "identification": {"label": "de", "prob": 0.88},
            "harmful_pp": 4063.17,
            "tlsh": "tlsh:T125315F",
            "quality_warnings": ["short_sentences", "header"],
            "categories": None,
            "sentence_identifications": [{"label": "de", "prob": 0.84}, None],
        },
    }


CORPORA = {
    "C4": Corpus(
        "c4-train.00000-of-01024.json.gz", _rows(timestamp="2019-04-25T12:57:5", url="https://example.org/"), id="url"
    ),
    "peS2o": Corpus(
        "train-00000-of-00020.json.gz",
        _rows(added="2023-02-13", created="2009-07-28", id="1827", source="s2orc/train", version="v2"),
    ),
    "peS2o in zstd": Corpus(
        "shard-0.jsonl.zst", _rows(added="2023", created="2009", id="1827", source="s2ag", version="v3")
    ),
    "FineWeb": Corpus(
        "000_00000.parquet",
        [
            {**row, "language_score": 0.97, "token_count": 200 + i}
            for i, row in enumerate(
                _rows(
                    id="<urn:uuid:",
                    dump="CC-MAIN-2013-20",
                    url="https://example.org/",
                    date="2013-05-18",
                    file_path="s3://commoncrawl/",
                    language="en",
                )
            )
        ],
    ),
    "Wikipedia": Corpus(
        "train-00000-of-00041.parquet", _rows(id="12", url="https://example.org/wiki/", title="Title ")
    ),
    "Wikipedia, extracted from a dump": Corpus(
        "wiki_00", _rows(id="12", revid="9", url="https://example.org/", title="A ")
    ),
    "Wikipedia, extracted without --json": Corpus("wiki_00", _extracted()),
    "Wikipedia, extracted without --json and compressed": Corpus("wiki_00.bz2", _extracted(), id="title"),
    "Wikipedia, extracted and compressed": Corpus(
        "wiki_00.bz2", _rows(id="12", url="https://example.org/", title="A ")
    ),
    "OSCAR": Corpus(
        "de_part_1.jsonl.zst",
        [_oscar(f"<urn:uuid:{i}>", body) for i, body in enumerate(TEXTS)],
        text="content",
        id="warc_headers.warc-record-id",
    ),
    "OSCAR as the hub has it": Corpus(
        "train.jsonl.gz", [{"id": i, "text": body, "meta": {"headers": {}}} for i, body in enumerate(TEXTS)]
    ),
}
NEED_PARQUET = [name for name, corpus in CORPORA.items() if ".parquet" in corpus.name]
