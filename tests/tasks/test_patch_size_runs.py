"""--patch-size from rendering to pictures, by the commands themselves."""

import pytest
import torch
from fairseq_runs import train
from PIL import Image
from refusals import refusal, script
from toy_corpus import TOY_TRAINING, documents
from toy_glue import write_glue

import pixelgpt_fairseq
from pixelgpt_fairseq.checkpoints.loading import read_state
from pixelgpt_fairseq.data.data_folder import DataFolder


def render(name, *arguments):
    script(name)([str(argument) for argument in arguments])


@pytest.fixture(scope="module", params=[8, 32])
def trained(request, tmp_path_factory, toy_data):
    """A corpus rendered with a patch size, and the folder of a DualGPT that was trained on it."""
    folder, side = tmp_path_factory.mktemp("patches"), request.param
    (folder / "train.txt").write_text("\n\n".join(documents(8)))
    options = ["--split", "train", "--tokenizer", toy_data / "tokenizer.model", "--patch-size", side]
    render("render_corpus", "--input", folder / "train.txt", "--destdir", folder / "data", *options)
    modalities = "--modalities text,pixel,pair --max-update 3 --disable-validation --save-dir".split()
    train(folder / "data", *TOY_TRAINING, *modalities, folder)
    return side, folder


def test_the_size_is_recorded_and_the_font_is_in_proportion(trained):
    side, folder = trained
    manifest = DataFolder(folder / "data").manifest("train")
    assert manifest["patch_values"] == side**2
    assert manifest["renderer"]["pixels_per_patch"] == side
    assert manifest["renderer"]["font_size"] == side / 2
    state = read_state(folder / "checkpoint_last.pt")
    assert state["cfg"]["model"]["patch_size"] == side
    assert state["model"]["lm_pixel_head.weight"].shape[0] == 3 * side**2


def test_a_later_split_has_the_size_of_the_first(trained):
    side, folder = trained
    render("render_corpus", "--input", folder / "train.txt", "--destdir", folder / "data", "--split", "valid")
    assert DataFolder(folder / "data").manifest("valid")["patch_values"] == side**2


def test_what_uses_a_checkpoint_has_its_size(trained, tmp_path):
    side, folder = trained
    checkpoint = folder / "checkpoint_last.pt"
    loaded = pixelgpt_fairseq.load(checkpoint)
    batch = loaded.batch(["Any text", "and another"], modality="pair")
    assert loaded.model(**batch).patch_predictions.shape[-1] == 3 * side**2
    patches, predictions = loaded.predict_patches("Any text")
    assert patches.shape == (len(predictions) + 1, side**2)
    written = loaded.generate_text(torch.zeros(side, 3 * side, dtype=torch.uint8), max_tokens=2, modality="pixel")
    assert isinstance(written.text, str)
    render("show_predictions", "--checkpoint", checkpoint, "--text", "Any text", "--output", tmp_path / "out.png")
    assert Image.open(tmp_path / "out.png").height > 2 * side
    message = refusal(script("convert_checkpoint"), "export", checkpoint, tmp_path / "exported")
    assert message.startswith(f"{checkpoint}: the model's patches are {side} x {side} pixels; the released layout")


def test_fine_tuning_takes_the_size_of_checkpoint_and_data(trained, toy_data, fairseq, tmp_path):
    side, folder = trained
    checkpoint = folder / "checkpoint_last.pt"
    write_glue(tmp_path / "GLUE", train=8, dev=4)
    options = ["--glue-dir", tmp_path / "GLUE", "--task", "rte", "--splits", "train", "valid"]
    render("render_glue", *options, "--destdir", tmp_path / "rte", "--like", checkpoint)
    options = [
        "--finetune-from-model",
        checkpoint,
        "--arch",
        "pixelgpt",
        "--max-update",
        1,
        "--save-dir",
        tmp_path / "run",
    ]
    sizes = {"--hidden-size", "--num-hidden-layers", "--intermediate-size"}
    kept = [each for i, each in enumerate(TOY_TRAINING) if not sizes & set(TOY_TRAINING[max(0, i - 1) : i + 1])]
    instead = {"rendered_pretraining": "rendered_glue", "patch_token_loss": "rendered_classification"}
    kept = [instead.get(each, each) for each in kept]
    at = kept.index("--tokens-per-sample")
    train(tmp_path / "rte", *kept[:at], *kept[at + 2 :], "--modality", "pixel", "--max-positions", 48, *options)
    assert read_state(tmp_path / "run/checkpoint_best.pt")["cfg"]["model"]["patch_size"] == side

    sizes = "--hidden-size 48 --num-hidden-layers 1 --intermediate-size 96".split()
    message = fairseq(toy_data, "--finetune-from-model", checkpoint, *sizes)
    assert message.startswith(f"the data has patches of 16 x 16 pixels, the model reads {side} x {side}")
    message = fairseq(toy_data, "--patch-size", side)
    assert f"render the data with --patch-size {side}" in message
    message = fairseq(folder / "data", "--finetune-from-model", checkpoint, "--patch-size", 16)
    assert f"--patch-size 16 (the checkpoint: {side})" in message
