"""What a folder of binarized data holds, and the settings that all of its splits share.

::

    text_renderer_config.json   the renderer's settings
    tokenizer.model, dict.txt   the tokenizer and its vocabulary (absent if only pixels were rendered); for a Hugging
                                Face tokenizer, tokenizer.model has the content of its tokenizer.json
    train.manifest.json         counts, settings and shards; written last: with it, the split is whole
    train.shards/00000/...      the shards of the split, each made of a stretch of the corpus, whole documents:
        pixel.{bin,idx}         uint8, a strip an item; its rows are patches, in the render mode rgb of three channels
                                (where only text was stored, the .idx alone)
        pieces.{bin,idx}        uint8, the same pieces of text in UTF-8 (absent where only patches were stored)
        text.{bin,idx}          the tokens of the same pieces of text
        columns.{bin,idx}       where each of these tokens is in the strip: its first column, and the one after its last
        ids.txt                 the ids of its documents in the corpus, a line each, where they were asked for; nothing
                                reads them
        shard.json              counts, sizes and checksums of this shard
    train.pair-512-512.plan     which pairs the split is cut into; made by the first training (see plans.py)

An item is a *piece*: a document, or a part of one that is longer than a strip. An empty item ends each document, as an
empty line does in fairseq's language modeling data. A document's last strip ends with the separator patch; its first
tokens begin with bos and its last end with eos.

In a split of labeled examples an item is an example: one sentence in the text layout, two in the pair layout; its
tokens are ``<s> A`` or ``<s> A <s> B``. Its only shard has no columns, but ``labels.npy``: the number of each example's
class (int64) or its score (float64).

In a split of translations an item is a source and its target: the source's strip, its text (``pieces``) and its tokens
``<s> A``; and as one more stream the target's tokens::

        target.{bin,idx}        ``<s> B </s>``
"""

import hashlib
import os
import re
import types
import zlib
from pathlib import Path

from pixelgpt_fairseq.data import indexed
from pixelgpt_fairseq.data.patches import patch_layout
from pixelgpt_fairseq.data.plans import Plans
from pixelgpt_fairseq.data.streams import STREAMS
from pixelgpt_fairseq.data.tokens import TokenDictionary, Tokenizer
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.rendering import RendererConfig
from pixelgpt_fairseq.storage.files import file_version, read_json

_PLAN = r"\.(pair|patches|tokens)-[\w-]+\.plan"
RENDERER_FILE = "text_renderer_config.json"
TOKENIZER_FILE = "tokenizer.model"
DICTIONARY_FILE = "dict.txt"
SHARED_FILES = (RENDERER_FILE, TOKENIZER_FILE, DICTIONARY_FILE)
MANIFEST_VERSION = 2
LABELS_FILE, IDS_FILE, SHARD_FILE = "labels.npy", "ids.txt", "shard.json"
# Only these files are ever replaced or removed: users may keep a train.txt beside the data.
SHARD_FILES = (
    *(f"{stream}.{kind}" for stream in STREAMS for kind in ("bin", "idx")),
    LABELS_FILE,
    IDS_FILE,
    SHARD_FILE,
)
SHARD_NAME = r"\d{5,}"
_LISTED = re.compile(rf"[\w.-]+\.shards/{SHARD_NAME}/({'|'.join(map(re.escape, SHARD_FILES))})")
# Fields of a manifest that later steps read.
_MANIFEST_FIELDS = {
    "checksums": dict,
    "patch_values": int,
    "renderer": dict | types.NoneType,  # None: released strips, rendered by others
    "tokenizer_sha256": str | types.NoneType,
}


