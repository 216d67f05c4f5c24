"""Renderers of the pillow backend, and what there is to see on their strips."""

import numpy as np

from pixelgpt_fairseq.rendering import RendererConfig, TextRenderer

LANGUAGES = {
    "Arabic": "يمكن قراءة اللغة كصورة، أليس كذلك؟",
    "Bulgarian": "Езикът може да се чете като картина.",
    "Chinese": "语言可以被当作图像来阅读，对吗？",
    "English": "“Language” can’t be read as an image: it’s office work.",
    "French": "Le cœur déçu mais l’âme plutôt naïve.",
    "German": "Zwölf Boxkämpfer jagen Eva über den Sylter Deich.",
    "Greek": "Η γλώσσα μπορεί να διαβαστεί ως εικόνα.",
    "Hindi": "हिन्दी भाषा को चित्र की तरह पढ़ा जा सकता है। क्षत्रिय",
    "Russian": "Съешь ещё этих мягких французских булок.",
    "Spanish": "¿Dónde está el niño? ¡Mañana saldrá!",
    "Swahili": "Lugha inaweza kusomwa kama picha.",
    "Thai": "ภาษาสามารถอ่านเป็นรูปภาพได้ ที่นี่ น้ำ",
    "Turkish": "Pijamalı hasta yağız şoföre çabucak güvendi.",
    "Urdu": "زبان کو تصویر کی طرح پڑھا جا سکتا ہے، ۱۲۳۔",
    "Vietnamese": "Ngôn ngữ có thể được đọc như một hình ảnh.",
}


def pillow(max_patches=1024, **settings):
    return TextRenderer(RendererConfig(backend="pillow", max_patches=max_patches, **settings))


def ink(rendered):
    """The drawn columns and rows of a strip, as coverage."""
    coverage = 255 - rendered.pixels[:, :-16]
    rows, columns = (np.flatnonzero(coverage.any(axis=axis)) for axis in (1, 0))
    return coverage[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def ink_parts(rendered):
    """Pieces of a line's ink with at least two empty columns between them, from left to right."""
    coverage = 255 - rendered.pixels[:, :-16]
    inked = np.flatnonzero(coverage.any(axis=0))
    parts = np.split(inked, np.flatnonzero(np.diff(inked) > 2) + 1)
    return [coverage[:, part[0] : part[-1] + 1] for part in parts]


def assert_same(one, other):
    assert tuple(one[1:]) == tuple(other[1:])
    np.testing.assert_array_equal(one.pixels, other.pixels)
