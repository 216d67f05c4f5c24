"""Hugging Face's tokenizer.json behind the interface of the SentencePiece tokenizers."""

import pickle
import sys

import numpy as np
import pytest
from fairseq_runs import train
from skips import needs_tokenizers
from toy_corpus import MAX_PATCHES, TOY_TRAINING, documents

from pixelgpt_fairseq.checkpoints.loading import load_checkpoint
from pixelgpt_fairseq.data.data_folder import DataFolder
from pixelgpt_fairseq.data.tokens import TokenDictionary, Tokenizer, train_tokenizer
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.preprocessing.binarize import binarize
from pixelgpt_fairseq.rendering import RendererConfig

pytestmark = needs_tokenizers
KINDS = ("byte-level", "metaspace", "wordpiece")
TEXT = "The statement — naïve — of 12 expressions"


def trained(kind):
    """The bytes of a tokenizer.json of 500 tokens at most, trained on the toy corpus."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    options = {"vocab_size": 500, "show_progress": False}
    if kind == "byte-level":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, **options)
    elif kind == "metaspace":
        tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
        tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
        trainer = trainers.BpeTrainer(special_tokens=["<unk>", "<s>", "</s>"], **options)
    else:
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
        trainer = trainers.WordPieceTrainer(special_tokens=["[UNK]", "[CLS]", "[SEP]"], **options)
    tokenizer.train_from_iterator(documents(), trainer)
    return tokenizer.to_str().encode()


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request):
    return Tokenizer(trained(request.param))


def test_ids_are_those_of_the_package(tokenizer):
    import tokenizers

    theirs = tokenizers.Tokenizer.from_str(tokenizer.serialized.decode())
    for text in (*documents(20), TEXT):
        ids, starts = tokenizer.encode(text)
        assert tokenizer(text) == ids.tolist() == theirs.encode(text, add_special_tokens=False).ids
        assert tokenizer.decode(ids) == theirs.decode(ids.tolist())
        assert len(starts) == len(ids)
        assert (np.diff(starts) >= 0).all()
        assert not any(text[start] == " " for start in starts)
    assert len(tokenizer) == theirs.get_vocab_size()


def test_symbols_begin_and_end_texts_and_are_nothing_in_them(tokenizer):
    symbols = {tokenizer.model.id_to_piece(i) for i in (tokenizer.bos, tokenizer.eos)}
    assert symbols in ({"<|endoftext|>"}, {"<s>", "</s>"}, {"[CLS]", "[SEP]"})
    for symbol in symbols:
        assert not {tokenizer.bos, tokenizer.eos} & set(tokenizer(f"a {symbol} b"))


def test_words_begin_where_they_do(tokenizer):
    dictionary = TokenDictionary.from_tokenizer(tokenizer)
    assert len(dictionary) == len(tokenizer)
    ids, starts = tokenizer.encode("expressions statement expressions")
    begin = starts[dictionary.word_starts()[ids]].tolist()
    assert set(begin) >= {12, 22}
    assert set(begin) <= {0, 12, 22}  # a byte-level tokenizer does not mark the first word


def test_texts_of_pieces_put_together_are_the_text(tokenizer):
    text = "the statement of expressions"
    assert "".join(map(tokenizer.text_of, tokenizer(text))).strip() == text


def test_a_tokenizer_travels_to_workers(tokenizer):
    again = pickle.loads(pickle.dumps(tokenizer))
    assert again(TEXT) == tokenizer(TEXT)
    assert again.sha256 == tokenizer.sha256


def test_a_model_is_trained_with_it_and_remembers_it(tmp_path):
    tokenizer = Tokenizer(trained("byte-level"))
    for split, texts in (("train", documents(20)), ("valid", documents(5))):
        (tmp_path / f"{split}.txt").write_text("\n\n".join(texts))
        config = RendererConfig(max_patches=MAX_PATCHES)
        binarize([tmp_path / f"{split}.txt"], tmp_path / "data", split, config, tokenizer, progress=False)
    assert DataFolder(tmp_path / "data").tokenizer().sha256 == tokenizer.sha256
    options = ["--modalities", "text,pair", "--max-update", 2, "--save-dir", tmp_path / "run"]
    assert len(train(tmp_path / "data", *TOY_TRAINING, *options).losses()) == 2
    assert load_checkpoint(tmp_path / "run" / "checkpoint_last.pt").tokenizer(TEXT) == tokenizer(TEXT)


def test_pieces_of_another_kind_are_recognized():
    """Retokenization from SentencePiece to tokenizer.json keeps the rows of pieces with the same text."""
    from pixelgpt_fairseq.conversion.retokenization import OldPieces

    old, new = train_tokenizer(iter(documents()), 400), Tokenizer(trained("byte-level"))
    pieces = OldPieces(old)
    sources = {new.text_of(i): pieces.source_of(new, i) for i in range(len(new))}
    kept = {text: ids[0] for text, (ids, same) in sources.items() if same and text != "<|endoftext|>"}
    assert len(kept) > 100
    assert any(text.startswith(" ") for text in kept)
    assert all(old.text_of(i) == text for text, i in kept.items())
    assert pieces.source_of(new, new.eos) == ((old.eos,), True) or pieces.source_of(new, new.eos) == ((old.bos,), True)
    made = {text: ids for text, (ids, same) in sources.items() if not same and ids}
    assert made
    assert all("".join(map(old.text_of, ids)) == text for text, ids in made.items())


def test_files_that_are_no_tokenizer_are_named(monkeypatch):
    with pytest.raises(UserError, match=r"a\.json: not a tokenizer\.json: "):
        Tokenizer(b'{"model": 5}', name="a.json")
    with pytest.raises(UserError, match=r"a\.json: not a tokenizer\.json: "):
        Tokenizer(b"{", name="a.json")
    serialized = trained("metaspace").replace(b"<s>", b"<x>").replace(b"</s>", b"</x>")
    with pytest.raises(UserError, match=r"a\.json: the tokenizer has neither a bos nor an eos symbol"):
        Tokenizer(serialized, name="a.json")
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(UserError, match=r"a\.json: reading tokenizer\.json needs the package tokenizers"):
        Tokenizer(serialized, name="a.json")
