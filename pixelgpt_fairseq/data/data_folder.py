"""What a folder of binarised data holds, and the settings that all of its splits share.

::

    text_renderer_config.json   the renderer's settings
    tokenizer.model, dict.txt   the tokenizer and its vocabulary (absent if only pixels were rendered)
    train.pixel.{bin,idx}       uint8, a strip an item; its rows are patches
    train.text.{bin,idx}        the tokens of the same pieces of text
    train.columns.{bin,idx}     the pixel column of the strip at which each of these tokens begins
    train.manifest.json         counts, sizes and settings; written last: with it, the split is whole

An item is a *piece*: a document, or a part of one that is longer than a strip. An empty item ends each document, as an
empty line does in fairseq's language modelling data. A document's last strip ends with the separator patch; its first
tokens begin with bos and its last end with eos.
"""

import hashlib
import json
import os
from pathlib import Path

from pixelgpt_fairseq.data import indexed
from pixelgpt_fairseq.data.tokens import TokenDictionary, Tokenizer
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.rendering import RendererConfig

PIXEL, TEXT, COLUMNS = "pixel", "text", "columns"
RENDERER_FILE = "text_renderer_config.json"
TOKENIZER_FILE = "tokenizer.model"
DICTIONARY_FILE = "dict.txt"
MANIFEST_VERSION = 1


class DataFolder:
    """A folder of binarised data."""

    def __init__(self, path):
        self.path = Path(path)

    def prefix(self, split, stream):
        """Path of a stream's indexed files, without ``.bin`` and ``.idx``."""
        return self.path / f"{split}.{stream}"

    def manifest_path(self, split):
        """Path of a split's manifest."""
        return self.path / f"{split}.manifest.json"

    def split_files(self, split):
        """The files of *split* that are there, the manifest among them."""
        return sorted(path for path in self.path.glob(f"{split}.*") if path.is_file())

    def splits(self):
        """Names of the splits that are whole."""
        return sorted(path.name.removesuffix(".manifest.json") for path in self.path.glob("*.manifest.json"))

    def first_split(self):
        """``train`` if it is there, else any other split.

        Raises:
            UserError: if there is none.
        """
        splits = self.splits()
        return "train" if "train" in splits or not splits else splits[0]

    def renderer_config(self):
        """The renderer's settings.

        Raises:
            UserError: if the folder holds none, or their fonts cannot be found.
        """
        path = self.path / RENDERER_FILE
        if not path.exists():
            raise UserError(f"{self.path}: no {RENDERER_FILE}: is this a folder of rendered data?")
        return RendererConfig.from_json(path)

    def tokenizer(self):
        """The tokenizer, or None if only pixels were rendered."""
        path = self.path / TOKENIZER_FILE
        return Tokenizer.load(path) if path.exists() else None

    def dictionary(self):
        """The dictionary, checked against the tokenizer beside it; None if only pixels were rendered."""
        if not (self.path / DICTIONARY_FILE).exists() and not (self.path / TOKENIZER_FILE).exists():
            return None
        dictionary = TokenDictionary.load(self.path / DICTIONARY_FILE)
        tokenizer = self.tokenizer()
        if tokenizer and len(tokenizer) != len(dictionary):
            raise UserError(
                f"{self.path / TOKENIZER_FILE} has {len(tokenizer):,} tokens, {DICTIONARY_FILE} {len(dictionary):,}: "
                "the tokenizer is not the one that the data was binarised with"
            )
        return dictionary

    def manifest(self, split):
        """The manifest of *split*, with the tokenizer in the folder checked against it.

        Raises:
            UserError: if the split is absent or unfinished, a file is not as long as the manifest says, or the
                tokenizer is not the one that the split was binarised with.
        """
        path = self.manifest_path(split)
        if not self.path.is_dir():
            raise UserError(f"{self.path}: no such folder: render a corpus into it with scripts/render_corpus.py")
        if not path.exists():
            there = ", ".join(self.splits()) or "none"
            raise UserError(f"{path}: absent: split {split} was not rendered, or not to its end (whole splits: {there})")
        manifest = read_json(path)
        for name, expected in manifest["files"].items():
            found = os.path.getsize(self.path / name) if (self.path / name).exists() else 0
            if found != expected:
                raise UserError(
                    f"{self.path / name}: truncated or damaged ({found:,} bytes instead of {expected:,}): "
                    "render this split again"
                )
        tokenizer_path = self.path / TOKENIZER_FILE
        if manifest["tokenizer_sha256"] and tokenizer_path.exists():
            found = hashlib.sha256(tokenizer_path.read_bytes()).hexdigest()
            if found != manifest["tokenizer_sha256"]:
                raise UserError(
                    f"{tokenizer_path}: not the tokenizer that split {split} was binarised with "
                    f"(SHA-256 {found[:12]} instead of {manifest['tokenizer_sha256'][:12]}): render the data again"
                )
        return manifest

    def settings(self, split):
        """What a model must know of its data: the renderer's settings and the tokenizer, as plain values."""
        manifest = self.manifest(split)
        return {"renderer": manifest["renderer"], "tokenizer_sha256": manifest["tokenizer_sha256"]}

    def open(self, split, stream, row_width=1):
        """The items of a stream as :class:`~pixelgpt_fairseq.data.indexed.IndexedRows`."""
        return indexed.IndexedRows(self.prefix(split, stream), row_width)

    def has(self, split, stream):
        """Whether *split* holds *stream*."""
        return indexed.exists(self.prefix(split, stream))


def read_json(path):
    """Read a JSON file, or raise a :class:`UserError` that names it."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{path}: not JSON: {error}") from None


def write_whole(path, content):
    """Write *content* (bytes or text) to *path*, whole or not at all."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.partial")
    temporary.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    os.replace(temporary, path)
