import json
import pickle
import shutil

import pytest
import torch
from naive import small_model
from safetensors.torch import load_file, save_file
from shared_fixtures import shared

from pixelgpt_fairseq.checkpoints.released import load_released, save_released
from pixelgpt_fairseq.errors import UserError


def same_tensors(ours, theirs):
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.fixture
def folder(tmp_path):
    save_released(small_model(), tmp_path / "released")
    return tmp_path / "released"


def change_settings(folder, **changes):
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | changes))


def change_tensors(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


@pytest.mark.parametrize("kind", ["causal_lm", "classifier"])
def test_a_released_folder_comes_back_bit_for_bit(kind, tmp_path):
    source = shared(f"reference/model/{kind}")
    model = load_released(source)
    assert not model.training
    save_released(model, tmp_path / "out")
    assert same_tensors(load_file(source / "model.safetensors"), load_file(tmp_path / "out/model.safetensors"))
    assert json.loads((source / "config.json").read_text()) == json.loads((tmp_path / "out/config.json").read_text())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_labels": 3},
        {"num_labels": 1},
        {"tie_word_embeddings": True},
        {"num_key_value_heads": 4, "rope_theta": 500.0, "rms_norm_eps": 1e-3},
        {"uses_patches": False},
        {"vocab_size": None},
    ],
)
@torch.no_grad()
def test_a_model_comes_back_as_it_was(options, tmp_path):
    model = small_model(**options)
    save_released(model, tmp_path / "out")
    again = load_released(tmp_path / "out")
    assert same_tensors(model.state_dict(), again.state_dict())
    assert again.config == model.config
    assert again.num_labels == model.num_labels
    if model.uses_patches:
        patches = torch.rand(1, 5, 256)
        for ours, theirs in zip(model(patches=patches), again(patches=patches), strict=True):
            assert ours is theirs is None or torch.equal(ours, theirs)


def test_a_loaded_model_can_be_trained_and_converted_to_a_fairseq_checkpoint(folder):
    model = load_released(folder)
    model.train()(patches=torch.rand(1, 5, 256)).patch_predictions.sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    small_model().load_state_dict(model.state_dict())


def test_shards_are_put_together(folder):
    tensors = load_file(folder / "model.safetensors")
    names = sorted(tensors)
    (folder / "model.safetensors").unlink()
    parts = {"model-00001-of-00002.safetensors": names[:9], "model-00002-of-00002.safetensors": names[9:]}
    for part, held in parts.items():
        save_file({name: tensors[name] for name in held}, folder / part)
    index = {"weight_map": {name: part for part, held in parts.items() for name in held}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert same_tensors(load_released(folder).state_dict(), tensors)
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(UserError, match="names a shard that is not there: model-00002"):
        load_released(folder)


def test_older_folders_with_pytorch_model_bin_are_read(folder):
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    stored = tensors | {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)}
    torch.save(stored, folder / "pytorch_model.bin")
    assert same_tensors(load_released(folder).state_dict(), tensors)


class Intruder:
    def __reduce__(self):
        return (pytest.fail, ("code of a pickle was run",))


def test_pickled_code_is_not_run(folder):
    (folder / "model.safetensors").unlink()
    torch.save({"lm_pixel_head.weight": Intruder()}, folder / "pytorch_model.bin")
    with pytest.raises(UserError, match="more than plain tensors"):
        load_released(folder)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Intruder(), protocol=2))
    with pytest.raises(UserError, match=r"pytorch_model\.bin"):
        load_released(folder)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_scaling"),
        ({"attention_bias": True}, "attention_bias true"),
        ({"hidden_act": "gelu"}, 'hidden_act "gelu"'),
        ({"pretraining_tp": 2}, "pretraining_tp 2"),
        ({"patch_size": 32, "image_size": [32, 16384]}, "patch_size 32, image_size"),
        ({"hidden_size": None}, "lacks hidden_size"),
        ({"hidden_size": 16}, "has in another shape"),
        ({"num_attention_heads": 5}, r"config\.json: --hidden-size 32 is not divisible"),
        ({"num_hidden_layers": 0}, r"config\.json: --num-hidden-layers 0 must be"),
        ({"vocab_size": 0}, "vocab_size 0 is not a valid value"),
    ],
)
def test_settings_that_the_model_does_not_support_are_named(folder, settings, message):
    change_settings(folder, **settings)
    with pytest.raises(UserError, match=message):
        load_released(folder)


