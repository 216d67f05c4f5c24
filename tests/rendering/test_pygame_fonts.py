"""A font file is opened once for all renderers of a process, as long as it is the same file."""

import os
import shutil
from pathlib import Path

from pixelgpt_fairseq.rendering import default_fonts
from pixelgpt_fairseq.rendering.pygame_fonts import FontFace


def test_a_font_is_opened_once_for_each_size(tmp_path):
    path = default_fonts()[0].path
    font = FontFace(path, 12).font()
    assert FontFace(path, 12).font() is font
    assert FontFace(path, 13).font() is not font
    assert FontFace(path, 12, dpi=96).font() is not font


def test_another_file_in_its_place_is_opened_anew(tmp_path):
    one, other = (Path(font.path) for font in default_fonts()[:2])
    path = shutil.copy(one, tmp_path / "font.ttf")
    before = FontFace(path, 12).draw("A")
    shutil.copy(other, tmp_path / "new.ttf")
    os.replace(tmp_path / "new.ttf", path)
    assert (FontFace(path, 12).draw("A").ink.tobytes(), FontFace(path, 12).draw("B").ink.tobytes()) == (
        FontFace(other, 12).draw("A").ink.tobytes(),
        FontFace(other, 12).draw("B").ink.tobytes(),
    )
    assert before.ink.tobytes() == FontFace(one, 12).draw("A").ink.tobytes()


def test_a_forked_process_opens_its_own(monkeypatch):
    face = FontFace(default_fonts()[0].path, 12)
    font = face.font()
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert face.font() is not font
