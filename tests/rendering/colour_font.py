"""A small font with a colour glyph, made here: no package on PyPI brings one."""

from fontTools.colorLib.builder import buildCOLR, buildCPAL
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen

EM = 1000


def _box(left, right):
    pen = TTGlyphPen(None)
    pen.moveTo((left, 0))
    pen.lineTo((left, 800))
    pen.lineTo((right, 800))
    pen.lineTo((right, 0))
    pen.closePath()
    return pen.glyph()


def write_colour_font(path):
    """Write a font in which 😀 and ❤ are a square, red on the left and blue on the right; returns *path*."""
    glyphs = {".notdef": _box(0, 500), "face": _box(0, EM), "left": _box(0, 500), "right": _box(500, EM)}
    builder = FontBuilder(EM, isTTF=True)
    builder.setupGlyphOrder(list(glyphs))
    builder.setupCharacterMap({0x1F600: "face", 0x2764: "face"})
    builder.setupGlyf(glyphs)
    edges = builder.font["glyf"]
    builder.setupHorizontalMetrics({name: (EM, edges[name].xMin) for name in glyphs})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Colour", "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=800, usWinAscent=800, usWinDescent=200)
    builder.setupPost()
    builder.font["CPAL"] = buildCPAL([[(1.0, 0.0, 0.0, 1.0), (0.0, 0.0, 1.0, 1.0)]])
    builder.font["COLR"] = buildCOLR({"face": [("left", 0), ("right", 1)]})
    builder.save(path)
    return path
