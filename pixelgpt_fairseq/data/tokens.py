"""SentencePiece tokenizers, and their vocabularies as fairseq dictionaries with the same ids."""

import hashlib
import io
import os
import re

import numpy as np
import sentencepiece
from fairseq.data import Dictionary

from pixelgpt_fairseq.errors import UserError

WORD_START = "▁"
# A tokenizer is trained on at most this many documents, drawn at random.
MAX_TRAINING_DOCUMENTS = 1_000_000
MAX_TRAINING_CHARACTERS = 4_000  # of each document


class TokenDictionary(Dictionary):
    """A fairseq dictionary whose ids are SentencePiece's own (LLaMA: unk 0, bos 1, eos 2; padding is eos).

    fairseq's :class:`~fairseq.data.Dictionary` puts four symbols of its own first; here nothing is moved, so that
    a LLaMA ``tokenizer.model`` and the weights trained with it fit unchanged.
    """

    def __init__(self, symbols, unk=0, bos=1, eos=2):
        self.symbols = list(symbols)
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
            unk=model.unk_id(),
            bos=model.bos_id(),
            eos=model.eos_id(),
        )

    @classmethod
    def load(cls, path):
        """Read what :meth:`to_text` gave.

        Raises:
            UserError: naming the line that is not ``symbol count``, or the special symbol that is absent.
        """
        symbols = read_symbols(path)
        ids = {symbol: i for i, symbol in enumerate(symbols)}
        absent = [symbol for symbol in ("<unk>", "<s>", "</s>") if symbol not in ids]
        if absent:
            raise UserError(f"{path}: the symbol {absent[0]} is absent")
        return cls(symbols, unk=ids["<unk>"], bos=ids["<s>"], eos=ids["</s>"])

    def to_text(self):
        """The content of ``dict.txt``: one ``symbol count`` a line, in the order of the ids."""
        return "".join(f"{symbol} {count}\n" for symbol, count in zip(self.symbols, self.count, strict=True))

    def word_starts(self):
        """Bool ``[vocabulary]``: the tokens that begin a word."""
        return np.array([symbol.startswith(WORD_START) for symbol in self.symbols])


def read_symbols(path):
    """The symbols of a ``dict.txt``, in the order of their ids.

    Raises:
        UserError: naming the line that is not ``symbol count``.
    """
    symbols = []
    # Some vocabularies hold a carriage return as a symbol: lines end in \n alone.
    try:
        with open(path, encoding="utf-8", newline="\n") as file:
            for number, line in enumerate(file, start=1):
                symbol, _, count = line.rstrip("\n").rpartition(" ")
                if not symbol or not count.isdigit():
                    raise UserError(f"{path}, line {number}: not a symbol and its count")
                symbols.append(symbol)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: was the data rendered with a tokenizer?") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}, line {len(symbols) + 1} or after: not UTF-8: the dictionary is damaged") from None
    return symbols


class Tokenizer:
    """A SentencePiece model and the SHA-256 that identifies it.

    Args:
        serialized: the bytes of a ``tokenizer.model``.
        name: what to call it in messages.

    Raises:
        UserError: if the bytes are no SentencePiece model, or one without bos or eos.
    """

    def __init__(self, serialized, name="tokenizer"):
        self.serialized = serialized
        self.sha256 = hashlib.sha256(serialized).hexdigest()
        self.model = sentencepiece.SentencePieceProcessor()
        try:
            self.model.LoadFromSerializedProto(serialized)
        except (RuntimeError, OSError):
            raise UserError(f"{name}: not a SentencePiece model") from None
        for symbol, i in (("unk", self.model.unk_id()), ("bos", self.model.bos_id()), ("eos", self.model.eos_id())):
            if i < 0:
                raise UserError(f"{name}: the tokenizer has no {symbol} symbol")

    @classmethod
    def load(cls, path):
        """Read a ``tokenizer.model`` file."""
        try:
            with open(path, "rb") as file:
                return cls(file.read(), name=str(path))
        except FileNotFoundError:
            raise UserError(f"{path}: no such file") from None
        except OSError as error:
            raise UserError(f"{path}: {error.strerror}") from None

    def __reduce__(self):
        return Tokenizer, (self.serialized,)

    def __len__(self):
        return self.model.get_piece_size()

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


def train_tokenizer(documents, vocab_size):
    """Train a LLaMA-style SentencePiece model: BPE with byte fallback, unk 0, bos 1, eos 2, no normalisation.

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
        except BaseException as error:  # SentencePiece would make it a RuntimeError
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