def test_missing_unknown_and_misshapen_tensors_are_named(folder):
    def change(tensors):
        del tensors["model.norm.weight"]
        tensors["model.layers.0.mlp.gate_proj.bias"] = torch.zeros(48)
        tensors["lm_pixel_head.weight"] = torch.zeros(768, 16)

    change_tensors(folder, change)
    with pytest.raises(UserError) as caught:
        load_released(folder)
    message = str(caught.value)
    assert "lacks model.norm.weight" in message
    assert "unknown model.layers.0.mlp.gate_proj.bias" in message
    assert "lm_pixel_head.weight [768, 16] instead of [768, 32]" in message
    assert "\n" not in message


def test_tied_embeddings_are_honored(tmp_path):
    model = small_model(tie_word_embeddings=True)
    save_released(model, tmp_path / "tied")
    embedding = model.model.embed_tokens.weight.detach()
    change_tensors(tmp_path / "tied", lambda tensors: tensors.update({"lm_token_head.weight": embedding.clone()}))
    again = load_released(tmp_path / "tied")
    tokens = torch.tensor([[1, 2, 3]])
    assert torch.equal(again(tokens=tokens).token_logits, model(tokens=tokens).token_logits)
    change_tensors(tmp_path / "tied", lambda tensors: tensors.update({"lm_token_head.weight": embedding + 1}))
    with pytest.raises(UserError, match="no copy of the embedding"):
        load_released(tmp_path / "tied")


def test_damaged_and_incomplete_folders_are_named(folder, tmp_path):
    with pytest.raises(UserError, match=r"it has no config\.json"):
        load_released(tmp_path / "nowhere")
    cut = tmp_path / "cut"
    shutil.copytree(folder, cut)
    (cut / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-100])
    with pytest.raises(UserError, match="is damaged"):
        load_released(cut)
    (cut / "model.safetensors").unlink()
    with pytest.raises(UserError, match="has no weights"):
        load_released(cut)
    (cut / "config.json").write_text("{")
    with pytest.raises(UserError, match="not JSON"):
        load_released(cut)


@pytest.mark.parametrize("shape", [(32,), (), (0, 32), (2, 3, 32)])
def test_a_score_that_is_no_matrix_is_named_by_its_shape(shape, tmp_path):
    save_released(small_model(num_labels=2), tmp_path / "released")
    change_tensors(tmp_path / "released", lambda tensors: tensors.update({"score.weight": torch.zeros(shape)}))
    with pytest.raises(UserError, match=rf"score\.weight \[{', '.join(map(str, shape))}\] instead of"):
        load_released(tmp_path / "released")


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.model"])
def test_a_file_that_was_not_fetched_is_named(name, folder):
    (folder / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 1400000000\n")
    with pytest.raises(UserError, match=rf"{name}: only a pointer to the file: run git lfs pull in "):
        load_released(folder)
    with pytest.raises(UserError, match=r"model\.safetensors: a file: name the folder that holds config\.json"):
        load_released(folder / "model.safetensors")


def test_saving_overwrites_nothing_and_leaves_nothing_unfinished(folder, tmp_path, monkeypatch):
    before = (folder / "model.safetensors").read_bytes()
    with pytest.raises(UserError, match="already there"):
        save_released(small_model(), folder)
    assert (folder / "model.safetensors").read_bytes() == before

    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    (tmp_path / "empty").mkdir()
    save_released(small_model(), tmp_path / "empty")
    monkeypatch.setattr("pixelgpt_fairseq.checkpoints.released.write_safetensors", fail)
    with pytest.raises(UserError, match="No space left"):
        save_released(small_model(), tmp_path / "full")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "released"]
