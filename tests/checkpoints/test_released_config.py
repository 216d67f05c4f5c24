"""Every setting of a config.json that changes what a model computes is followed, or refused by its name."""

import json
import logging
from pathlib import Path

import pytest
import torch
from naive import small_model

from pixelgpt_fairseq.checkpoints.released import load_released, save_released
from pixelgpt_fairseq.checkpoints.released_config import read_config
from pixelgpt_fairseq.errors import UserError

WHERE = Path("folder/config.json")
# As version 4 of transformers writes a released config.json, with all that it adds to one.
PLAIN = json.loads(
    """{"architectures": ["ErniePixelForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
    "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 32, "image_size": [16, 16384],
    "initializer_range": 0.02, "intermediate_size": 48, "max_position_embeddings": 64, "mlp_bias": false,
    "model_type": "ernie-pixel", "norm_pix_loss": true, "num_attention_heads": 4, "num_channels": 3,
    "num_hidden_layers": 2, "num_key_value_heads": 2, "pad_token_id": null, "patch_size": 16, "pretraining_tp": 1,
    "rms_norm_eps": 1e-05, "rope_scaling": null, "rope_theta": 10000.0, "tie_word_embeddings": false,
    "torch_dtype": "float32", "transformers_version": "4.36.2", "use_cache": true, "vocab_size": 50, "top_k": 50,
    "_name_or_path": "somewhere", "sliding_window": null, "head_dim": 8, "layer_types": null}"""
)


def read(**changes):
    return read_config(PLAIN | changes, WHERE)


def test_a_plain_file_is_read_without_a_word(caplog):
    config = read()
    assert (config.hidden_size, config.num_key_value_heads, config.rope_theta) == (32, 2, 10000.0)
    assert not caplog.records


@pytest.mark.parametrize(
    "rope",
    [
        {"rope_parameters": {"rope_theta": 500000.0, "rope_type": "default"}},
        {"rope_parameters": {"rope_theta": 500000.0, "rope_type": "default", "partial_rotary_factor": 1.0}},
        {"rope_parameters": {"rope_theta": 500000.0}, "rope_theta": 500000},
        {"rope_theta": 500000.0},
        {"rope_theta": 500000.0, "rope_scaling": {"type": "default"}},
        {"rope_theta": 500000.0, "rope_scaling": {"rope_type": "default", "factor": 1.0}},
        {"rope_scaling": {"rope_type": "default", "rope_theta": 500000.0}},
    ],
)
def test_the_rotary_base_is_found_in_either_spelling(rope):
    settings = {name: value for name, value in PLAIN.items() if name != "rope_theta"}
    assert read_config(settings | rope, WHERE).rope_theta == 500000.0


@pytest.mark.parametrize("kind", ["linear", "dynamic", "yarn", "longrope", "llama3", "proportional"])
@pytest.mark.parametrize("spelling", ["rope_parameters", "rope_scaling"])
@pytest.mark.parametrize("key", ["rope_type", "type"])
def test_other_rotary_types_are_refused_by_name_in_either_spelling(kind, spelling, key):
    with pytest.raises(UserError, match=rf"folder/config\.json .*{spelling} .*{kind}"):
        read(**{spelling: {key: kind, "factor": 2.0}})


@pytest.mark.parametrize(
    "rope",
    [
        {"rope_theta": 10000.0, "partial_rotary_factor": 0.5},
        {"rope_theta": 10000.0, "rope_type": "default", "factor": 4.0},
        {"full_attention": {"rope_type": "default", "rope_theta": 10000.0}},
        {"rope_type": "default", "attention_factor": 2.0},
        "linear",
        [],
    ],
)
def test_rotary_settings_that_change_the_frequencies_are_refused(rope):
    for spelling in ("rope_parameters", "rope_scaling"):
        with pytest.raises(UserError, match=f"does not support: {spelling}"):
            read(**{spelling: rope})


def test_two_rotary_bases_that_differ_are_refused():
    with pytest.raises(UserError, match=r"rope_theta 10000.0, rope_parameters.rope_theta 500000.0: which one holds"):
        read(rope_parameters={"rope_theta": 500000.0, "rope_type": "default"})


