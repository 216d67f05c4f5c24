"""Passages of a corpus, and the positions after them at which reading can resume."""

from typing import NamedTuple

# A longer document arrives as several passages, so that memory does not depend on the length of lines or documents.
MAX_PASSAGE_CHARACTERS = 1 << 20

# Control characters cannot be drawn: in a corpus they become spaces.
CONTROL_TO_SPACE = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029], " ")


class Position(NamedTuple):
    """The position at which reading resumes after a passage.

    Attributes:
        file: index of the path.
        offset: of the next byte of its text, which is not that in the file if the file is compressed; in Parquet, of
            the next row.
        line: number of the line, or of the row, there.
        in_line, in_document: whether this line, this document, has begun before it.
        stored: bytes of the file that have been read, for progress.
        in_row: characters of the row that have been read, where the row at the offset has begun before it.
        bad_rows: rows that were passed over, from the first file on.
        digest: of all passages of standard input so far, by which it is known again.
    """

    file: int = 0
    offset: int = 0
    line: int = 1
    in_line: bool = False
    in_document: bool = False
    stored: int = 0
    in_row: int = 0
    bad_rows: int = 0
    digest: int = 0


class Passage(NamedTuple):
    """A document, or a part of one too long to hold: never empty, without white space at its ends.

    Attributes:
        after: where reading goes on.
        id: of the document, if it has one and it was asked for.
    """

    text: str
    starts_document: bool
    ends_document: bool
    after: Position = Position()
    id: str | None = None
