"""Pictures of predictions: patches and tokens, with labels."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fairseq_runs import train
from PIL import ImageDraw
from refusals import refusal, script
from toy_corpus import TOY_TRAINING, documents

from pixelgpt_fairseq.checkpoints.loading import load_checkpoint
from pixelgpt_fairseq.data.tokens import train_tokenizer
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.evaluation.pictures import TokenPrediction, draw_predictions, predict_patches, predict_tokens

TEXT = "The while statement is used for repeated execution."


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(iter(documents()), 400)


class Reader(torch.nn.Module):
    """Knows one sequence by heart: after its n-th token comes the (n + 1)-th, whatever is read."""

    num_labels = None
    uses_patches = False

    def __init__(self, ids, vocab_size, positions=1024):
        super().__init__()
        self.ids, self.vocab_size, self.positions = ids, vocab_size, positions

    def max_positions(self):
        return self.positions

    def forward(self, tokens):
        logits = torch.zeros(1, tokens.shape[1], self.vocab_size)
        for position in range(tokens.shape[1]):
            logits[0, position, self.ids[min(position + 1, len(self.ids) - 1)]] = 20.0
        return SimpleNamespace(token_logits=logits)


def test_tokens_are_predicted_from_those_before_them(tokenizer):
    ids = [tokenizer.bos, *tokenizer.encode(TEXT)[0].tolist(), tokenizer.eos]
    found = predict_tokens(Reader(ids, len(tokenizer)), tokenizer, TEXT)
    assert [each.token for each in found] == [tokenizer.model.id_to_piece(i) for i in ids[1:]]
    assert all(each.is_right and each.probability > 0.99 for each in found)
    shifted = [ids[0], *ids]  # a model that predicts the token it has just read
    wrong = predict_tokens(Reader(shifted, len(tokenizer)), tokenizer, TEXT)
    assert [each.predicted for each in wrong][1:] == [each.token for each in wrong][:-1]
    assert not wrong[0].is_right


def test_of_rows_that_pad_the_vocabulary_none_is_predicted(tokenizer):
    padded = Reader([len(tokenizer) + 1] * 3, len(tokenizer) + 2)
    assert {each.predicted for each in predict_tokens(padded, tokenizer, TEXT)} <= set(
        map(tokenizer.model.id_to_piece, range(len(tokenizer)))
    )


def test_what_does_not_fit_the_model_is_left_out(tokenizer):
    assert len(predict_tokens(Reader([1, 2], len(tokenizer), positions=8), tokenizer, TEXT)) == 7


def test_models_say_what_they_do_not_predict(tokenizer):
    with pytest.raises(UserError, match="trained on text alone"):
        predict_patches(Reader([1, 2], 400), torch.zeros(3, 256, dtype=torch.uint8))
    with pytest.raises(UserError, match="trained on pixels alone"):
        predict_tokens(Reader([1, 2], None), tokenizer, TEXT)


def test_labels_tell_what_is_above_and_below_and_where_the_text_ends(monkeypatch):
    written = []
    draw = ImageDraw.ImageDraw.text

    def listening(self, position, text, **options):
        written.append(text)
        draw(self, position, text, **options)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", listening)
    patches = torch.zeros(50, 256, dtype=torch.uint8)
    tokens = [TokenPrediction("▁The", "▁A", 0.5), TokenPrediction("▁猫", "▁猫", 0.9)]
    picture = draw_predictions(patches, torch.ones(49, 256), tokens)
    assert picture.width <= 20 * 16 * 4 + 200
    assert written.count("read") == written.count("predicted") == 4  # three rows of patches, one of tokens
    assert written.count("the separator: the text ends here") == 1
    assert {"▁", "The", "A", "猫"} <= set(written)
    text = " ".join(written)
    assert "Below each patch, what the model predicted" in text
    assert "Below each token, the one that the model found most likely" in text


def test_each_character_is_drawn_in_a_font_that_has_it(monkeypatch):
    drawn = []
    monkeypatch.setattr(
        ImageDraw.ImageDraw, "text", lambda self, position, text, font, **_: drawn.append((text, font.getname()[0]))
    )
    draw_predictions(tokens=[TokenPrediction("▁The", "▁猫", 0.5)])
    assert ("The", "Kurinto Sans") in drawn
    assert ("猫", "Kurinto Sans SC") in drawn


def test_a_right_token_is_green_and_a_wrong_one_is_not():
    right, wrong = (
        np.asarray(draw_predictions(tokens=[TokenPrediction("▁the", predicted, 0.5)])) for predicted in ("▁the", "▁a")
    )
    green = (200, 235, 200)
    assert (right == green).all(-1).any()
    assert not (wrong == green).all(-1).any()


@pytest.mark.parametrize(("modalities", "shown"), [("text", "tokens"), ("pixel", "patches"), ("text,pixel", "both")])
def test_a_model_is_shown_with_what_it_was_trained_on(toy_data, tmp_path, capsys, modalities, shown):
    options = ["--modalities", modalities, "--max-update", "1", "--disable-validation", "--save-dir", tmp_path]
    train(toy_data, *TOY_TRAINING, *options)
    capsys.readouterr()
    arguments = ["--checkpoint", tmp_path / "checkpoint_last.pt", "--text", TEXT, "--output", tmp_path / "out.png"]
    script("show_predictions")([str(argument) for argument in arguments])
    line = capsys.readouterr().out
    assert (" patches" in line) == (shown != "tokens")
    assert (" tokens, of which the model's first choice was right for " in line) == (shown != "patches")
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")


def test_tokens_without_a_tokenizer_are_refused_where_there_is_nothing_else(toy_data, tmp_path, monkeypatch):
    options = ["--modalities", "text", "--max-update", "1", "--disable-validation", "--save-dir", tmp_path]
    train(toy_data, *TOY_TRAINING, *options)
    show = script("show_predictions")
    loaded = load_checkpoint(tmp_path / "checkpoint_last.pt")
    loaded.tokenizer = None
    monkeypatch.setattr("pixelgpt_fairseq.checkpoints.loading.load_checkpoint", lambda path: loaded)
    line = refusal(show, "--checkpoint", "x.pt", "--text", TEXT, "--output", tmp_path / "out.png")
    assert line.startswith("x.pt: trained on text alone, and there is no tokenizer")
