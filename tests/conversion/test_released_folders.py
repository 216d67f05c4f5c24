"""Released folders become checkpoints that fairseq's commands take, and come back bit for bit."""

import json
import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from fairseq_runs import train, validate
from naive import small_model
from refusals import refusal, script
from safetensors.torch import load_file, save_file
from shared_fixtures import shared
from toy_corpus import ROOT, TOY_TRAINING
from toy_released import ROWS, row, write_rows

import pixelgpt_fairseq
from pixelgpt_fairseq.checkpoints import auxiliary_files
from pixelgpt_fairseq.checkpoints.loading import load_checkpoint
from pixelgpt_fairseq.checkpoints.released import save_released
from pixelgpt_fairseq.checkpoints.weight_files import write_safetensors
from pixelgpt_fairseq.conversion.released_folders import export_released, import_released
from pixelgpt_fairseq.data.data_folder import RENDERER_FILE, TOKENIZER_FILE, DataFolder
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.models import PixelGPTModel
from pixelgpt_fairseq.sources.glue import GLUE_TASKS

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # Hydra's, of fairseq's ways
RTE = GLUE_TASKS["rte"][0]


@pytest.fixture
def folder(tmp_path, toy_data):
    """A released folder with all that belongs to it, as others would have written it."""
    tokenizer = DataFolder(toy_data).tokenizer()
    save_released(small_model(vocab_size=len(tokenizer)), tmp_path / "released")
    (tmp_path / "released" / TOKENIZER_FILE).write_bytes(tokenizer.serialized)
    (tmp_path / "released/tokenizer.json").write_text('{"ä": 1}')
    (tmp_path / "released/README.md").write_bytes(b"\xff\0 any bytes")
    (tmp_path / "released/empty").touch()
    look = {"font_file": "KurintoSans-Rg.ttf", "font_size": 8, "dpi": 120, "max_seq_length": 1024, "pad_size": 3}
    (tmp_path / "released" / RENDERER_FILE).write_text(json.dumps({**look, "text_renderer_type": "TextRenderer"}))
    return tmp_path / "released"


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def state_of(path):
    return torch.load(path, weights_only=True)


def same_states(ours, theirs):
    """Whether two nested dictionaries of tensors and plain values are equal, bit for bit."""
    if isinstance(ours, dict):
        return ours.keys() == theirs.keys() and all(same_states(ours[key], theirs[key]) for key in ours)
    return torch.equal(ours, theirs) if isinstance(ours, torch.Tensor) else ours == theirs


def round_trip(folder, tmp_path):
    import_released(folder, tmp_path / "a.pt", progress=False)
    export_released(tmp_path / "a.pt", tmp_path / "again", progress=False)
    import_released(tmp_path / "again", tmp_path / "b.pt", progress=False)
    return tmp_path / "again"


def test_a_folder_with_its_files_comes_back_byte_for_byte_and_so_does_the_checkpoint(folder, tmp_path):
    assert contents(round_trip(folder, tmp_path)) == contents(folder)
    assert same_states(state_of(tmp_path / "a.pt"), state_of(tmp_path / "b.pt"))


