"""Lines of text exactly as ``pygame.freetype`` draws them, at many times its speed.

pygame lays out a line without kerning: every character's glyph is the same bitmap wherever it stands, the pen moves by
whole pixels, and where glyphs overlap their coverage combines in the order of the text. So a line is a choice of
columns from an atlas of glyphs, made for all characters at once.
"""

import numpy as np

from pixelgpt_fairseq.rendering.cutting import pen_columns
from pixelgpt_fairseq.rendering.glyphs import GlyphAtlas
from pixelgpt_fairseq.rendering.lines import Line, without_surrogate_pairs

# Characters that are handled at once: more than most lines have, and few enough to need little memory.
_CHUNK = 1024

# Coverage of one glyph over that of others. Not associative to the last bit: the order of the text counts.
_COMBINED = np.array([s + d - s * d // 255 for s in range(256) for d in range(256)], dtype=np.uint8)

_FAR = 1 << 40


class PygameRaster:
    """Draws lines with a chain of fonts.

    Args:
        config: RendererConfig with its fonts located.

    Raises:
        UserError: for a file that is not a usable font.
    """

    def __init__(self, config):
        self._atlas = GlyphAtlas(config.fonts, config.font_size, config.dpi)

    def boxes(self, text: str) -> np.ndarray:
        """Advance, left and right of every character's box, in pixels from its pen: int64 ``[3, len(text)]``.

        Raises:
            UserError: for a surrogate, or a damaged glyph.
        """
        self._atlas.trim()
        metrics = self._atlas.metrics(self._atlas.ids(text))
        return np.stack([metrics.advance, metrics.left, metrics.right])

    def columns(self, text: str) -> np.ndarray:
        """Where each character of a line begins and ends, in columns from the line's left edge: int64 ``[length, 2]``.

        Raises:
            UserError: for a surrogate, or a damaged glyph.
        """
        pens = pen_columns(self.boxes(text))
        return np.stack([pens[:-1], pens[1:]], axis=1)

    def reads_left_to_right(self, text: str) -> bool:
        """Whether the line has its characters in the order of the text: pygame knows no other."""
        return True

    def line(self, text: str, max_width: int) -> Line:
        """Draw *text* up to *max_width* pixels.

        The box, and with it the height and top, is that of the whole text. The cost is that of what is drawn, and a
        look at which characters the rest consists of.

        Raises:
            UserError: for a lone surrogate, or a damaged glyph.
        """
        text = without_surrogate_pairs(text)
        if not text:
            return Line(np.zeros((0, 0), dtype=np.uint8), 0, 0)
        atlas = self._atlas
        atlas.trim()
        chunks, reach = [], None  # reach: how far left of the pen the rest of the text may go
        pen, left, right, top, bottom = 0, _FAR, -_FAR, -_FAR, _FAR
        for start in range(0, len(text), _CHUNK):
            if pen > left + max_width:
                # What comes now is out of sight, unless it reaches back, but tall characters there move the row.
                if reach is None:
                    rest = atlas.metrics(atlas.ids("".join(set(text[start:]))))
                    reach = rest.left.min()
                    top, bottom = max(top, int(rest.top.max())), min(bottom, int(rest.bottom.min()))
                if pen + reach > left + max_width:
                    break
            metrics = atlas.metrics(atlas.ids(text[start : start + _CHUNK]))
            pens = metrics.advance.cumsum()
            pens += pen
            pen = int(pens[-1])
            pens -= metrics.advance
            left = min(left, int((pens + metrics.left).min()))
            right = max(right, int((pens + metrics.right).max()))
            top, bottom = max(top, int(metrics.top.max())), min(bottom, int(metrics.bottom.min()))
            chunks.append((metrics, pens))
        else:
            if metrics.left[-1] == metrics.right[-1]:  # a blank reaches to the pen only at the end of a line
                right = max(right, pen)
        width = right - left
        canvas = np.zeros((min(width, max_width), atlas.top - atlas.bottom), dtype=np.uint8)
        inked = 0
        for metrics, pens in chunks:
            inked = self._add(canvas, inked, metrics, pens - left)
        return Line(canvas[:, atlas.top - top : atlas.top - bottom].T, width, top)

    def _add(self, canvas, inked, metrics, pens):
        """Draw glyphs.

        Args:
            canvas: uint8 ``[columns, rows]``, is changed.
            inked: the column from which on it is empty.
            metrics: of the glyphs.
            pens: their pens' columns.

        Returns:
            int: the column from which on the canvas is empty now.
        """
        starts = pens + metrics.left
        widths = metrics.right - metrics.left
        ends = starts + widths
        if ends.max() > len(canvas):
            widths = (len(canvas) - starts).clip(0, widths)
            ends = ends.clip(max=len(canvas))
        # For every column of every glyph, in the order of the text: where it stands on the canvas, and in the atlas.
        before = widths.cumsum() - widths
        place = np.arange(before[-1] + widths[-1])
        source = place + (metrics.column - before).repeat(widths)
        place += (starts - before).repeat(widths)
        # A glyph's columns are late where one before it has been.
        reached = np.maximum.accumulate(np.append(inked, ends))
        late = place < reached[:-1].repeat(widths)
        late_place, late_source = place[late], source[late]
        if late_place.size:
            place, source = place[~late], source[~late]
        end = int(reached[-1])
        chosen = np.zeros(end - inked, dtype=np.intp)
        chosen[place - inked] = source
        columns = self._atlas.columns
        columns.take(chosen, axis=0, out=canvas[inked:end], mode="clip")  # not clipped, but without a buffer
        for turn in _turns(late_place):
            at = late_place[turn]
            under, over = canvas.take(at, axis=0), columns.take(late_source[turn], axis=0)
            canvas[at] = _COMBINED.take((under.astype(np.intp) << 8) + over)
        return end


def _turns(places):
    """Indices of *places* in groups, in none of which a place occurs twice; the turns of a place are in order."""
    if (places[1:] > places[:-1]).all():
        return [slice(None)] if places.size else []
    order = np.argsort(places, kind="stable")
    ordered = places[order]
    runs = np.flatnonzero(np.diff(ordered, prepend=-1))
    turn = np.arange(len(places)) - runs.repeat(np.diff(runs, append=len(places)))
    return np.split(order[np.argsort(turn, kind="stable")], np.bincount(turn).cumsum()[:-1])
