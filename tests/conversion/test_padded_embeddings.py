"""Token embeddings with more rows than the tokenizer has tokens: kept bit for bit, in the loss, and never predicted."""

import json

import pytest
import torch
import torch.nn.functional as F
from fairseq_runs import train, validate
from naive import small_model
from safetensors.torch import load_file
from toy_corpus import TOY_TRAINING

from pixelgpt_fairseq.checkpoints.loading import load_checkpoint
from pixelgpt_fairseq.checkpoints.released import load_released, save_released
from pixelgpt_fairseq.conversion.released_folders import export_released, import_released
from pixelgpt_fairseq.criterions.patch_token_loss import token_head_loss
from pixelgpt_fairseq.data.data_folder import TOKENIZER_FILE, DataFolder
from pixelgpt_fairseq.errors import UserError

EXTRA = 48
TOKENS = torch.tensor([[1, 5, 9, 3, 399]])


@pytest.fixture(params=[False, True], ids=["", "tied"])
def folder(request, tmp_path, toy_data):
    """A released folder whose embedding is padded to a multiple of 64, the padding much likelier than any token."""
    tokenizer = DataFolder(toy_data).tokenizer()
    model = small_model(vocab_size=len(tokenizer) + EXTRA, tie_word_embeddings=request.param)
    with torch.no_grad():
        model._token_head_weight()[len(tokenizer) :] *= 20
    save_released(model, tmp_path / "released")
    (tmp_path / "released" / TOKENIZER_FILE).write_bytes(tokenizer.serialized)
    assert json.loads((tmp_path / "released/config.json").read_text())["vocab_size"] == 448
    return tmp_path / "released"


def full_logits(model, tokens):
    """Logits of all rows, as the published code computes them."""
    return model(tokens=tokens, token_head=lambda hidden, weight: F.linear(hidden, weight)).token_logits


@torch.no_grad()
def test_extra_rows_are_never_predicted(folder, tmp_path):
    import_released(folder, tmp_path / "model.pt", progress=False)
    for model in (load_released(folder), load_checkpoint(folder).model, load_checkpoint(tmp_path / "model.pt").model):
        assert (model.vocab_size, model.config.extra_token_rows) == (400, EXTRA)
        logits, full = model(tokens=TOKENS).token_logits, full_logits(model, TOKENS)
        assert (full.argmax(-1) >= 400).any()  # they would be
        assert (logits.argmax(-1) < 400).all()
        torch.testing.assert_close(logits, full[..., :400])


@torch.no_grad()
def test_the_loss_is_that_of_the_softmax_over_all_rows(folder):
    model = load_released(folder)
    output = model(tokens=TOKENS, token_head=lambda *head: token_head_loss(TOKENS, None, *head))
    expected = F.cross_entropy(full_logits(model, TOKENS)[0, :-1], TOKENS[0, 1:], reduction="sum")
    torch.testing.assert_close(output.token_logits.sum, expected)


def test_they_come_back_bit_for_bit_also_after_training(folder, tmp_path, toy_data):
    import_released(folder, tmp_path / "model.pt", progress=False)
    export_released(tmp_path / "model.pt", tmp_path / "again", progress=False)
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()
    architecture = ["--hidden-size", "--num-hidden-layers", "--intermediate-size", "--arch"]
    options = list(TOY_TRAINING)
    for name in architecture:  # those of the checkpoint
        del options[options.index(name) : options.index(name) + 2]
    options += ["--arch", "pixelgpt", "--lr", "0", "--max-update", 1, "--save-dir", tmp_path / "run"]
    train(toy_data, *options, "--finetune-from-model", tmp_path / "model.pt", "--disable-validation")
    export_released(tmp_path / "run/checkpoint_last.pt", tmp_path / "trained", progress=False)
    ours, theirs = (load_file(path / "model.safetensors") for path in (tmp_path / "trained", folder))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    settings = json.loads((tmp_path / "trained/config.json").read_text())
    assert (settings["vocab_size"], settings["extra_token_rows"]) == (448, EXTRA)
    validated = "--user-dir pixelgpt_fairseq --task rendered_pretraining --cpu --batch-size 4 --num-workers 0".split()
    validate(toy_data, *validated, "--path", tmp_path / "run/checkpoint_last.pt")


def test_a_model_for_pixels_alone_is_imported_too(tmp_path, toy_data):
    tokenizer = DataFolder(toy_data).tokenizer()
    for name, model in (
        ("classifier", small_model(vocab_size=448, num_labels=2)),
        ("pixels", small_model(vocab_size=None)),
    ):
        save_released(model, tmp_path / name)
        (tmp_path / name / TOKENIZER_FILE).write_bytes(tokenizer.serialized)
        import_released(tmp_path / name, tmp_path / f"{name}.pt", progress=False)
        assert load_checkpoint(tmp_path / f"{name}.pt").model.uses_patches


def test_without_a_tokenizer_the_folder_says_it(tmp_path):
    model = small_model(vocab_size=50, extra_token_rows=14)
    save_released(model, tmp_path / "released")
    again = load_released(tmp_path / "released")
    assert (again.vocab_size, again.config.extra_token_rows) == (50, 14)
    assert len(again.model.embed_tokens.weight) == 64
    settings = json.loads((tmp_path / "released/config.json").read_text())
    for extra in (64, -1, "14"):
        (tmp_path / "released/config.json").write_text(json.dumps(settings | {"extra_token_rows": extra}))
        with pytest.raises(UserError, match=r"extra_token_rows .* is not a valid value"):
            load_released(tmp_path / "released")


@pytest.mark.parametrize("rows", [50, 399, 400 + 1025])
def test_a_tokenizer_of_another_model_is_refused(rows, tmp_path, toy_data):
    save_released(small_model(vocab_size=rows), tmp_path / "released")
    (tmp_path / "released" / TOKENIZER_FILE).write_bytes(DataFolder(toy_data).tokenizer().serialized)
    with pytest.raises(UserError, match=f"has 400 tokens, the model's embedding {rows:,}"):
        import_released(tmp_path / "released", tmp_path / "model.pt", progress=False)


def test_numbers_of_rows_that_cannot_be_are_refused(folder, tmp_path):
    import_released(folder, tmp_path / "model.pt", progress=False)
    state = torch.load(tmp_path / "model.pt", weights_only=True)
    for extra in (-1, 448):
        state["cfg"]["model"]["extra_token_rows"] = extra
        torch.save(state, tmp_path / "bad.pt")
        with pytest.raises(UserError, match=f"{extra} extra rows in an embedding of 448"):
            load_checkpoint(tmp_path / "bad.pt")
