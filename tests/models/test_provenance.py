import copy
import logging

import pytest
import torch
from naive import small_model

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.models import provenance
from pixelgpt_fairseq.models.heads import HEADS
from pixelgpt_fairseq.models.provenance import compare_architectures
from pixelgpt_fairseq.sources.examples import SentenceTask

RENDERER = {
    "font_size": 8,
    "fonts": [{"name": "A.ttf", "sha256": "a" * 64, "path": "/one/A.ttf"}],
    "max_seq_length": 1024,
}
SETTINGS = {"renderer": RENDERER, "tokenizer_sha256": "1" * 64}


def settings(renderer=None, **changes):
    return SETTINGS | {"renderer": RENDERER | (renderer or {})} | changes


def load(state, model, trained=SETTINGS):
    """As fairseq loads a checkpoint whose data settings are *trained*, but raising what its commands print."""
    state = copy.deepcopy(state)
    provenance.reconcile(model, state, trained=trained)
    torch.nn.Module.load_state_dict(model, state, strict=True)
    return model


def test_weights_are_all_that_a_state_holds():
    model = small_model(data_settings=SETTINGS)
    assert model.state_dict().keys() == dict(model.named_parameters()).keys()
    assert model.half().data_settings == SETTINGS


def test_a_model_that_knows_no_data_adopts_the_settings_of_the_checkpoint():
    assert load(small_model().state_dict(), small_model()).data_settings == SETTINGS
    own = settings(tokenizer_sha256=None)
    assert load(small_model().state_dict(), small_model(data_settings=own)).data_settings == own


def test_a_checkpoint_without_settings_leaves_the_model_its_own():
    assert load(small_model().state_dict(), small_model(data_settings=SETTINGS), None).data_settings == SETTINGS


@pytest.mark.parametrize(("trained", "given", "warned"), [(32, 64, True), (32, 32, False), (None, 64, False)])
def test_another_strip_width_of_pairs_is_named(trained, given, warned, caplog):
    model = small_model(data_settings=settings(pair_patches=given))
    with caplog.at_level(logging.WARNING, "pixelgpt_fairseq"):
        load(model.state_dict(), model, settings(pair_patches=trained))
    assert ("--pair-patches" in caplog.text) == warned


def test_another_tokenizer_is_refused_where_the_model_reads_tokens():
    state = small_model(data_settings=SETTINGS).state_dict()
    other = settings(tokenizer_sha256="2" * 64)
    with pytest.raises(UserError, match=r"sha256 2+…\) is not the one this checkpoint was trained with \(1+…\)"):
        load(state, small_model(data_settings=other))
    load(state, small_model(data_settings=other, vocab_size=None))
    load(state, small_model(data_settings=settings(tokenizer_sha256=None)))


def test_what_does_not_fit_is_refused_once_by_the_model_that_loads_it():
    state = small_model(data_settings=SETTINGS).state_dict()
    model = small_model(data_settings=settings(tokenizer_sha256="2" * 64))
    model.checkpoint_settings = SETTINGS
    with pytest.raises(UserError, match=r"^the tokenizer of the data"):
        model.load_state_dict(copy.deepcopy(state))
    model.load_state_dict(state)  # what is loaded afterwards, as for --store-ema, is of this run


@pytest.mark.parametrize(
    ("renderer", "warnings"),
    [
        ({}, []),
        ({"fonts": [{"name": "A.ttf", "sha256": "a" * 64, "path": "/elsewhere/A.ttf"}]}, []),
        ({"font_size": 10}, ["font_size"]),
        ({"font_size": 10, "fonts": [{"name": "A.ttf", "sha256": "b" * 64}]}, ["font 1", "font_size"]),
        ({"backend": "chisel"}, ["cannot compare"]),
    ],
)
def test_other_rendering_is_named_though_no_font_is_installed(renderer, warnings, caplog):
    state = small_model(data_settings=SETTINGS).state_dict()
    with caplog.at_level(logging.WARNING, "pixelgpt_fairseq"):
        load(state, small_model(data_settings=settings(renderer=renderer)))
    assert len(caplog.messages) == len(warnings)
    for message, warning in zip(caplog.messages, warnings, strict=True):
        assert warning in message


def test_another_number_of_heads_is_refused_and_another_theta_named(caplog):
    trained = small_model().config
    with pytest.raises(UserError, match="trained with --num-attention-heads 4, this model has 8"):
        compare_architectures(trained, small_model(num_attention_heads=8, num_key_value_heads=4).config)
    with caplog.at_level(logging.WARNING, "pixelgpt_fairseq"):
        compare_architectures(trained, small_model(rope_theta=500.0).config)
    assert "--rope-theta 10000.0, this model has 500.0" in caplog.text
    compare_architectures(trained, small_model(tie_word_embeddings=True).config)
    assert "--tie-word-embeddings False, this model has True" in caplog.text


