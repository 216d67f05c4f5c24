"""Gives a trained model another tokenizer; rows of its token embedding and head are derived from the existing ones.

A piece that both tokenizers have keeps its row. Another one gets the mean of the rows of what the old tokenizer makes
of its text: a better beginning than random values, because the model knows these tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import Tensor

from pixelgpt_fairseq.checkpoints.loading import read_state, shapes_of
from pixelgpt_fairseq.conversion.new_checkpoints import bytes_as_tensor, new_checkpoint, save_checkpoint
from pixelgpt_fairseq.data.tokens import Tokenizer
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.storage.files import check_absent

TOKEN_WEIGHTS = ("model.embed_tokens.weight", "lm_token_head.weight")
# Characters that no piece has, one of which is put before a text that begins within a word.
_PRIVATE_USE = [chr(code) for code in range(0xE000, 0xF900)]


@dataclass
class Retokenized:
    """What :func:`retokenize` did."""

    tokens: int  # of the new tokenizer
    kept: int  # pieces that both tokenizers have
    averaged: int  # made of the old tokenizer's pieces
    unknown: int  # which the old tokenizer cannot encode: the mean of all rows


def retokenize(checkpoint, tokenizer: Tokenizer, out, progress=True) -> Retokenized:
    """Write a checkpoint whose model reads and writes the tokens of another tokenizer, whole or not at all.

    It is the beginning of a new training, for ``--finetune-from-model``: without an optimizer's state.

    Args:
        checkpoint: path of a checkpoint of fairseq-train.
        tokenizer: the new one.
        out: path of the file to be made.
        progress: show a bar.

    Raises:
        UserError: if *checkpoint* is none of a model with a tokenizer, or *out* is there or cannot be written.
    """
    out = Path(out)
    check_absent(out, "another name")
    state = read_state(checkpoint)
    try:
        data_settings = state["task_state"]["data_settings"]
        model = shapes_of(SimpleNamespace(**state["cfg"]["model"]), state["model"], data_settings)
    except UserError as error:
        raise UserError(f"{checkpoint}: {error}") from None
    if model.vocab_size is None:
        raise UserError(f"{checkpoint}: reads no tokens: it was trained on pixels alone")
    serialized = state["task_state"].get("tokenizer")
    if serialized is None:
        raise UserError(
            f"{checkpoint}: has no tokenizer, which tells what the rows of its embedding stand for: make it of a "
            "folder that holds tokenizer.model"
        )
    old = OldPieces(Tokenizer(bytes(serialized.numpy()), name=f"{checkpoint}: tokenizer"))
    sources = [old.source_of(tokenizer, i) for i in range(len(tokenizer))]
    weights = dict(state["model"])
    for name in TOKEN_WEIGHTS:
        if name in weights:  # the head is absent where embeddings are tied, and from classifiers
            weights[name] = new_rows(weights[name], len(old.tokenizer), sources)
    # The recorded data were made with the old tokenizer.
    cfg = {**state["cfg"], "task": {**(state["cfg"].get("task") or {}), "data": ""}}
    cfg["model"] = {**cfg["model"], "extra_token_rows": 0}
    task_state = {**state["task_state"], "tokenizer": bytes_as_tensor(tokenizer.serialized)}
    task_state["data_settings"] = {**task_state["data_settings"], "tokenizer_sha256": tokenizer.sha256}
    save_checkpoint(new_checkpoint(cfg, weights, task_state), out, progress)
    kept = sum(len(rows) == 1 and same for rows, same in sources)
    unknown = sum(not rows for rows, _ in sources)
    return Retokenized(len(tokenizer), kept, len(tokenizer) - kept - unknown, unknown)


class OldPieces:
    """What a tokenizer makes of the pieces of another one."""

    def __init__(self, tokenizer: Tokenizer):
        self.tokenizer, self.model = tokenizer, tokenizer.model
        used = {character for i in range(len(tokenizer)) for character in self.model.id_to_piece(i)}
        self.anchor = next(character for character in _PRIVATE_USE if character not in used)
        self.before = len(tokenizer(self.anchor))
        # Tokenizers of another kind spell the same pieces otherwise.
        self.by_text = {tokenizer.text_of(i): i for i in range(len(tokenizer)) if not self.model.is_byte(i)}

    def source_of(self, new: Tokenizer, i: int) -> tuple[Sequence[int], bool]:
        """The ids that token *i* of another tokenizer is made of, and whether it is one of these pieces itself.

        Symbols that begin and end texts, and the unknown one, correspond to each other however they are spelled.
        """
        old = self.tokenizer
        for ours, theirs in ((new.bos, old.bos), (new.eos, old.eos), (new.model.unk_id(), self.model.unk_id())):
            if i == ours >= 0 and theirs >= 0:
                return (theirs,), True
        piece, text = new.model.id_to_piece(i), new.text_of(i)
        same = self.model.piece_to_id(piece)
        if 0 <= same < len(old) and (self.model.id_to_piece(same), old.text_of(same)) == (piece, text):
            return (same,), True
        same = self.by_text.get(text)
        return ((same,), True) if same is not None else (self.encode(text), False)

    def encode(self, text: str) -> list[int]:
        """The ids of a piece's text, which begins a word only where it says so; unknown characters have none."""
        if "\ufffd" in text:  # a byte that is no character by itself
            return []
        # A tokenizer puts a space before a text. No piece has the anchor's character, so nothing is merged with it,
        # and what follows it is encoded by itself.
        ids = self.tokenizer(self.anchor + text)[self.before :]
        return [token for token in ids if token != self.model.unk_id()]


def new_rows(weight: Tensor, tokens: int, sources) -> Tensor:
    """Rows ``[V', H]`` of the new tokenizer, from those of the old one.

    Args:
        weight: ``[V, H]``, the first *tokens* of which stand for tokens.
        tokens: number of the old tokenizer's tokens.
        sources: what :meth:`OldPieces.source_of` gave for each new token.
    """
    known = weight[:tokens].float()
    average = known.mean(0)
    rows = [known[list(ids)].mean(0) if ids else average for ids, _ in sources]
    made = torch.stack(rows).to(weight.dtype)
    kept = [(row, ids[0]) for row, (ids, same) in enumerate(sources) if same]
    for row, source in kept:  # bit for bit, whatever the type
        made[row] = weight[source]
    return made
