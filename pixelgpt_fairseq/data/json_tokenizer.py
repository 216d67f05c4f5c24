"""Hugging Face's ``tokenizer.json``, read by the package tokenizers, in the words of a SentencePiece processor.

:class:`~pixelgpt_fairseq.data.tokens.Tokenizer` asks either of the two; what is not the same in both is here.
"""

import json
import re

from pixelgpt_fairseq.errors import UserError, missing_package

METASPACE, BYTE_LEVEL, CONTINUATION = "▁", "Ġ", "##"
# What the files do not say: how the symbols that begin and end texts are spelled, the more particular first.
_BOS = ("<s>", "<|begin_of_text|>", "<bos>", "[BOS]", "<|startoftext|>", "[CLS]", "<|endoftext|>")
_EOS = ("</s>", "<|end_of_text|>", "<eos>", "[EOS]", "<|endoftext|>", "<|im_end|>", "[SEP]")


def is_json(serialized: bytes) -> bool:
    """Whether the bytes of a tokenizer are JSON; no SentencePiece model begins so."""
    return serialized.lstrip()[:1] == b"{"


class JsonTokenizer:
    """A ``tokenizer.json`` with the methods of a SentencePieceProcessor that this package calls.

    Args:
        serialized: the bytes of the file.
        name: what to call it in messages.

    Raises:
        UserError: if the package tokenizers is not installed, or cannot read the file.
    """

    def __init__(self, serialized: bytes, name: str):
        try:
            import tokenizers
        except ImportError:
            raise missing_package(f"{name}: reading tokenizer.json", "tokenizers", "tokenizers") from None
        try:
            text = serialized.decode("utf-8")
            settings = json.loads(text)
            self.tokenizer = tokenizers.Tokenizer.from_str(text)
        except Exception as error:  # tokenizers raises nothing more particular
            raise UserError(f"{name}: not a tokenizer.json: {' '.join(str(error).split())[:200]}") from None
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        # Symbols in a text are characters like others: a text cannot end itself.
        self.tokenizer.encode_special_tokens = True
        pieces = {i: piece for piece, i in self.tokenizer.get_vocab(with_added_tokens=True).items()}
        if not pieces:
            raise UserError(f"{name}: a tokenizer.json without tokens")
        self.pieces = [pieces.get(i, f"<unused {i}>") for i in range(max(pieces) + 1)]
        self.ids = {piece: i for i, piece in enumerate(self.pieces)}
        self.special = {i for i, token in self.tokenizer.get_added_tokens_decoder().items() if token.special}
        unknown = (settings.get("model") or {}).get("unk_token")
        self._unk = self.ids.get(unknown, -1) if isinstance(unknown, str) else -1
        self.word_start = self._find_word_start()

    def _find_word_start(self):
        """How pieces that begin a word begin; None where the others are marked instead."""
        counts = {mark: sum(piece.startswith(mark) for piece in self.pieces) for mark in (METASPACE, BYTE_LEVEL)}
        mark = max(counts, key=counts.get)
        return mark if counts[mark] >= sum(piece.startswith(CONTINUATION) for piece in self.pieces) else None

    def get_piece_size(self) -> int:
        """Number of ids."""
        return len(self.pieces)

    def id_to_piece(self, i: int) -> str:
        """How token *i* is spelled."""
        return self.pieces[i]

    def piece_to_id(self, piece: str) -> int:
        """The token of this spelling; -1 if there is none."""
        return self.ids.get(piece, -1)

    def unk_id(self) -> int:
        """The unknown token; -1 if there is none."""
        return self._unk

    def bos_id(self) -> int:
        """The token that begins texts; -1 if none is known."""
        return self._symbol(_BOS)

    def eos_id(self) -> int:
        """The token that ends texts; -1 if none is known."""
        return self._symbol(_EOS)

    def _symbol(self, names) -> int:
        return next((self.ids[name] for name in names if name in self.ids), -1)

    def is_byte(self, i: int) -> bool:
        """Whether token *i* stands for a byte."""
        return re.fullmatch("<0x[0-9A-F]{2}>", self.pieces[i]) is not None

    def begins_word(self, i: int) -> bool:
        """Whether token *i* begins a word."""
        piece = self.pieces[i]
        return not piece.startswith(CONTINUATION) if self.word_start is None else piece.startswith(self.word_start)

    def text_of(self, i: int) -> str:
        """The text of token *i*, with a space before it where it begins a word."""
        piece = self.pieces[i]
        if i in self.special:
            return piece
        if self.is_byte(i) or self.word_start == BYTE_LEVEL:
            return self.tokenizer.decode([i])
        if self.word_start == METASPACE:
            return piece.replace(METASPACE, " ")
        return piece.removeprefix(CONTINUATION) if piece.startswith(CONTINUATION) else f" {piece}"

    def encode(self, text: str, return_type=None):
        """Ids of *text*; with *return_type* ``offset_mapping`` also where in it each token's part begins and ends."""
        encoded = self.tokenizer.encode(text, add_special_tokens=False)
        return encoded.ids if return_type is None else {"ids": encoded.ids, "offsets": encoded.offsets}

    def decode(self, ids) -> str:
        """The text of *ids*; symbols have none."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=True)
