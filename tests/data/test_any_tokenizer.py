"""Any SentencePiece model serves from rendering to training, whatever its type, its pieces and its special symbols."""

import io
import json

import numpy as np
import pytest
import sentencepiece
from fairseq_runs import train
from toy_corpus import TOY_TRAINING, documents

from pixelgpt_fairseq.checkpoints.loading import load_checkpoint
from pixelgpt_fairseq.conversion.released_folders import export_released
from pixelgpt_fairseq.data.classification import truncate_sentences
from pixelgpt_fairseq.data.data_folder import DataFolder
from pixelgpt_fairseq.data.pairs import PairDataset
from pixelgpt_fairseq.data.streams import COLUMNS, PIXEL, TEXT
from pixelgpt_fairseq.data.tokens import Tokenizer
from pixelgpt_fairseq.preprocessing.binarize import binarize
from pixelgpt_fairseq.preprocessing.binarize_examples import binarize_examples
from pixelgpt_fairseq.rendering import RendererConfig
from pixelgpt_fairseq.sources.examples import Example
from pixelgpt_fairseq.sources.glue import GLUE_TASKS

LINE_ENDS = ["\n", "\t", "\r", "\x0b", "\x85", "\u2028", "\\n", "a b", "\u3000"]
# name: (options of SentencePiece's trainer, (bos, eos) as this package uses them)
TOKENIZERS = {
    "line ends as pieces": ({"user_defined_symbols": LINE_ENDS}, (1, 2)),
    "without bos, as T5's": ({"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}, (1, 1)),
    "without eos": ({"eos_id": -1}, (1, 1)),
    "symbols of other names": ({"bos_piece": "[BOS]", "eos_piece": "[EOS]", "unk_piece": "[UNK]"}, (1, 2)),
    "symbols in other places": ({"unk_id": 3, "bos_id": 0, "eos_id": 2, "pad_id": 1}, (0, 2)),
    "bpe": ({"model_type": "bpe"}, (1, 2)),
    "char": ({"model_type": "char", "vocab_size": 60}, (1, 2)),
    "word": ({"model_type": "word"}, (1, 2)),
    "spaces after words": ({"treat_whitespace_as_suffix": True}, (1, 2)),
}


def trained(**options):
    """A SentencePiece model of somebody else."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(documents()),
        model_writer=written,
        **({"vocab_size": 300, "hard_vocab_limit": False, "minloglevel": 2} | options),
    )
    return Tokenizer(written.getvalue())


@pytest.mark.parametrize("name", TOKENIZERS)
def test_it_serves_from_rendering_to_the_pairs(name, tmp_path):
    options, (bos, eos) = TOKENIZERS[name]
    tokenizer = trained(**options)
    (tmp_path / "corpus.txt").write_text("\n\n".join(documents(12)))
    binarize(
        [tmp_path / "corpus.txt"], tmp_path / "data", "train", RendererConfig(max_patches=64), tokenizer, progress=False
    )
    folder = DataFolder(tmp_path / "data")
    assert folder.manifest("train")["special_tokens"] == {"bos": bos, "eos": eos}
    dictionary = folder.dictionary()
    assert (dictionary.bos(), dictionary.eos(), len(dictionary)) == (bos, eos, len(tokenizer))
    texts = folder.open("train", TEXT)
    found = np.split(texts.rows(0, int(texts.sizes.sum())).numpy(), np.cumsum(texts.sizes)[texts.sizes == 0][:-1])
    assert len(found) == 12
    for tokens, document in zip(found, documents(12), strict=True):
        assert (tokens[0], tokens[-1]) == (bos, eos)
        if name == "bpe":  # the text is rendered in pieces: only here each is tokenized as in the whole
            assert tokenizer.model.decode(tokens[1:-1].tolist()).split() == document.split()
    streams = folder.open("train", PIXEL, 256), texts, folder.open("train", COLUMNS, 2)
    pairs = PairDataset(*streams, dictionary, 32, 64)
    assert {(int(tokens[0]), int(tokens[-1])) for tokens in (pairs[i]["tokens"] for i in range(len(pairs)))} == {
        (bos, eos)
    }


@pytest.mark.parametrize("name", ["line ends as pieces", "without bos, as T5's", "symbols of other names"])
def test_training_on_tokens_and_pairs(name, tmp_path):
    tokenizer = trained(**TOKENIZERS[name][0])
    for split in ("train", "valid"):
        (tmp_path / f"{split}.txt").write_text("\n\n".join(documents()))
        config = RendererConfig(max_patches=128)
        binarize([tmp_path / f"{split}.txt"], tmp_path / "data", split, config, tokenizer, progress=False)
    run = train(tmp_path / "data", *TOY_TRAINING, "--max-update", 3, "--save-dir", tmp_path / "run")
    assert "num_updates: 3 >= max_update: 3" in run.log
    trained_with = load_checkpoint(tmp_path / "run/checkpoint_last.pt").tokenizer
    assert (trained_with.sha256, trained_with.bos) == (tokenizer.sha256, tokenizer.bos)
    export_released(tmp_path / "run/checkpoint_last.pt", tmp_path / "exported", progress=False)
    settings = json.loads((tmp_path / "exported/config.json").read_text())
    assert (settings["bos_token_id"], settings["eos_token_id"]) == TOKENIZERS[name][1]


def test_sentences_are_told_apart_where_eos_begins_them(tmp_path):
    tokenizer, rte = trained(bos_id=-1, eos_id=1, unk_id=2, pad_id=0), GLUE_TASKS["rte"][0]
    texts = ("This is the first one of them.", "So.")
    binarize_examples([Example(texts, 0)], tmp_path, "train", rte, RendererConfig(), tokenizer, progress=False)
    folder = DataFolder(tmp_path)
    first, second = (tokenizer.model.encode(text) for text in texts)
    tokens = folder.open("train", TEXT)[0]
    assert tokens.tolist() == [1, *first, 1, *second]
    room = len(second) + 2
    cut = truncate_sentences(tokens, 2 * room, folder.dictionary().bos())
    assert cut.tolist() == [1, *first[:room], 1, *second]