class DataFolder:
    """A folder of binarized data."""

    def __init__(self, path):
        self.path = Path(path)
        self._shards = {}  # split -> (version of the manifest file, names of shards): large ones take a while to read

    def shards_path(self, split):
        """Path of the folder of a split's shards."""
        return self.path / f"{split}.shards"

    def shards(self, split):
        """Paths of the shards of *split*, in order."""
        if split not in self._shards or self._shards[split][0] != file_version(self.manifest_path(split)):
            self.read_manifest(split)
        path = self.shards_path(split)
        return [path / name for name in self._shards[split][1]]

    def prefixes(self, split, stream):
        """Paths of a stream's indexed files in every shard, without ``.bin`` and ``.idx``."""
        return [shard / stream for shard in self.shards(split)]

    def manifest_path(self, split):
        """Path of a split's manifest."""
        return self.path / f"{split}.manifest.json"

    def labels_path(self, split):
        """Path of the labels of a split of examples, which is a single shard."""
        return self.shards_path(split) / shard_name(0) / LABELS_FILE

    def split_files(self, split):
        """The existing files of *split*, the manifest last."""
        shards = [path for path in self.shards_path(split).glob("*") if re.fullmatch(SHARD_NAME, path.name)]
        shards.sort(key=lambda path: int(path.name))
        files = [path for shard in shards for name in SHARD_FILES if (path := shard / name).exists()]
        manifest_path = self.manifest_path(split)
        return [*files, *([manifest_path] if manifest_path.exists() else [])]

    def splits(self):
        """Names of the complete splits."""
        return sorted(path.name.removesuffix(".manifest.json") for path in self.path.glob("*.manifest.json"))

    def first_split(self):
        """``train`` if it exists or there is no split at all, else any other split."""
        splits = self.splits()
        return "train" if "train" in splits or not splits else splits[0]

    def renderer_config(self, locate_fonts=True):
        """The renderer's settings, and with *locate_fonts* the fonts' files on this machine.

        Raises:
            UserError: if the folder holds none, or their fonts cannot be found.
        """
        path = self.path / RENDERER_FILE
        if not path.exists():
            if any(self.read_manifest(split)["renderer"] is None for split in self.splits()):
                raise UserError(f"{self.path}: its strips are released ones: how they were drawn is not known")
            raise UserError(f"{self.path}: no {RENDERER_FILE}: is this a folder of rendered data?")
        return RendererConfig.from_json(path, locate_fonts)

    def tokenizer(self):
        """The tokenizer, or None if only pixels were rendered."""
        path = self.path / TOKENIZER_FILE
        return Tokenizer.load(path) if path.exists() else None

    def dictionary(self):
        """The dictionary, checked against the tokenizer beside it; None if only pixels were rendered.

        Raises:
            UserError: if one of the two is absent or damaged, or they do not belong together.
        """
        dictionary_path, tokenizer_path = self.path / DICTIONARY_FILE, self.path / TOKENIZER_FILE
        if not dictionary_path.exists() and not tokenizer_path.exists():
            return None
        dictionary = TokenDictionary.from_tokenizer(Tokenizer.load(tokenizer_path))
        try:
            found = dictionary_path.read_text(encoding="utf-8").split("\n")
        except FileNotFoundError:
            raise UserError(f"{dictionary_path}: no such file: render the data again") from None
        except OSError as error:
            raise UserError(f"{dictionary_path}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise UserError(f"{dictionary_path}: not UTF-8: it is damaged: render the data again") from None
        expected = dictionary.to_text().split("\n")
        if len(expected) != len(found):
            raise UserError(
                f"{tokenizer_path} has {len(dictionary):,} tokens, {DICTIONARY_FILE} {len(found) - 1:,}: "
                "the tokenizer is not the one that the data was binarized with"
            )
        for number, (ours, theirs) in enumerate(zip(expected, found, strict=True), start=1):
            if ours != theirs:
                raise UserError(
                    f"{dictionary_path}, line {number}: {theirs!r}, but {TOKENIZER_FILE} has {ours!r}: "
                    "the two do not belong together: render the data again"
                )
        return dictionary

    def manifest(self, split):
        """The manifest of *split*, with the files and the tokenizer checked against it.

        Raises:
            UserError: if the split is absent or unfinished, a file is not as long as the manifest says, or the
                tokenizer is not the one that the split was binarized with.
        """
        manifest = self.read_manifest(split)
        for name, expected in manifest["files"].items():
            path = os.path.join(self.path, name)  # there may be 100,000 of them
            try:
                found = os.stat(path).st_size
            except OSError:
                found = 0
            if found != expected:
                raise UserError(
                    f"{path}: truncated or damaged ({found:,} bytes instead of {expected:,}): {_advice(manifest)}"
                )
        self._check_tokenizer(split, manifest)
        return manifest

    def _check_tokenizer(self, split, manifest):
        tokenizer_path = self.path / TOKENIZER_FILE
        if manifest["tokenizer_sha256"] and tokenizer_path.exists():
            found = hashlib.sha256(tokenizer_path.read_bytes()).hexdigest()
            if found != manifest["tokenizer_sha256"]:
                raise UserError(
                    f"{tokenizer_path}: not the tokenizer that split {split} was binarized with "
                    f"(SHA-256 {found[:12]} instead of {manifest['tokenizer_sha256'][:12]}): put that one back, or "
                    "render the data again"
                )

    def read_manifest(self, split):
        """The manifest of *split*, as it stands.

        Raises:
            UserError: if it is absent, which means that the split is absent or unfinished, or damaged.
        """
        path = self.manifest_path(split)
        if not self.path.is_dir():
            raise UserError(f"{self.path}: no such folder: render a corpus into it with pixelgpt render-corpus")
        if not path.exists():
            there = ", ".join(self.splits()) or "none"
            raise UserError(
                f"{path}: absent: split {split} was not rendered, or not to its end (whole splits: {there})"
            )
        found, manifest = file_version(path), read_json(path)
        if not isinstance(manifest, dict) or not isinstance(manifest.get("version"), int):
            raise UserError(f"{path}: not a manifest of rendered data: render this split again")
        if manifest["version"] != MANIFEST_VERSION:
            raise UserError(
                f"{path}: version {manifest['version']}, this program reads {MANIFEST_VERSION}: render the data again"
            )
        for name in listed_files(manifest, path):
            if not name.startswith(f"{split}.shards/"):
                raise UserError(f"{path}: damaged: {name!r} is no file of this split: render this split again")
        shards = manifest.get("shards")
        if not isinstance(shards, list) or not all(re.fullmatch(SHARD_NAME, str(name)) for name in shards):
            raise UserError(f"{path}: damaged: shards is absent or not what it was: render this split again")
        for name, kind in _MANIFEST_FIELDS.items():
            if name not in manifest or not isinstance(manifest[name], kind):
                raise UserError(f"{path}: damaged: {name} is absent or not what it was: render this split again")
        try:
            patch_layout(manifest["patch_values"])
            if manifest["renderer"] is not None:
                expected = RendererConfig.from_dict(manifest["renderer"]).patch_values
                if expected != manifest["patch_values"]:
                    raise UserError(f"damaged: patches of {manifest['patch_values']} values, its look has {expected}")
        except (UserError, ValueError) as error:
            raise UserError(f"{path}: {error}") from None
        self._shards[split] = found, shards
        return manifest

    def settings(self, split):
        """The ``data_settings`` of a model: renderer settings and tokenizer, as plain values.

        Raises:
            UserError: as :meth:`manifest`, but files of shards are not looked at.
        """
        manifest = self.read_manifest(split)
        self._check_tokenizer(split, manifest)
        return {"renderer": manifest["renderer"], "tokenizer_sha256": manifest["tokenizer_sha256"]}

    def open(self, split, stream, row_width=1):
        """The items of a stream in all shards as :class:`~pixelgpt_fairseq.data.indexed.IndexedRows`."""
        return indexed.IndexedRows(self.prefixes(split, stream), row_width)

    def plans(self, split):
        """Where plans of *split* are kept, see :mod:`~pixelgpt_fairseq.data.plans`: they hold for its files alone."""
        manifest_path = self.manifest_path(split)
        return Plans(self.path / split, manifest_path.read_text(encoding="utf-8"))  # with the checksums of all files

    def plan_files(self, split):
        """The plans of *split* that are there."""
        return [path for path in self.path.glob("*.plan") if re.fullmatch(f"{re.escape(split)}{_PLAN}", path.name)]

    def has(self, split, stream):
        """Whether *split* holds *stream*."""
        there = self.manifest_path(split).exists()
        return there and all(indexed.exists(prefix) for prefix in self.prefixes(split, stream)[:1])

    def check_contents(self, split):
        """Read every file of *split* and compare it with its checksum in the manifest.

        Raises:
            UserError: naming the first file that is damaged.
        """
        self.manifest(split)
        for _, message in self.damage(split):
            raise UserError(message)

    def damage(self, split):
        """Read every file of *split*; yields (name of a shard, message) for each that is not what the manifest says."""
        manifest = self.read_manifest(split)
        for name in manifest["files"]:
            checksum, wrong = 0, "its checksum is not the one in the manifest"
            try:
                with open(self.path / name, "rb") as file:
                    while content := file.read(1 << 20):
                        checksum = zlib.crc32(content, checksum)
            except OSError as error:
                checksum, wrong = None, error.strerror
            if checksum is None or checksum != manifest["checksums"].get(name):
                yield name.split("/")[1], f"{self.path / name}: damaged: {wrong}: {_advice(manifest)}"


def _advice(manifest):
    """What to do about a damaged shard."""
    corpus = "documents_are" in manifest
    return f"render this split again{', or give --repair to make its damaged shards alone' if corpus else ''}"


def shard_name(number):
    """Name of the folder of a shard, counted from 0."""
    return f"{number:05d}"


def listed_files(manifest, path) -> dict[str, int]:
    """The files that a manifest lists: name -> bytes.

    Args:
        manifest: what the file holds.
        path: of the file, for messages.

    Raises:
        UserError: if it lists anything but files of shards with their sizes.
    """
    files = manifest.get("files") if isinstance(manifest, dict) else None
    if not isinstance(files, dict):
        raise UserError(f"{path}: damaged: files is absent or not what it was: render this split again")
    for name, size in files.items():
        if not _LISTED.fullmatch(name):
            raise UserError(f"{path}: damaged: {name!r} is no name of a file of a shard: render this split again")
        if isinstance(size, bool) or not isinstance(size, int) or size < 0:
            raise UserError(f"{path}: damaged: {size!r} is no size of {name}: render this split again")
    return files


def settings_differences(ours, theirs):
    """What differs between two results of :meth:`DataFolder.settings`, a line each; an empty list if nothing does.

    Fonts are compared by their contents, not by their paths.
    """
    known = [settings["renderer"] for settings in (ours, theirs)]
    differences = []
    if all(known):
        differences = RendererConfig.from_dict(known[0]).differences(RendererConfig.from_dict(known[1]))
    elif any(known):
        unknown, rendered = "released strips, whose look is not known", "text rendered here"
        differences = [f"look: {rendered if known[0] else unknown} against {rendered if known[1] else unknown}"]
    tokenizers = [(settings["tokenizer_sha256"] or "none")[:12] for settings in (ours, theirs)]
    if tokenizers[0] != tokenizers[1]:
        differences.append(f"tokenizer (SHA-256): {tokenizers[0]} against {tokenizers[1]}")
    return differences