def test_fine_tuning_drops_the_heads_and_starts_a_fresh_score():
    state, model = small_model().state_dict(), small_model(num_labels=3)
    fresh = model.score.weight.clone()
    load(state, model)
    assert torch.equal(model.score.weight, fresh)
    assert torch.equal(model.model.embed_tokens.weight, state["model.embed_tokens.weight"])


def test_a_score_of_other_labels_starts_afresh(caplog):
    model = small_model(num_labels=2)
    with caplog.at_level(logging.WARNING, "pixelgpt_fairseq"):
        load(small_model(num_labels=3).state_dict(), model)
    assert "3 classes apart, this model 2" in caplog.text


@pytest.mark.parametrize(
    ("trained", "word"),
    [({"uses_patches": False}, "not trained on pixels"), ({"vocab_size": None}, "not trained on text")],
)
def test_a_modality_without_training_is_named(trained, word, caplog):
    checkpoint, model = small_model(**trained), small_model()
    with caplog.at_level(logging.WARNING, "pixelgpt_fairseq"):
        load(checkpoint.state_dict(), model)
    assert len(caplog.messages) == 1
    assert word in caplog.text
    assert torch.equal(model.model.norm.weight, checkpoint.model.norm.weight)


def test_a_modality_that_the_model_lacks_is_left_out():
    load(small_model().state_dict(), small_model(vocab_size=None))
    load(small_model().state_dict(), small_model(uses_patches=False))


def test_tensors_of_another_shape_missing_or_unknown_are_named():
    state = small_model().state_dict()
    with pytest.raises(UserError, match=r"embed_tokens.weight \[50, 32\] instead of \[60, 32\]"):
        load(state, small_model(vocab_size=60))
    with pytest.raises(UserError, match=r"lacks model.layers.2.input_layernorm.weight, .* and 1 more$"):
        load(state, small_model(num_hidden_layers=3))
    with pytest.raises(UserError, match=r"unknown model.layers.1.input_layernorm.weight"):
        load(state, small_model(num_hidden_layers=1))


def test_one_channel_takes_the_average_of_three():
    state, model = small_model().state_dict(), small_model(num_channels=1)
    load(state, model)
    name = "model.embed_patches.patch_embeddings.projection.weight"
    assert torch.equal(model.state_dict()[name], state[name].mean(1, keepdim=True))
    patches = torch.rand(1, 2, 256)
    three = small_model()
    three.load_state_dict(state)
    hidden = torch.rand(1, 2, 32)
    averaged = three.lm_pixel_head(hidden).unflatten(-1, (256, 3)).mean(-1)
    torch.testing.assert_close(model.lm_pixel_head(hidden), averaged)
    assert model(patches=patches).patch_predictions.shape == (1, 2, 256)


@pytest.fixture
def two_layers(monkeypatch):
    def head(config, num_labels):
        return torch.nn.Sequential(torch.nn.Linear(config.hidden_size, 4), torch.nn.Linear(4, num_labels))

    monkeypatch.setitem(HEADS, "two_layers", head)
    return "two_layers"


@pytest.mark.parametrize("of_the_checkpoint", ["linear", "two_layers"])
def test_another_head_starts_afresh_and_is_named(two_layers, of_the_checkpoint, caplog):
    (ours,) = {"linear", two_layers} - {of_the_checkpoint}
    trained = small_model(num_labels=2, classifier_head=of_the_checkpoint)
    model = small_model(num_labels=2, classifier_head=ours)
    fresh = {name: tensor.clone() for name, tensor in model.state_dict().items() if name.startswith("score.")}
    load(trained.state_dict(), model)
    assert "another classification head than this model: its classification head starts from random" in caplog.text
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in fresh.items())


def test_classes_in_another_order_are_refused_where_the_head_is_not_linear(two_layers):
    def of(labels):
        task = SentenceTask("moods", labels, ("accuracy",), "accuracy").to_dict()
        return settings(classification=task)

    state = small_model(num_labels=2, classifier_head=two_layers).state_dict()
    model = small_model(num_labels=2, classifier_head=two_layers, data_settings=of(("good", "bad")))
    load(state, model, of(("good", "bad")))
    with pytest.raises(UserError, match="classes are bad, good, those of this data good, bad: only a linear head"):
        load(state, model, of(("bad", "good")))