@pytest.mark.parametrize("kind", ["causal_lm", "classifier"])
def test_the_published_layout_comes_back_byte_for_byte(kind, tmp_path):
    source = shared(f"reference/model/{kind}")
    assert contents(round_trip(source, tmp_path)) == contents(source)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_what_it_is(folder, tmp_path, dtype):
    tensors = {name: tensor.to(dtype) for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    assert contents(round_trip(folder, tmp_path)) == contents(folder)


def test_shards_and_older_weights_become_one_file_of_the_same_weights(folder, tmp_path):
    expected = (folder / "model.safetensors").read_bytes()
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    frequencies = {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)}
    torch.save(tensors, folder / "pytorch_model.bin")
    assert (round_trip(folder, tmp_path / "bin") / "model.safetensors").read_bytes() == expected
    torch.save(tensors | frequencies, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    again = load_file(round_trip(folder, tmp_path / "legacy") / "model.safetensors")
    assert same_states(again, tensors | frequencies)
    (folder / "pytorch_model.bin").unlink()
    names = sorted(tensors)
    weight_map = {name: f"model-0000{1 + (i > 9)}-of-00002.safetensors" for i, name in enumerate(names)}
    for shard in set(weight_map.values()):
        save_file({name: tensors[name] for name in names if weight_map[name] == shard}, folder / shard)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert (round_trip(folder, tmp_path / "shards") / "model.safetensors").read_bytes() == expected


def test_files_are_as_the_safetensors_library_writes_them(tmp_path):
    torch.manual_seed(0)
    types = (torch.float32, torch.bfloat16, torch.float64, torch.float16)
    tensors = {f"{letter}é": torch.randn(3, i).to(types[i % 4]) for i, letter in enumerate("cbadefgh")}
    tensors["scalar"] = torch.randn(())
    save_file(tensors, tmp_path / "library", metadata={"format": "pt"})
    assert sum(write_safetensors(tensors, tmp_path / "ours")) == sum(t.nbytes for t in tensors.values())
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "library").read_bytes()


def test_writing_copies_no_tensor(tmp_path):
    model = small_model(hidden_size=256, num_attention_heads=4, intermediate_size=700, vocab_size=4000)
    save_released(model, tmp_path / "released")
    size = (tmp_path / "released/model.safetensors").stat().st_size
    tracemalloc.start()
    export = list(write_safetensors(dict(model.named_parameters()), tmp_path / "out"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sum(export) > 0.99 * size
    assert peak < size / 10


def test_a_trained_checkpoint_comes_back_with_look_tokenizer_and_task(toy_data, tmp_path):
    options = ["--max-update", 2, "--disable-validation", "--save-dir", tmp_path / "trained"]
    train(toy_data, *TOY_TRAINING, *options)
    trained = tmp_path / "trained/checkpoint_last.pt"
    export_released(trained, tmp_path / "folder", progress=False)
    assert sorted(contents(tmp_path / "folder")) == [
        "config.json",
        "model.safetensors",
        RENDERER_FILE,
        TOKENIZER_FILE,
    ]
    import_released(tmp_path / "folder", tmp_path / "again.pt", progress=False)
    ours, theirs = state_of(trained), state_of(tmp_path / "again.pt")
    assert same_states(dict(ours["model"]), dict(theirs["model"]))
    assert same_states(ours["task_state"], theirs["task_state"])
    for option in ("tokens_per_sample", "modalities", "pair_patches"):
        assert ours["cfg"]["task"][option] == theirs["cfg"]["task"][option]


@pytest.mark.parametrize("patch_loss", ["mse", "bce"])
def test_the_patch_loss_comes_back(patch_loss, toy_data, tmp_path):
    options = ["--patch-loss", patch_loss, "--max-update", 1, "--disable-validation", "--save-dir", tmp_path]
    train(toy_data, *TOY_TRAINING, *options)
    export_released(tmp_path / "checkpoint_last.pt", tmp_path / "folder", progress=False)
    import_released(tmp_path / "folder", tmp_path / "again.pt", progress=False)
    for path in ("checkpoint_last.pt", "folder", "again.pt"):
        assert load_checkpoint(tmp_path / path).patch_loss == patch_loss
    config = json.loads((tmp_path / "folder/config.json").read_text())
    assert config["norm_pix_loss"] is False


def test_an_unknown_patch_loss_is_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "pixelgpt_fairseq": {"patch_loss": "huber"}}))
    with pytest.raises(UserError, match="patch_loss 'huber': one of normalized_mse, mse, bce"):
        load_checkpoint(folder)