@pytest.mark.parametrize(
    "setting",
    [
        {"hidden_act": "gelu"},
        {"attention_bias": True},
        {"mlp_bias": True},
        {"qkv_bias": True},
        {"head_dim": 16},
        {"partial_rotary_factor": 0.5},
        {"rotary_pct": 0.25},
        {"sliding_window": 4096},
        {"sliding_window": 4096, "use_sliding_window": True},
        {"attention_chunk_size": 8192},
        {"layer_types": ["full_attention", "sliding_attention"]},
        {"pretraining_tp": 2},
        {"logit_scale": 0.0625},
        {"logits_scaling": 8.0},
        {"embedding_multiplier": 12.0},
        {"residual_multiplier": 0.22},
        {"attention_multiplier": 0.015625},
        {"final_logit_softcapping": 30.0},
        {"attn_logit_softcapping": 50.0},
        {"query_pre_attn_scalar": 256},
        {"no_rope_layers": [1, 0]},
        {"use_qk_norm": True},
        {"norm_type": "layernorm"},
        {"layer_norm_eps": 1e-12},
        {"is_causal": False},
        {"use_parallel_residual": True},
        {"num_local_experts": 8},
        {"is_encoder_decoder": True},
        {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}},
        {"pruned_heads": {"1": [0]}},
        {"patch_size": 32},
        {"patch_size": [16, 8]},
        {"image_size": [32, 16384]},
        {"image_size": 16},
        {"num_channels": 4},
    ],
)
def test_settings_of_other_models_are_refused_by_name(setting):
    with pytest.raises(UserError, match=f"^folder/config.json asks for .*{next(iter(setting))} "):
        read(**setting)


@pytest.mark.parametrize(
    "setting",
    [
        {"norm_pix_loss": "false"},
        {"reads_tokens": 1},
        {"rope_theta": 0},
        {"rope_parameters": {"rope_theta": "500000"}, "rope_theta": None},
        {"rms_norm_eps": "1e-5"},
        {"attention_dropout": 5},
        {"tie_word_embeddings": "true"},
        {"num_key_value_heads": 2.0},
    ],
)
def test_values_of_another_kind_are_refused(setting):
    with pytest.raises(UserError, match="is not a valid value"):
        read(**setting)


@pytest.mark.parametrize(
    "setting",
    [
        dict.fromkeys(("rope_theta", "num_channels", "tie_word_embeddings", "image_size", "norm_pix_loss")),
        {"layer_types": ["full_attention", "full_attention"]},
        {"sliding_window": 4096, "use_sliding_window": False, "max_window_layers": 2},
        {"hidden_act": "swish", "partial_rotary_factor": 1.0, "logits_scaling": 1.0, "pruned_heads": {}},
        {"dtype": "bfloat16", "torch_dtype": None, "id2label": {"0": "a"}, "temperature": 0.6, "do_sample": True},
        {"a_switch_of_theirs": False, "another": None, "a_list": []},
    ],
)
def test_what_changes_nothing_is_read_without_a_word(setting, caplog):
    assert read(**setting) == read()
    assert not caplog.records


def test_heads_that_are_not_told_are_as_many_as_query_heads():
    assert read(num_key_value_heads=None).num_key_value_heads == 4


def test_what_nobody_here_knows_is_named_in_a_warning(caplog):
    read(rescale_prenorm=2.0, note="mine")
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.message.endswith("does not follow: note, rescale_prenorm")


@torch.no_grad()
def test_a_folder_as_transformers_5_writes_it_computes_the_same_and_keeps_its_spelling(tmp_path):
    model = small_model(rope_theta=500000.0)
    save_released(model, tmp_path / "four")
    save_released(model, tmp_path / "five")
    settings = json.loads((tmp_path / "five/config.json").read_text())
    for name in ("rope_theta", "rope_scaling", "torch_dtype"):
        del settings[name]
    settings |= {"rope_parameters": {"rope_theta": 500000.0, "rope_type": "default"}, "dtype": "float32"}
    (tmp_path / "five/config.json").write_text(json.dumps(settings))
    patches = torch.rand(1, 30, 256)
    again = load_released(tmp_path / "five")
    assert again.config == load_released(tmp_path / "four").config
    assert torch.equal(again(patches=patches).patch_predictions, model(patches=patches).patch_predictions)
    save_released(again, tmp_path / "again")
    assert json.loads((tmp_path / "again/config.json").read_text()) == settings


def test_open_switches_mean_what_is_usual(tmp_path):
    save_released(small_model(), tmp_path / "released")
    settings = json.loads((tmp_path / "released/config.json").read_text())
    settings |= {"reads_patches": None, "reads_tokens": None}
    (tmp_path / "released/config.json").write_text(json.dumps(settings))
    model = load_released(tmp_path / "released")
    assert model.uses_patches
    assert model.vocab_size == 50
