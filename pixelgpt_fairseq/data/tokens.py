"""Tokenizers (SentencePiece's and Hugging Face's), and their vocabularies as fairseq dictionaries with the same ids."""

import hashlib
import io
import os
import re

import numpy as np
import sentencepiece
from fairseq.data import Dictionary

from pixelgpt_fairseq.data.json_tokenizer import JsonTokenizer, is_json
from pixelgpt_fairseq.errors import UserError

WORD_START = "▁"
MAX_BYTES = 64 << 20  # of a tokenizer's file; models of a million tokens have a third of it
# A tokenizer is trained on at most this many documents, drawn at random.
MAX_TRAINING_DOCUMENTS = 1_000_000
MAX_TRAINING_CHARACTERS = 4_000  # of each document


class TokenDictionary(Dictionary):
    """A fairseq dictionary whose ids are SentencePiece's own (LLaMA: unk 0, bos 1, eos 2; padding is eos).

    For a tokenizer without bos, eos serves as both, and vice versa (see :class:`Tokenizer`).

    fairseq's :class:`~fairseq.data.Dictionary` puts four symbols of its own first; here nothing is moved, so that
    a LLaMA ``tokenizer.model`` and the weights trained with it fit unchanged.
    """

    def __init__(self, symbols, unk=0, bos=1, eos=2, word_starts=None):
        self.symbols = list(symbols)
        self._word_starts = word_starts
        self.indices = {symbol: i for i, symbol in enumerate(self.symbols)}
        self.count = [1] * len(self.symbols)
        self.nspecial = 0
        self.unk_index, self.bos_index, self.eos_index, self.pad_index = unk, bos, eos, eos
        self.unk_word, self.bos_word, self.eos_word = (self.symbols[i] for i in (unk, bos, eos))
        self.pad_word = self.eos_word

    @classmethod
    def from_tokenizer(cls, tokenizer):
        """The dictionary of a :class:`Tokenizer`."""
        model = tokenizer.model
        return cls(
            [model.id_to_piece(i) for i in range(model.get_piece_size())],
            unk=model.unk_id() if model.unk_id() >= 0 else tokenizer.eos,  # byte-level tokenizers know all text
            bos=tokenizer.bos,
            eos=tokenizer.eos,
            word_starts=[tokenizer.begins_word(i) for i in range(len(tokenizer))],
        )

    def to_text(self):
        """The content of ``dict.txt``: one ``symbol count`` a line, in the order of the ids.

        Symbols may hold a line feed, a tab or anything else that would tear a line apart: what cannot be seen is
        written as Python writes it in a string (``\\n``, ``\\u2028``), and so is the backslash.
        """
        return "".join(f"{_visible(symbol)} {count}\n" for symbol, count in zip(self.symbols, self.count, strict=True))

    def word_starts(self):
        """Bool ``[vocabulary]``: the tokens that begin a word."""
        if self._word_starts is not None:
            return np.array(self._word_starts)
        return np.array([symbol.startswith(WORD_START) for symbol in self.symbols])


def _visible(symbol):
    """*symbol* with backslashes and invisible characters (except the space) escaped; the mapping is injective."""
    return "".join(
        character if character == " " or (character.isprintable() and character != "\\") else _escape(character)
        for character in symbol
    )


def _escape(character):
    return character.encode("unicode_escape").decode("ascii")