def test_an_imported_checkpoint_is_finetuned_and_validates_without_a_word_on_its_architecture(folder, tmp_path, capsys):
    import_released(folder, tmp_path / "model.pt", progress=False)
    write_rows(tmp_path / "GLUE/rte-train", [row(*values) for values in ROWS])
    write_rows(tmp_path / "GLUE/rte-validation", [row(*values) for values in ROWS])
    render = script("render_glue")
    render(
        [
            *("--released", str(tmp_path / "GLUE"), "--task", "rte", "--destdir", str(tmp_path / "rte")),
            *("--like", str(tmp_path / "model.pt"), "--verify-rendering"),
        ]
    )
    assert "3 of 3 strips are identical to this package's rendering" in capsys.readouterr().out
    options = "--user-dir pixelgpt_fairseq --task rendered_glue --cpu --batch-size 3 --num-workers 0".split()
    training = (
        "--arch pixelgpt --criterion rendered_classification --optimizer adam --lr 1e-3 --max-update 2 --modality pair "
        "--max-positions 32 --best-checkpoint-metric accuracy --maximize-best-checkpoint-metric"
    ).split()
    start = ["--finetune-from-model", tmp_path / "model.pt", "--save-dir", tmp_path / "checkpoints"]
    train(tmp_path / "rte", *options, *training, *start)
    found = load_checkpoint(tmp_path / "checkpoints/checkpoint_best.pt")
    assert found.model.config.hidden_size == 32
    assert found.model.config.num_hidden_layers == 2
    assert found.tokenizer.sha256 == found.model.data_settings["tokenizer_sha256"]
    assert found.model.data_settings["renderer"] is None  # released strips: nobody knows
    (tmp_path / "model.pt").unlink()  # it is needed no more
    validate(tmp_path / "rte", *options, "--path", tmp_path / "checkpoints/checkpoint_best.pt")


def test_sizes_that_are_not_the_checkpoints_are_refused(fairseq, folder, toy_data, tmp_path):
    import_released(folder, tmp_path / "model.pt", progress=False)
    line = fairseq(toy_data, "--finetune-from-model", tmp_path / "model.pt")  # of TOY_TRAINING's sizes
    assert "--arch pixelgpt_tiny, --hidden-size 48 (the checkpoint: 32)" in line
    line = fairseq(toy_data, "--finetune-from-model", folder)
    assert "convert-checkpoint import" in line


def test_an_imported_language_model_is_validated_on_a_corpus(folder, toy_data, tmp_path):
    import_released(folder, tmp_path / "model.pt", progress=False)
    arguments = "--user-dir pixelgpt_fairseq --task rendered_pretraining --cpu --batch-size 4 --num-workers 0".split()
    validate(toy_data, *arguments, "--path", tmp_path / "model.pt")


def test_predictions_of_an_imported_checkpoint_are_shown(folder, tmp_path):
    import_released(folder, tmp_path / "model.pt", progress=False)
    script("show_predictions")(
        ["--checkpoint", str(tmp_path / "model.pt"), "--text", "Hello", "--output", str(tmp_path / "out.png")]
    )
    assert (tmp_path / "out.png").stat().st_size > 100


def test_an_imported_classifier_answers_for_its_task(tmp_path, capsys):
    save_released(small_model(num_labels=2), tmp_path / "released")
    with pytest.raises(UserError, match="2 outputs, task mnli needs 3"):
        import_released(tmp_path / "released", tmp_path / "k.pt", GLUE_TASKS["mnli"][0])
    import_released(tmp_path / "released", tmp_path / "k.pt", RTE, progress=False)
    write_rows(tmp_path / "GLUE/rte-train", [row(*values) for values in ROWS])
    write_rows(tmp_path / "GLUE/rte-validation", [row(*values) for values in ROWS])
    script("render_glue")(["--released", str(tmp_path / "GLUE"), "--task", "rte", "--destdir", str(tmp_path / "rte")])
    arguments = ["--checkpoint", tmp_path / "k.pt", "--data", tmp_path / "rte", "--subset", "valid", "--cpu"]
    script("predict_glue")([*map(str, arguments), "--output", str(tmp_path / "RTE.tsv")])
    lines = (tmp_path / "RTE.tsv").read_text().splitlines()
    assert lines[0] == "index\tprediction"
    assert {line.split("\t")[1] for line in lines[1:]} <= set(RTE.labels)
    assert len(lines) == 4
    # A folder that does not tell its task makes a classifier that answers any of as many labels, with a warning.
    import_released(tmp_path / "released", tmp_path / "any.pt", progress=False)
    arguments[1] = tmp_path / "any.pt"
    script("predict_glue")([*map(str, arguments), "--output", str(tmp_path / "any.tsv")])
    assert (tmp_path / "any.tsv").read_bytes() == (tmp_path / "RTE.tsv").read_bytes()
    assert "does not say which task it was trained on: it is taken for rte" in capsys.readouterr().err


