"""Formats that are not read here, told by their first bytes: what they are, and what to do with them."""

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.sources.encodings import is_text

_UNPACK = "unpack it, and name the files in it"
_DECOMPRESS = "decompress it first"
_EXTRACT = "write its texts to a text file, and name that"
# Offset, bytes that stand there, what the file is, and what to do with it.
_FOREIGN = (
    (0, b"PK\x03\x04", "a ZIP archive or an office document", _UNPACK),
    (0, b"PK\x05\x06", "an empty ZIP archive", _UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (0, b"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    (257, b"ustar", "a tar archive", _UNPACK),
    (0, b"\x1f\x9d", "a file of the compress command", _DECOMPRESS),
    (0, b"\x04\x22\x4d\x18", "an lz4 file", _DECOMPRESS),
    (0, b"LZIP", "an lzip file", _DECOMPRESS),
    (0, b"\xff\x06\0\0sNaPpY", "a snappy file", _DECOMPRESS),
    (0, b"PAR1", "a Parquet file", _EXTRACT),
    (0, b"ARROW1\0\0", "an Arrow file", _EXTRACT),
    (0, b"\xff\xff\xff\xff", "an Arrow stream", _EXTRACT),
    (0, b"FEA1", "a Feather file", _EXTRACT),
    (0, b"Obj\x01", "an Avro file", _EXTRACT),
    (0, b"ORC", "an ORC file", _EXTRACT),
    (0, b"\x89HDF\r\n", "an HDF5 file", _EXTRACT),
    (0, b"SQLite format 3\0", "an SQLite database", _EXTRACT),
    (0, b"\x93NUMPY", "a NumPy file", _EXTRACT),
    (0, b"%PDF-", "a PDF", "extract its text, as pdftotext does"),
    (0, b"%!PS", "a PostScript file", "extract its text, as ps2ascii does"),
    (0, b"{\\rtf", "a rich text file", "save it as plain text"),
    (0, b"\xd0\xcf\x11\xe0", "an office document", "save it as plain text"),
    (0, b"\x89PNG", "a picture", "name files of text"),
    (0, b"\xff\xd8\xff", "a picture", "name files of text"),
    (0, b"GIF8", "a picture", "name files of text"),
)
_TEXT_MAY_BEGIN_SO = (b"ORC", b"LZIP", b"PAR1", b"FEA1")


def check_not_foreign(path, sample):
    """Refuse a file that is of another format, by its first bytes *sample*.

    Raises:
        UserError: saying what it is and what to do.
    """
    for offset, magic, what, advice in _FOREIGN:
        if sample[offset:].startswith(magic) and not (magic in _TEXT_MAY_BEGIN_SO and is_text(sample)):
            raise UserError(f"{path}: this is {what}, not text: {advice}")
