"""What the directory of a font file tells: its tables, the formats of its colors, whether the file is whole."""

import contextlib
import os
import struct
import zlib

_HEADER = 48  # bytes, of the longest

# WOFF2 writes a number for each of these tags.
_WOFF2_TAGS = (
    "cmap head hhea hmtx maxp name OS/2 post cvt fpgm glyf loca prep CFF VORG EBDT EBLC gasp hdmx kern LTSH PCLT VDMX "
    "vhea vmtx BASE GDEF GPOS GSUB EBSC JSTF MATH CBDT CBLC COLR CPAL SVG sbix acnt avar bdat bloc bsln cvar fdsc feat "
    "fmtx fvar gvar hsty just lcar mort morx opbd prop trak Zapf Silf Glat Gloc Feat Sill"
).split()
_OTHER_TAG = 63
_COLOR_TABLES = ("CBDT", "COLR", "SVG", "sbix")
BITMAP_FORMATS = ("CBDT", "sbix")  # colors that every renderer draws which draws any


def font_tables(path) -> dict[str, tuple[int, int]]:
    """Tag (without spaces) -> offset and length of the tables of a font file, as they lie in the file.

    Reads TTF, OTF, WOFF and the first font of a TTC; in WOFF2, whose tables are compressed together, the lengths are 0.

    Returns:
        dict: empty for a file of another kind, or one that ends within its directory.
    """
    with open(path, "rb") as file:
        start = file.read(_HEADER).ljust(_HEADER, b"\0")
        kind = start[:4]
        if kind == b"wOF2":
            return dict.fromkeys(_woff2_tags(file, int.from_bytes(start[12:14], "big")), (0, 0))
        if kind == b"wOFF":
            entry, tables, at = ">4sLL8x", int.from_bytes(start[12:14], "big"), 44
        else:
            begin = int.from_bytes(start[12:16], "big") if kind == b"ttcf" else 0
            file.seek(begin)
            kind, tables = struct.unpack(">4sH", file.read(6).ljust(6, b"\0"))
            if kind not in (b"\0\1\0\0", b"OTTO", b"true"):
                return {}
            entry, at = ">4s4xLL", begin + 12
        file.seek(at)
        size = struct.calcsize(entry) * tables
        directory = file.read(size)
    if len(directory) < size:
        return {}
    return {_tag(tag): (offset, length) for tag, offset, length in struct.iter_unpack(entry, directory)}


def color_formats(path) -> list[str]:
    """The formats in which a font file has glyphs with colors of their own: such as ``COLR version 1``."""
    tables = font_tables(path)
    return [
        f"COLR{_colr_version(path, *tables[tag])}" if tag == "COLR" else tag for tag in _COLOR_TABLES if tag in tables
    ]


def is_cut_short(path) -> bool:
    """Whether a font file ends before its tables do, as after a broken download: such a font may draw nothing."""
    with open(path, "rb") as file:
        start = file.read(12)
    if start[:4] in (b"wOFF", b"wOF2"):
        return os.path.getsize(path) < int.from_bytes(start[8:12], "big")
    ends = [offset + length for offset, length in font_tables(path).values()]
    return bool(ends) and max(ends) > os.path.getsize(path)


def _tag(raw):
    return raw.decode("latin-1").rstrip()


def _colr_version(path, offset, length):
    """`` version 1``, or nothing where it cannot be told."""
    with open(path, "rb") as file:
        packed = file.read(4) == b"wOFF"
        file.seek(offset)
        start = file.read(min(length, 1 << 16))
    if packed:
        with contextlib.suppress(zlib.error):  # a table that compression would not make smaller is there as it is
            start = zlib.decompressobj().decompress(start, 2)
    return f" version {int.from_bytes(start[:2], 'big')}" if len(start) >= 2 else ""


def _woff2_tags(file, tables):
    """The tags in the directory of a WOFF2 file, which begins at the file's position; none if it ends within it."""
    tags = []

    def byte():
        read = file.read(1)
        if not read:
            raise EOFError
        return read[0]

    def pass_over_number():
        while byte() & 0x80:
            pass

    try:
        for _ in range(tables):
            flags = byte()
            number, transformation = flags & 0x3F, flags >> 6
            tag = _tag(file.read(4)) if number == _OTHER_TAG else _WOFF2_TAGS[number]
            pass_over_number()
            if transformation != (3 if tag in ("glyf", "loca") else 0):
                pass_over_number()
            tags.append(tag)
    except EOFError:
        return []
    return tags