def test_the_lines_of_the_readme_give_model_renderer_and_tokenizer(folder, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    found = {}
    folder_in_code = re.search(r'load\("([^"]+)"\)', code)[1]
    exec(code.replace(folder_in_code, str(folder)), found)
    assert isinstance(found["loaded"].model, PixelGPTModel)
    assert found["predictions"].shape == (len(found["patches"]) - 1, 256)
    assert len(found["vectors"]) == 2
    assert found["loaded"].tokenizer.model.decode(found["loaded"].tokenizer.model.encode("a b")) == "a b"


@torch.no_grad()
def test_a_folder_and_its_checkpoint_compute_the_same(folder, tmp_path):
    import_released(folder, tmp_path / "model.pt", progress=False)
    ours, theirs = pixelgpt_fairseq.load(folder), pixelgpt_fairseq.load(tmp_path / "model.pt")
    patches = torch.from_numpy(ours.renderer("Hello you").patches())[None]
    assert torch.equal(ours.model(patches=patches).patch_predictions, theirs.model(patches=patches).patch_predictions)
    assert np.array_equal(patches[0], theirs.renderer("Hello you").patches())
    theirs = theirs.model.data_settings
    assert ours.model.data_settings | {"pair_patches": theirs["pair_patches"]} == theirs


# What is refused


def test_nothing_is_overwritten(folder, tmp_path):
    (tmp_path / "there.pt").write_text("mine")
    with pytest.raises(UserError, match=r"there\.pt: already there"):
        import_released(folder, tmp_path / "there.pt")
    import_released(folder, tmp_path / "model.pt", progress=False)
    with pytest.raises(UserError, match="a folder: name the file that is to be made in it"):
        import_released(folder, f"{tmp_path}/new/")
    with pytest.raises(UserError, match="released: already there"):
        export_released(tmp_path / "model.pt", folder)
    assert (tmp_path / "there.pt").read_text() == "mine"


def test_a_full_disk_leaves_no_checkpoint(folder, tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pixelgpt_fairseq.conversion.new_checkpoints._Counted.write", fail)
    with pytest.raises(UserError, match=r"model\.pt: cannot write"):
        import_released(folder, tmp_path / "model.pt", progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["released"]


def test_names_of_carried_files_cannot_leave_the_folder(folder, tmp_path):
    import_released(folder, tmp_path / "model.pt", progress=False)
    state = state_of(tmp_path / "model.pt")
    evil = torch.tensor(list(b"evil"), dtype=torch.uint8)
    state["released"]["files"] |= {"../evil": evil, "/tmp/evil": evil, ".bashrc": evil, "model.safetensors": evil}
    torch.save(state, tmp_path / "evil.pt")
    export_released(tmp_path / "evil.pt", tmp_path / "sub/out", progress=False)
    assert contents(tmp_path / "sub/out") == contents(folder)
    assert sorted(path.name for path in (tmp_path / "sub").iterdir()) == ["out"]


def test_files_that_are_too_large_stay_behind_and_are_named(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(auxiliary_files, "MAX_CARRIED_BYTES", 100_000)
    (folder / "large.bin.txt").write_bytes(b"x" * 100_000)
    imported = import_released(folder, tmp_path / "model.pt", progress=False)
    assert imported.left_behind == ["large.bin.txt"]
    assert "tokenizer.json" in imported.files


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_hidden_layers": 10**9}, "1000000000 layers"),
        ({"hidden_size": "32"}, 'hidden_size "32" is not a valid value'),
        ({"hidden_size": True}, "hidden_size true is not a valid value"),
        ({"rms_norm_eps": -1}, "rms_norm_eps -1 is not a valid value"),
        ({"image_size": 16}, "image_size 16"),
        ({"head_dim": 3}, "head_dim 3"),
        ({"vocab_size": 401}, "401"),
        ({"pixelgpt_fairseq": {"task": {"tokens_per_sample": "many"}}}, "pixelgpt_fairseq.task: "),
        ({"pixelgpt_fairseq": ["task"]}, "pixelgpt_fairseq is not what this package writes"),
        ({"pixelgpt_fairseq": {"task": "many"}}, "pixelgpt_fairseq is not what this package writes"),
    ],
)
def test_settings_that_cannot_be_are_named(folder, tmp_path, change, message):
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | change))
    with pytest.raises(UserError, match=re.escape(message)):
        import_released(folder, tmp_path / "model.pt", progress=False)
    assert not (tmp_path / "model.pt").exists()


