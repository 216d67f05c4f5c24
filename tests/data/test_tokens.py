import io
import itertools
import pickle

import numpy as np
import pytest
import sentencepiece
from toy_corpus import documents

from pixelgpt_fairseq.data.tokens import TokenDictionary, Tokenizer, train_tokenizer
from pixelgpt_fairseq.errors import UserError


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(iter(documents()), 400)


def trained(**options):
    """A SentencePiece model of somebody else."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(documents()), model_writer=written, vocab_size=300, minloglevel=2, **options
    )
    return written.getvalue()


def test_ids_are_laid_out_as_llamas(tokenizer):
    dictionary = TokenDictionary.from_tokenizer(tokenizer)
    assert dictionary.symbols[:4] == ["<unk>", "<s>", "</s>", "<0x00>"]
    assert (dictionary.unk(), dictionary.bos(), dictionary.eos()) == (0, 1, 2)
    assert dictionary.pad() == dictionary.eos()
    assert len(dictionary) == len(tokenizer) == 400
    assert dictionary.index("▁the") == tokenizer.model.piece_to_id("▁the")


def test_another_layout_of_special_symbols_is_kept():
    tokenizer = Tokenizer(trained(unk_id=3, bos_id=0, eos_id=1, pad_id=2))
    dictionary = TokenDictionary.from_tokenizer(tokenizer)
    assert (dictionary.unk(), dictionary.bos(), dictionary.eos()) == (3, 0, 1)


@pytest.mark.parametrize("text", ["", "plain text", "naïve 日本語 \U0001f600", "two  spaces", " lead and trail "])
def test_nothing_of_a_text_is_lost(tokenizer, text):
    ids, starts = tokenizer.encode(text)
    assert ids.tolist() == tokenizer.model.encode(text)
    assert tokenizer.model.decode(ids.tolist()) == text
    assert len(starts) == len(ids)
    assert all(first <= second for first, second in itertools.pairwise(starts))


@pytest.mark.parametrize("text", ["", "plain text", "naïve 日本語 \U0001f600"])
def test_a_tokenizer_is_called_on_text_and_decodes_ids(tokenizer, text):
    ids = tokenizer(text)
    assert ids == tokenizer.encode(text)[0].tolist()
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode(np.array([tokenizer.bos, *ids, tokenizer.eos])) == text


def test_a_token_that_there_is_not_is_named(tokenizer):
    with pytest.raises(UserError, match="no token 400: the tokenizer has those from 0 to 399"):
        tokenizer.decode([1, 400])


def test_a_tokenizer_shows_its_size_and_hash(tokenizer):
    assert repr(tokenizer) == f"Tokenizer(400 pieces, sha256 {tokenizer.sha256[:12]}...)"


def test_tokens_begin_at_their_visible_part(tokenizer):
    text = "the class of the tests"
    ids, starts = tokenizer.encode(text)
    for i, start in zip(ids.tolist(), starts, strict=True):
        piece = tokenizer.model.id_to_piece(i).removeprefix("▁")
        assert text[start:].startswith(piece)


def test_a_line_of_the_dictionary_is_a_symbol_whatever_it_holds():
    unseen = ["\t", "\r", "\u2028", "\x85", "\x0b", "\u3000", "\x00"]
    symbols = ["<unk>", "<s>", "\n", "\\n", "\\\\n", "a b", "▁é日", "1", *unseen]
    text = TokenDictionary(symbols, eos=1).to_text()
    assert text.split("\n") == [*text.splitlines(), ""]
    lines = text.splitlines()
    assert len(set(lines)) == len(lines) == len(symbols)
    assert lines[2:5] == [r"\n 1", r"\\n 1", r"\\\\n 1"]
    assert lines[5:7] == ["a b 1", "▁é日 1"]


def test_tokenizer_can_be_sent_to_workers(tokenizer):
    again = pickle.loads(pickle.dumps(tokenizer))
    assert again.sha256 == tokenizer.sha256
    assert again.encode("text")[0].tolist() == tokenizer.encode("text")[0].tolist()


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x00" * 64])
def test_what_is_no_sentencepiece_model_is_refused(tmp_path, content):
    (tmp_path / "tokenizer.model").write_bytes(content)
    with pytest.raises(UserError, match=r"tokenizer.model: neither a SentencePiece model nor"):
        Tokenizer.load(tmp_path / "tokenizer.model")


def test_missing_tokenizer_and_folder_are_named(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        Tokenizer.load(tmp_path / "tokenizer.model")
    with pytest.raises(UserError, match="Is a directory"):
        Tokenizer.load(tmp_path)


def test_a_tokenizer_that_nothing_begins_and_ends_is_refused():
    with pytest.raises(UserError, match=r"mine\.model: the tokenizer has neither a bos nor an eos symbol"):
        Tokenizer(trained(bos_id=-1, eos_id=-1), name="mine.model")


def test_what_is_likely_meant_is_said(tmp_path, monkeypatch):
    (tmp_path / "tokenizer.json").write_text('\n{"version": "1.0"}')
    with pytest.raises(
        UserError, match=r"tokenizer\.json: (not a tokenizer\.json|reading tokenizer\.json needs the package)"
    ):
        Tokenizer.load(tmp_path / "tokenizer.json")
    monkeypatch.setattr("pixelgpt_fairseq.data.tokens.MAX_BYTES", 5)
    with pytest.raises(UserError, match=r"tokenizer\.json: larger than 0 MiB"):
        Tokenizer.load(tmp_path / "tokenizer.json")


@pytest.mark.parametrize(
    ("texts", "size", "reason"),
    [
        (documents(5), 50_000, r"enough for [\d,]+ at most"),
        (documents(5), 50, r"alone need \d+"),
        ([], 300, "too little"),
    ],
)
def test_a_vocabulary_that_does_not_fit_the_text_is_refused(texts, size, reason):
    with pytest.raises(UserError, match=rf"tokenizer of {size:,} tokens cannot be trained on this text: .*{reason}$"):
        train_tokenizer(iter(texts), size)


def test_an_error_in_the_text_comes_through_training():
    def failing():
        yield from documents(5)
        raise UserError("corpus.txt, line 7: bad")

    with pytest.raises(UserError, match=r"^corpus\.txt, line 7: bad$"):
        train_tokenizer(failing(), 300)
