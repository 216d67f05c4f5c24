import io
import itertools
import pickle

import pytest
import sentencepiece
from toy_corpus import documents

from pixelgpt_fairseq.data.tokens import TokenDictionary, Tokenizer, read_symbols, train_tokenizer
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


def test_tokens_begin_at_their_visible_part(tokenizer):
    text = "the class of the tests"
    ids, starts = tokenizer.encode(text)
    for i, start in zip(ids.tolist(), starts, strict=True):
        piece = tokenizer.model.id_to_piece(i).removeprefix("▁")
        assert text[start:].startswith(piece)


def test_dictionary_is_written_and_read_unchanged(tokenizer, tmp_path):
    path = tmp_path / "dict.txt"
    written = TokenDictionary.from_tokenizer(tokenizer)
    path.write_text(written.to_text(), encoding="utf-8")
    assert TokenDictionary.load(path).symbols == written.symbols
    odd = TokenDictionary(["<unk>", "<s>", "</s>", "\r", "a b", "\u2028", "1"])
    path.write_bytes(odd.to_text().encode())
    assert TokenDictionary.load(path).symbols == odd.symbols


def test_tokenizer_can_be_sent_to_workers(tokenizer):
    again = pickle.loads(pickle.dumps(tokenizer))
    assert again.sha256 == tokenizer.sha256
    assert again.encode("text")[0].tolist() == tokenizer.encode("text")[0].tolist()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"word 1\nword\n", "line 2: not a symbol and its count"),
        (b"word 1\nword x\n", "line 2: not a symbol and its count"),
        (b"word 1\n\n", "line 2: not a symbol and its count"),
        (b"\xff\xfe 1\n", "not UTF-8"),
    ],
)
def test_damaged_dictionary_is_named_with_its_line(tmp_path, content, message):
    (tmp_path / "dict.txt").write_bytes(content)
    with pytest.raises(UserError, match=f"dict.txt.*{message}"):
        read_symbols(tmp_path / "dict.txt")


def test_dictionary_without_special_symbols_or_file_is_refused(tmp_path):
    (tmp_path / "dict.txt").write_text("<unk> 1\n<s> 1\n")
    with pytest.raises(UserError, match="the symbol </s> is absent"):
        TokenDictionary.load(tmp_path / "dict.txt")
    with pytest.raises(UserError, match="no such file"):
        TokenDictionary.load(tmp_path / "none.txt")


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x00" * 64])
def test_what_is_no_sentencepiece_model_is_refused(tmp_path, content):
    (tmp_path / "tokenizer.model").write_bytes(content)
    with pytest.raises(UserError, match=r"tokenizer.model: not a SentencePiece model"):
        Tokenizer.load(tmp_path / "tokenizer.model")


def test_missing_tokenizer_and_folder_are_named(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        Tokenizer.load(tmp_path / "tokenizer.model")
    with pytest.raises(UserError, match="Is a directory"):
        Tokenizer.load(tmp_path)


def test_tokenizer_without_bos_is_refused():
    with pytest.raises(UserError, match=r"mine\.model: the tokenizer has no bos symbol"):
        Tokenizer(trained(bos_id=-1), name="mine.model")


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