def test_a_tokenizer_of_another_size_and_a_damaged_look_are_refused(folder, tmp_path):
    save_released(small_model(), tmp_path / "small")
    (tmp_path / "small" / TOKENIZER_FILE).write_bytes((folder / TOKENIZER_FILE).read_bytes())
    with pytest.raises(UserError, match="has 400 tokens, the model's embedding 50"):
        import_released(tmp_path / "small", tmp_path / "model.pt")
    (folder / RENDERER_FILE).write_text('{"text_renderer_type": "PangoCairoTextRenderer", "font_file": "a.ttf"}')
    with pytest.raises(UserError, match="'PangoCairoTextRenderer' is not available"):
        import_released(folder, tmp_path / "model.pt")


def test_a_checkpoint_whose_sizes_are_not_its_tensors_is_refused_before_it_takes_memory(folder, tmp_path):
    import_released(folder, tmp_path / "model.pt", progress=False)
    state = state_of(tmp_path / "model.pt")
    for change, message in (
        ({"hidden_size": 1 << 20}, "has in another shape"),
        ({"num_hidden_layers": 10**9}, "layers"),
    ):
        torch.save({**state, "cfg": {**state["cfg"], "model": state["cfg"]["model"] | change}}, tmp_path / "bad.pt")
        with pytest.raises(UserError, match=message):
            load_checkpoint(tmp_path / "bad.pt")
        with pytest.raises(UserError, match=message):
            export_released(tmp_path / "bad.pt", tmp_path / "out")
    weights = dict(state["model"])
    weights["model.norm.weight"] = torch.ones(1).expand(32)
    torch.save({**state, "model": weights}, tmp_path / "expanded.pt")
    with pytest.raises(UserError, match="larger than what the file holds"):
        load_checkpoint(tmp_path / "expanded.pt")


class _Intruder:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_no_code_is_run_and_the_command_says_one_line(folder, tmp_path):
    (folder / "model.safetensors").unlink()
    torch.save({"model.norm.weight": _Intruder(tmp_path / "executed")}, folder / "pytorch_model.bin")
    line = refusal(script("convert_checkpoint"), "import", folder, tmp_path / "model.pt")
    assert line.endswith("is damaged or holds more than plain tensors; it is not read")
    torch.save({"model": _Intruder(tmp_path / "executed")}, tmp_path / "evil.pt")
    line = refusal(script("convert_checkpoint"), "export", tmp_path / "evil.pt", tmp_path / "out")
    assert line == f"{tmp_path}/evil.pt: not a checkpoint, or damaged"
    assert not (tmp_path / "executed").exists()


def test_the_command_converts_both_ways(folder, tmp_path, capsys):
    script("convert_checkpoint")(["import", str(folder), str(tmp_path / "model.pt")])
    assert "language model that reads patches and tokens" in capsys.readouterr().out
    script("convert_checkpoint")(["export", str(tmp_path / "model.pt"), str(tmp_path / "out")])
    assert "tokenizer.json" in capsys.readouterr().out
    assert contents(tmp_path / "out") == contents(folder)