class Tokenizer:
    """A tokenizer and the SHA-256 that identifies it: a SentencePiece model of any type, or a ``tokenizer.json``.

    ``tokenizer("text")`` is the list of its ids, and ``tokenizer.decode(ids)`` the text of a list of ids.

    Args:
        serialized: the bytes of a ``tokenizer.model``, or of Hugging Face's ``tokenizer.json``, which needs the package
            tokenizers.
        name: what to call it in messages.

    Attributes:
        bos: id of the token that begins a text; that of eos where the model has no bos, as T5's.
        eos: id of the token that ends a document; that of bos where the model has no eos.

    Raises:
        UserError: if the bytes are no SentencePiece model, or one with neither bos nor eos.
    """

    def __init__(self, serialized, name="tokenizer"):
        self.serialized = serialized
        self.sha256 = hashlib.sha256(serialized).hexdigest()
        self.model = JsonTokenizer(serialized, name) if is_json(serialized) else _read_sentencepiece(serialized, name)
        bos, eos = self.model.bos_id(), self.model.eos_id()
        if max(bos, eos) < 0:
            raise UserError(f"{name}: the tokenizer has neither a bos nor an eos symbol to begin and to end texts with")
        self.bos, self.eos = (bos if bos >= 0 else eos), (eos if eos >= 0 else bos)

    @classmethod
    def load(cls, path):
        """Read a ``tokenizer.model`` or ``tokenizer.json`` file."""
        try:
            with open(path, "rb") as file:
                content = file.read(MAX_BYTES + 1)
        except FileNotFoundError:
            raise UserError(f"{path}: no such file") from None
        except OSError as error:
            raise UserError(f"{path}: {error.strerror}") from None
        if len(content) > MAX_BYTES:
            raise UserError(f"{path}: larger than {MAX_BYTES >> 20} MiB: not a tokenizer")
        return cls(content, name=str(path))

    def __reduce__(self):
        return Tokenizer, (self.serialized,)

    def __len__(self):
        return self.model.get_piece_size()

    def __repr__(self):
        return f"Tokenizer({len(self):,} pieces, sha256 {self.sha256[:12]}...)"

    def __call__(self, text):
        """The ids of *text*, without bos and eos: a list of int."""
        return self.model.encode(text)

    def decode(self, ids):
        """The text of *ids*, any sequence of int; bos and eos have none.

        Raises:
            UserError: for an id that the tokenizer does not have.
        """
        ids = [int(i) for i in ids]
        unknown = next((i for i in ids if not 0 <= i < len(self)), None)
        if unknown is not None:
            raise UserError(f"there is no token {unknown}: the tokenizer has those from 0 to {len(self) - 1:,}")
        return self.model.decode(ids)

    def begins_word(self, i):
        """Whether token *i* begins a word."""
        if isinstance(self.model, JsonTokenizer):
            return self.model.begins_word(i)
        return self.model.id_to_piece(i).startswith(WORD_START)

    def text_of(self, i):
        """The text of token *i*, with a space before it where it begins a word; that of symbols is their spelling."""
        if isinstance(self.model, JsonTokenizer):
            return self.model.text_of(i)
        if self.model.is_byte(i):
            return self.model.decode([i])
        return self.model.id_to_piece(i).replace(WORD_START, " ")

    def special_tokens(self):
        """Ids of the tokens that begin and end texts, as manifests keep them."""
        return {"bos": self.bos, "eos": self.eos}

    def encode(self, text):
        """Tokens of *text*, without bos and eos, and where each begins.

        Returns:
            (ids, starts): int64 ``[n]`` and the character of *text* at which each token's visible part begins, a
            word's leading space left out.
        """
        encoded = self.model.encode(text, return_type="offset_mapping")
        ids = np.array(encoded["ids"], dtype=np.int64)
        starts = np.array([start for start, _ in encoded["offsets"]], dtype=np.int64)
        characters = np.frombuffer(f"{text}\0".encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
        starts += characters[starts] == ord(" ")
        return ids, starts


def _read_sentencepiece(serialized, name):
    model = sentencepiece.SentencePieceProcessor()
    try:
        model.LoadFromSerializedProto(serialized)
    except (RuntimeError, OSError):
        raise UserError(f"{name}: neither a SentencePiece model nor a tokenizer.json") from None
    return model


def train_tokenizer(documents, vocab_size):
    """Train a LLaMA-style SentencePiece model: BPE with byte fallback, unk 0, bos 1, eos 2, no normalization.

    Args:
        documents: iterable of strings, read once.
        vocab_size: number of tokens.

    Returns:
        Tokenizer

    Raises:
        UserError: if the text is too little for the vocabulary asked for.
    """
    written, failures = io.BytesIO(), []

    def beginnings():
        try:
            for document in documents:
                yield document[:MAX_TRAINING_CHARACTERS]
        except BaseException as error:  # SentencePiece turns it into a RuntimeError
            failures.append(error)
            raise

    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=beginnings(),
            model_writer=written,
            vocab_size=vocab_size,
            model_type="bpe",
            byte_fallback=True,
            split_digits=True,
            character_coverage=0.99995,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            allow_whitespace_only_pieces=True,
            unk_id=0,
            bos_id=1,
            eos_id=2,
            pad_id=-1,
            input_sentence_size=MAX_TRAINING_DOCUMENTS,
            shuffle_input_sentence=True,
            max_sentence_length=4 * MAX_TRAINING_CHARACTERS,  # in bytes
            num_threads=os.cpu_count() or 1,
            minloglevel=2,
        )
    except RuntimeError as error:
        if failures:
            raise failures[0] from None
        message = " ".join(str(error).rpartition("] ")[2].split())
        most, least = re.search(r"value <= (\d+)", message), re.search(r"required_chars\. \d+ vs (\d+)", message)
        reason = message or "the text is too little"
        if most:
            reason = f"it has enough for {int(most[1]):,} at most"
        elif least:
            reason = f"its characters and the bytes alone need {int(least[1]):,}"
        raise UserError(f"a tokenizer of {vocab_size:,} tokens cannot be trained on this text: {reason}") from None
    return Tokenizer(written.getvalue())
