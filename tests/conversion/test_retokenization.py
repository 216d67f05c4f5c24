"""Another tokenizer for a trained model."""

import pytest
import torch
from fairseq_runs import train
from refusals import refusal, script
from toy_corpus import MAX_PATCHES, TOY_TRAINING, documents

from pixelgpt_fairseq.checkpoints.loading import load_checkpoint
from pixelgpt_fairseq.data.tokens import Tokenizer, train_tokenizer
from pixelgpt_fairseq.preprocessing.binarize import binarize
from pixelgpt_fairseq.rendering import RendererConfig

RUSSIAN = ["привет мир это текст", "ещё один текст о мире", "a bit of the text in English"] * 40


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    """A tokenizer of English and Russian, some pieces of which the toy corpus' has, too."""
    path = tmp_path_factory.mktemp("tokenizer") / "new.model"
    path.write_bytes(train_tokenizer(iter([*documents(), *RUSSIAN]), 450).serialized)
    return path


@pytest.fixture(scope="module")
def retokenized(checkpoint, tokenizer, tmp_path_factory):
    out = tmp_path_factory.mktemp("retokenized") / "out.pt"
    script("convert_checkpoint")(["retokenize", str(checkpoint), "--tokenizer", str(tokenizer), str(out)])
    return out


def spelled(tokenizer):
    return [tokenizer.model.id_to_piece(i) for i in range(len(tokenizer))]


def test_rows_are_those_of_the_same_pieces_or_means_of_what_they_are_made_of(checkpoint, retokenized, tokenizer):
    before, after = load_checkpoint(checkpoint), load_checkpoint(retokenized)
    new, old = Tokenizer.load(tokenizer), before.tokenizer
    assert after.tokenizer.sha256 == new.sha256 != old.sha256
    assert after.model.vocab_size == len(new) == 450
    assert after.model.data_settings["tokenizer_sha256"] == new.sha256
    pieces = {piece: i for i, piece in enumerate(spelled(old))}
    ours, theirs = (each.model.state_dict() for each in (after, before))
    kept = made = 0
    for i, piece in enumerate(spelled(new)):
        for name in ("model.embed_tokens.weight", "lm_token_head.weight"):
            if piece in pieces:
                assert torch.equal(ours[name][i], theirs[name][pieces[piece]])
                kept += 1
            else:
                text = piece.replace("▁", " ")
                # After a letter that is no part of it, the piece stands within a word.
                ids = old(f"{text[1:]}") if text.startswith(" ") else old(f"\n{text}")[len(old("\n")) :]
                torch.testing.assert_close(ours[name][i], theirs[name][ids].mean(0))
                made += 1
    assert kept > 500
    assert made > 100
    for name in ours:
        if name not in ("model.embed_tokens.weight", "lm_token_head.weight"):
            assert torch.equal(ours[name], theirs[name])


def test_a_new_spelling_of_the_same_tokenizer_changes_nothing(checkpoint, tmp_path):
    held = load_checkpoint(checkpoint)
    (tmp_path / "same.model").write_bytes(held.tokenizer.serialized)
    script("convert_checkpoint")(
        ["retokenize", str(checkpoint), "--tokenizer", str(tmp_path / "same.model"), str(tmp_path / "out.pt")]
    )
    again = load_checkpoint(tmp_path / "out.pt").model.state_dict()
    assert all(torch.equal(again[name], weight) for name, weight in held.model.state_dict().items())


def test_training_goes_on_with_the_new_tokens(checkpoint, retokenized, tokenizer, tmp_path):
    new = Tokenizer.load(tokenizer)
    for split, texts in (("train", documents() + RUSSIAN), ("valid", documents(5))):
        (tmp_path / f"{split}.txt").write_text("\n\n".join(texts))
        config = RendererConfig(max_patches=MAX_PATCHES)
        binarize([tmp_path / f"{split}.txt"], tmp_path / "data", split, config, new, progress=False)
    options = ["--modalities", "text", "--max-update", 2, "--finetune-from-model", retokenized, "--arch", "pixelgpt"]
    sizes = {"--hidden-size", "--num-hidden-layers", "--intermediate-size"}
    given = [part for i, part in enumerate(TOY_TRAINING) if part not in sizes and TOY_TRAINING[i - 1] not in sizes]
    losses = train(tmp_path / "data", *given, *options, "--save-dir", tmp_path / "run").losses()
    assert len(losses) == 2
    model = load_checkpoint(tmp_path / "run" / "checkpoint_last.pt").model
    assert (model.vocab_size, model.config.hidden_size) == (450, 48)


def test_what_cannot_be_retokenized_is_refused(checkpoint, retokenized, tokenizer, tmp_path):
    main = script("convert_checkpoint")
    given = ["--tokenizer", tokenizer, tmp_path / "out.pt"]
    state = torch.load(checkpoint, weights_only=True)
    del state["task_state"]["tokenizer"]
    torch.save(state, tmp_path / "without.pt")
    assert "has no tokenizer, which tells" in refusal(main, "retokenize", tmp_path / "without.pt", *given)
    for name in ("model.embed_tokens.weight", "lm_token_head.weight"):
        del state["model"][name]
    torch.save(state, tmp_path / "pixels.pt")
    assert "reads no tokens" in refusal(main, "retokenize", tmp_path / "pixels.pt", *given)
    assert "already there" in refusal(main, "retokenize", checkpoint, "--tokenizer", tokenizer, retokenized)
    assert "no such file" in refusal(main, "retokenize", checkpoint, "--tokenizer", tmp_path / "absent", given[-1])
    assert not (tmp_path / "out.pt").exists()
