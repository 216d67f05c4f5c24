"""Small fonts with color glyphs, made here: no package on PyPI brings one."""

from unittest import mock

from fontTools.colorLib.builder import buildCOLR, buildCPAL
from fontTools.feaLib.builder import addOpenTypeFeaturesFromString
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import woff2

EM = 1000
LAYERS = {"left": 0, "right": 1}  # glyphs, and their colors in the palette
SOLID = {"Format": 2, "PaletteIndex": 0, "Alpha": 1.0}
# COLR's records for each glyph that has colors, by its version.
PAINTS = {
    0: list(LAYERS.items()),
    1: {"Format": 10, "Paint": SOLID, "Glyph": "left"},
}


def _box(left=0, right=0):
    pen = TTGlyphPen(None)
    if right > left:
        pen.moveTo((left, 0))
        pen.lineTo((left, 800))
        pen.lineTo((right, 800))
        pen.lineTo((right, 0))
        pen.closePath()
    return pen.glyph()


def write_color_font(
    path, characters="😀❤", ligatures=(), version=0, outlines=True, colors=True, flavor=None, shown=""
):
    """Write a font of glyphs that are all the same square, red on the left and blue on the right; returns *path*.

    Args:
        path: to write to.
        characters: those with a glyph.
        ligatures: strings of them that have a glyph of their own, which has colors and ink whatever the others have.
        version: of the table COLR; in 1, only the left half is there.
        outlines: whether the glyphs have ink without their colors.
        colors: whether the glyphs of the characters have any.
        flavor: "woff" or "woff2".
        shown: characters that have ink without their colors, whatever the others have.
    """
    names = {character: f"u{ord(character):X}" for character in characters}
    joined = ["_".join(names[character] for character in ligature) for ligature in ligatures]
    base = _box(0, EM if outlines else 0)
    glyphs = {".notdef": _box(0, 500), **dict.fromkeys(names.values(), base), **dict.fromkeys(joined, _box(0, EM))}
    glyphs |= {names[character]: _box(0, EM) for character in shown}
    glyphs |= {"left": _box(0, 500), "right": _box(500, EM)}
    builder = FontBuilder(EM, isTTF=True)
    builder.setupGlyphOrder(list(glyphs))
    builder.setupCharacterMap({ord(character): name for character, name in names.items()})
    builder.setupGlyf(glyphs)
    edges = builder.font["glyf"]
    builder.setupHorizontalMetrics({name: (EM, getattr(edges[name], "xMin", 0)) for name in glyphs})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Color", "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=800, usWinAscent=800, usWinDescent=200)
    builder.setupPost()
    colored = [*(names.values() if colors else ()), *joined]
    if colored:
        builder.font["CPAL"] = buildCPAL([[(1.0, 0.0, 0.0, 1.0), (0.0, 0.0, 1.0, 1.0)]])
        builder.font["COLR"] = buildCOLR(dict.fromkeys(colored, PAINTS[version]), version=version)
    if ligatures:
        rules = (
            f"sub {' '.join(names[c] for c in text)} by {name};" for text, name in zip(ligatures, joined, strict=True)
        )
        addOpenTypeFeaturesFromString(builder.font, f"feature ccmp {{ {' '.join(rules)} }} ccmp;")
    builder.font.flavor = flavor
    with mock.patch.object(woff2, "haveBrotli", True), mock.patch.object(woff2, "brotli", _Brotli, create=True):
        builder.save(path)
    return path


class _Brotli:
    """What fontTools needs of the package brotli to write WOFF2: here a stream whose blocks are not compressed."""

    MODE_FONT = 2

    @staticmethod
    def compress(data, mode=None):
        """Brotli's format: bits from the lowest on; blocks of up to 65,536 bytes, and an empty last one."""
        stream, header, bits = bytearray(), 0, 1  # the first bit, 0, is for a window of 64 KiB
        for start in range(0, len(data), 1 << 16):
            block = data[start : start + (1 << 16)]
            # Bits: last or not; two that say that the length has four digits; 16 for it, less one; not compressed.
            header |= (len(block) - 1 << 3 | 1 << 19) << bits
            stream += header.to_bytes((bits + 20 + 7) // 8, "little") + block
            header = bits = 0
        return bytes(stream) + b"\x03"
