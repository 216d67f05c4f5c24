"""OCR programs that read a drawn word, for comparison with what others have published; each only where installed."""

import functools
import importlib.util
import io
import shutil
import subprocess

import numpy as np
from PIL import Image

_ENLARGED = 3
_MARGIN = 8  # pixels of white around the word
_SECONDS = 30


def ocr_readers() -> dict:
    """The programs that are there: name -> function of a strip's pixels and the column from which to read, to text.

    ``rapidocr`` (``pip install 'pixelgpt-fairseq[ocr]'``) and ``tesseract`` (the system's package).
    """
    readers = {}
    if importlib.util.find_spec("rapidocr") and importlib.util.find_spec("onnxruntime"):
        readers["rapidocr"] = _rapidocr
    if shutil.which("tesseract"):
        readers["tesseract"] = _tesseract
    return readers


def enlarged(pixels: np.ndarray, start: int) -> Image.Image:
    """What stands on a strip from column *start* on, three times as large, on white: an RGB picture."""
    word = Image.fromarray(pixels[:, start:]).convert("RGB")
    word = word.resize((word.width * _ENLARGED, word.height * _ENLARGED), Image.Resampling.BICUBIC)
    paper = Image.new("RGB", (word.width + 2 * _MARGIN, word.height + 2 * _MARGIN), "white")
    paper.paste(word, (_MARGIN, _MARGIN))
    return paper


def _rapidocr(pixels, start):
    if start >= pixels.shape[1]:
        return ""
    found = _rapidocr_engine()(np.array(enlarged(pixels, start))[..., ::-1], use_det=False, use_cls=False, use_rec=True)
    return " ".join(found.txts or ())


@functools.cache
def _rapidocr_engine():
    from rapidocr import RapidOCR

    return RapidOCR(params={"Global.log_level": "error"})


def _tesseract(pixels, start):
    if start >= pixels.shape[1]:
        return ""
    file = io.BytesIO()
    enlarged(pixels, start).save(file, format="PNG")
    command = ["tesseract", "stdin", "stdout", "--psm", "7"]
    return subprocess.run(
        command, input=file.getvalue(), capture_output=True, check=True, timeout=_SECONDS
    ).stdout.decode("utf-8", "replace")
