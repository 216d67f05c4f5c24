import numpy as np
import pytest
import torch
import torch.nn.functional as F
from naive import CONFIG, VOCABULARY, naive_hidden, small_model
from shared_fixtures import shared

from pixelgpt_fairseq.checkpoints.released import load_released
from pixelgpt_fairseq.data.patches import gray_to_rgb_patches, normalize_patches, patchify, unpatchify
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.models import PixelGPTConfig, PixelGPTModel, decoder


def right_padded(lengths, width):
    return torch.arange(width) < torch.tensor(lengths).unsqueeze(1)


def random_input(rows=3, patches=9, tokens=7):
    torch.manual_seed(2)
    return (
        torch.randint(0, 256, (rows, patches, 256), dtype=torch.uint8),
        torch.randint(0, VOCABULARY, (rows, tokens)),
    )


def fixture(name):
    arrays = np.load(shared(f"reference/model/{name}"))
    return {key: torch.from_numpy(array) for key, array in arrays.items()}


def assert_close(ours, theirs, tolerance=1e-5):
    # On a GPU, batches of other sizes take other kernels, which add up in another order.
    tolerance = tolerance * 10 if ours.is_cuda else tolerance
    torch.testing.assert_close(ours.double(), theirs.double(), rtol=0, atol=tolerance)


# The published code's outputs


@torch.no_grad()
@pytest.mark.parametrize("form", ["rgb patches", "gray patches", "strips", "floats"])
def test_patch_predictions_and_loss_are_those_of_the_published_code(form):
    expected = fixture("causal_lm_io.npz")
    model = load_released(shared("reference/model/causal_lm"))
    patches = {
        "rgb patches": patchify(expected["pixels"]),
        "gray patches": patchify(expected["pixels"][:, :1]),
        "strips": expected["pixels"],
        "floats": patchify(expected["pixels"]).float() / 255,
    }[form]
    mask = expected["patch_mask"]
    predictions = model(patches=patches, patch_mask=mask).patch_predictions
    in_use = mask.bool()
    assert_close(predictions[in_use], expected["logits_pixel"][in_use])
    assert predictions[~in_use].abs().max() == 0
    targets = normalize_patches(patchify(expected["pixels"]))
    errors = (predictions[:, :-1] - targets[:, 1:]).pow(2).mean(-1)
    assert_close(errors[in_use[:, 1:]].mean(), expected["loss_pixel"])


@torch.no_grad()
def test_token_logits_and_loss_are_those_of_the_published_code():
    expected = fixture("causal_lm_io.npz")
    model = load_released(shared("reference/model/causal_lm"))
    logits = model(tokens=expected["input_ids"], token_mask=expected["token_mask"]).token_logits
    in_use = expected["token_mask"].bool()
    assert_close(logits[in_use], expected["logits_token"][in_use])
    loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), expected["labels"][:, 1:].flatten(), ignore_index=-100)
    assert_close(loss, expected["loss_token"])


@torch.no_grad()
@pytest.mark.parametrize("modality", ["pixel", "text", "pair"])
def test_class_logits_are_those_of_the_published_code(modality):
    expected = fixture("classifier_io.npz")
    model = load_released(shared("reference/model/classifier"))
    given = {}
    if modality != "text":
        given |= {"patches": expected["pixels"], "patch_mask": expected["patch_mask"]}
    if modality != "pixel":
        given |= {"tokens": expected["input_ids"], "token_mask": expected["token_mask"]}
    assert_close(model(**given).class_logits, expected[f"logits_{modality}_modality"])


# Other shapes, against the naive rendition

SHAPES = {
    "as released": {},
    "no grouped queries": {"num_key_value_heads": 4},
    "one key-value head": {"num_key_value_heads": 1},
    "other theta and eps": {"rope_theta": 500.0, "rms_norm_eps": 1e-2},
    "tied embeddings": {"tie_word_embeddings": True},
    "one channel": {"num_channels": 1},
}


@torch.no_grad()
@pytest.mark.parametrize("options", SHAPES.values(), ids=SHAPES.keys())
def test_a_padded_pair_equals_the_naive_rendition(options):
    model = small_model(**options)
    patches, tokens = random_input()
    patch_mask, token_mask = right_padded([9, 4, 6], 9), right_padded([3, 7, 5], 7)
    output = model(patches, patch_mask, tokens, token_mask, strip_patches=20)
    channels = model.config.num_channels
    strips = unpatchify(gray_to_rgb_patches(patches, channels), channels) / 255
    hidden = naive_hidden(model, strips, patch_mask, tokens, token_mask, strip_patches=20)
    token_head = model.model.embed_tokens if model.config.tie_word_embeddings else model.lm_token_head
    predictions = hidden[:, :9] @ model.lm_pixel_head.weight.double().T
    logits = hidden[:, 9:] @ token_head.weight.double().T
    assert_close(output.patch_predictions[patch_mask], predictions[patch_mask], 1e-4)
    assert_close(output.token_logits[token_mask], logits[token_mask], 1e-4)


@torch.no_grad()
def test_a_classifier_reads_the_last_position_in_use():
    model = small_model(num_labels=3)
    patches, tokens = random_input()
    patch_mask, token_mask = right_padded([9, 4, 6], 9), right_padded([3, 7, 5], 7)
    strips = unpatchify(gray_to_rgb_patches(patches)) / 255
    score = model.score.weight.double().T
    for given, last in (
        ({"strips": strips, "patch_mask": patch_mask}, [8, 3, 5]),
        ({"tokens": tokens, "token_mask": token_mask}, [2, 6, 4]),
        ({"strips": strips, "patch_mask": patch_mask, "tokens": tokens, "token_mask": token_mask}, [11, 15, 13]),
    ):
        expected = naive_hidden(model, **given)[torch.arange(3), last] @ score
        ours = {"patches" if key == "strips" else key: value for key, value in given.items()}
        output = model(**ours)
        assert_close(output.class_logits, expected, 1e-4)
        assert output.patch_predictions is None
        assert output.token_logits is None


@pytest.mark.parametrize("given", ["patches", "classes"])
def test_repeated_key_value_heads_give_the_same(given, monkeypatch):
    """What a GPU does in float32, where no fast kernel shares key-value heads."""
    patches, _ = random_input()
    model = small_model(num_labels=3 if given == "classes" else None).train()
    results = []
    for repeated in (False, True):
        monkeypatch.setattr(decoder, "needs_equal_heads", lambda q, masked, repeated=repeated: repeated)
        model.zero_grad()
        output = next(
            part for part in model(patches=patches, patch_mask=right_padded([9, 4, 6], 9)) if part is not None
        )
        output.square().mean().backward()
        results.append([output, *(p.grad.clone() for p in model.parameters() if p.grad is not None)])
    for shared_heads, repeated_heads in zip(*results, strict=True):
        torch.testing.assert_close(shared_heads, repeated_heads, rtol=1e-4, atol=1e-4)


def test_attention_trained_in_float32_is_that_of_half_precision(monkeypatch):
    patches, _ = random_input()
    model = small_model().bfloat16().train()
    exact, *found = (
        gradients(model, patches, monkeypatch, dtype, in_float32)
        for dtype, in_float32 in ((torch.float32, False), (torch.bfloat16, True), (torch.bfloat16, False))
    )
    for name, gradient in exact.items():
        errors = [(each[name].float() - gradient).norm() / gradient.norm() for each in found]
        assert all(each[name].dtype == torch.bfloat16 for each in found)
        assert max(errors) < 0.05, name


def gradients(model, patches, monkeypatch, dtype, in_float32):
    monkeypatch.setattr(decoder, "trains_faster_in_float32", lambda k: in_float32)
    model.to(dtype).zero_grad()
    model(patches=patches).patch_predictions.float().square().mean().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}


@pytest.mark.parametrize(
    ("dtype", "length", "trained", "expected"),
    [
        (torch.bfloat16, 20, True, True),
        (torch.bfloat16, 20, False, False),  # only the backward kernel is slow
        (torch.bfloat16, 512, True, False),
        (torch.float32, 20, True, False),
        (torch.float64, 20, True, False),
    ],
)
def test_short_rows_of_half_precision_are_attended_to_in_float32(dtype, length, trained, expected):
    k = torch.zeros(1, length, 1, 8, dtype=dtype, device="cpu", requires_grad=trained)
    assert decoder.trains_faster_in_float32(k) == expected


def test_rotary_tables_have_the_type_of_queries_under_autocast(monkeypatch):
    patches, _ = random_input()
    found = []
    tables = decoder.rotary_tables

    def noted(*arguments):
        found.append(arguments[-1])
        return tables(*arguments)

    monkeypatch.setattr(decoder, "rotary_tables", noted)
    with torch.autocast(patches.device.type, dtype=torch.bfloat16):
        small_model()(patches=patches)
    small_model()(patches=patches)
    assert found == [torch.bfloat16, torch.float32]


# Padding


@torch.no_grad()
@pytest.mark.parametrize("holes", [False, True])
def test_packed_rows_equal_rows_one_by_one(holes):
    model = small_model()
    patches, tokens = random_input()
    patch_mask, token_mask = right_padded([9, 4, 6], 9), right_padded([3, 7, 5], 7)
    if holes:  # nothing renders such strips, but a mask may have them
        patch_mask[:, [1, 3]] = False
        token_mask[:, 0] = False
    together = model(patches, patch_mask, tokens, token_mask)
    for row in range(3):
        one = slice(row, row + 1)
        alone = model(patches[one], patch_mask[one], tokens[one], token_mask[one])
        assert_close(together.patch_predictions[one], alone.patch_predictions)
        assert_close(together.token_logits[one], alone.token_logits)
    if not holes:
        cut = model(patches[1:2, :4], None, tokens[1:2], None, strip_patches=9)
        assert_close(together.patch_predictions[1:2, :4], cut.patch_predictions)
        assert_close(together.token_logits[1:2], cut.token_logits)


@torch.no_grad()
def test_padding_is_attended_by_nobody():
    model = small_model()
    patches, tokens = random_input()
    patch_mask, token_mask = right_padded([7, 4, 6], 9), right_padded([3, 6, 5], 7)
    before = model(patches, patch_mask, tokens, token_mask)
    patches[~patch_mask], tokens[~token_mask] = 7, 3
    after = model(patches, patch_mask, tokens, token_mask)
    assert torch.equal(before.patch_predictions, after.patch_predictions)
    assert torch.equal(before.token_logits, after.token_logits)
    assert after.patch_predictions.shape[1] == 9
    assert after.patch_predictions[~patch_mask].abs().max() == 0
    assert after.token_logits[~token_mask].abs().max() == 0


@torch.no_grad()
def test_a_row_without_anything_in_use_harms_no_other():
    model = small_model()
    patches, _ = random_input()
    output = model(patches, right_padded([0, 4, 6], 9)).patch_predictions
    assert_close(output[2, :6], model(patches[2:, :6]).patch_predictions[0])
    assert output[0].abs().max() == 0


@torch.no_grad()
def test_text_of_a_pair_starts_at_the_strip_width():
    model = small_model()
    patches, tokens = random_input()
    at_width = model(patches=patches, tokens=tokens).token_logits
    assert torch.equal(at_width, model(patches=patches, tokens=tokens, strip_patches=9).token_logits)
    assert not torch.allclose(at_width, model(patches=patches, tokens=tokens, strip_patches=30).token_logits)


# Training


def loss_of(model, **given):
    return sum(part.float().pow(2).sum() for part in model(**given) if part is not None)


@pytest.mark.parametrize("num_labels", [None, 3])
@pytest.mark.parametrize("tie", [False, True])
@pytest.mark.parametrize("given", ["patches", "tokens"])
def test_parameters_of_an_absent_modality_get_zero_gradients(given, tie, num_labels):
    model = small_model(num_labels=num_labels, tie_word_embeddings=tie).train()
    patches, tokens = random_input()
    idle = "token" if given == "patches" else "pixel_head|embed_patches"
    with torch.no_grad():  # whatever they hold
        for name, parameter in model.named_parameters():
            if any(word in name for word in idle.split("|")):
                parameter.fill_(float("nan"))
    loss_of(model, **{given: patches if given == "patches" else tokens}).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        expect_zero = any(word in name for word in idle.split("|"))
        assert bool(parameter.grad.abs().max() == 0) is expect_zero, name


@pytest.fixture
def process_group(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("flag", [False, True])
def test_data_parallel_updates_of_one_modality_need_no_search_for_unused_parameters(process_group, flag):
    model = torch.nn.parallel.DistributedDataParallel(small_model(checkpoint_activations=flag).train())
    patches, tokens = random_input()
    mask = right_padded([9, 4, 6], 9)
    for given in ({"patches": patches, "patch_mask": mask}, {"tokens": tokens}, {"patches": patches, "tokens": tokens}):
        loss_of(model, **given).backward()  # raises where the last update left a parameter out
    with torch.no_grad():
        assert model(patches=patches).patch_predictions.shape == (3, 9, 768)


def test_activation_checkpointing_gives_the_same_gradients():
    patches, tokens = random_input()
    mask = right_padded([9, 4, 6], 9)
    gradients = []
    for flag in (False, True):
        model = small_model(checkpoint_activations=flag, dropout=0.1).train()
        torch.manual_seed(3)
        loss_of(model, patches=patches, patch_mask=mask, tokens=tokens).backward()
        gradients.append([p.grad for p in model.parameters()])
    for plain, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, recomputed)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_finite_and_close(dtype):
    patches, tokens = random_input()
    masks = {"patch_mask": right_padded([9, 4, 6], 9), "token_mask": right_padded([7, 7, 5], 7)}
    model = PixelGPTModel(PixelGPTConfig(**CONFIG), vocab_size=VOCABULARY).train()
    full = model(patches=patches, tokens=tokens, **masks)
    half_model = PixelGPTModel(PixelGPTConfig(**CONFIG), vocab_size=VOCABULARY).train()
    half_model.load_state_dict(model.state_dict())
    half_model = half_model.to(dtype)
    half = half_model(patches=patches, tokens=tokens, **masks)
    assert half.patch_predictions.dtype == half.token_logits.dtype == dtype
    for ours, theirs in zip(half[:2], full[:2], strict=True):
        assert (ours.float() - theirs).abs().max() < 0.02 * theirs.abs().max()
    loss_of(half_model, patches=patches, tokens=tokens, **masks).backward()
    assert all(torch.isfinite(p.grad).all() for p in half_model.parameters())


def test_autocast_keeps_parameters_and_gives_finite_gradients():
    patches, _ = random_input()
    model = PixelGPTModel(PixelGPTConfig(**CONFIG), vocab_size=VOCABULARY).train()
    with torch.autocast(patches.device.type, dtype=torch.bfloat16):
        loss = loss_of(model, patches=patches)
    loss.backward()
    assert all(p.dtype == torch.float32 and torch.isfinite(p.grad).all() for p in model.parameters())


# Limits and mistakes


def test_positions_beyond_the_limit_are_refused():
    model = small_model()
    patches, tokens = random_input()
    assert model.max_positions() == 64
    model(patches=patches, tokens=tokens, strip_patches=57)
    with pytest.raises(UserError, match=r"position 64 is beyond the model's 64 \(--max-position-embeddings\)"):
        model(patches=patches, tokens=tokens, strip_patches=58)
    with pytest.raises(UserError, match="position 64"):
        model(patches=torch.zeros(1, 65, 256))
    # a wide strip of which little is in use is no longer than that
    model(patches=torch.zeros(1, 65, 256), patch_mask=right_padded([9], 65))


def test_a_model_refuses_what_it_was_not_built_to_read():
    patches, tokens = random_input()
    with pytest.raises(UserError, match="reads no patches"):
        small_model(uses_patches=False)(patches=patches)
    with pytest.raises(UserError, match="reads no tokens"):
        small_model(vocab_size=None)(tokens=tokens)
    with pytest.raises(UserError, match="patches, tokens or both"):
        small_model(uses_patches=False, vocab_size=None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_size": 30}, "--hidden-size 30 is not divisible by --num-attention-heads 4"),
        ({"num_key_value_heads": 3}, "--num-attention-heads 4 is not divisible by --num-key-value-heads 3"),
        ({"hidden_size": 36}, "odd head size"),
        ({"num_hidden_layers": 0}, "--num-hidden-layers 0"),
    ],
)
def test_sizes_that_do_not_fit_together_are_told_in_one_line(options, message):
    with pytest.raises(UserError, match=message):
        PixelGPTModel(PixelGPTConfig(**(CONFIG | options)))


def test_initial_weights_follow_the_paper():
    torch.manual_seed(0)
    model = PixelGPTModel(PixelGPTConfig(hidden_size=256, num_hidden_layers=1, num_attention_heads=8), vocab_size=2000)
    embedding = model.model.embed_patches["patch_embeddings"]
    assert abs(model.model.embed_tokens.weight.std() - 0.02) < 1e-3
    assert abs(model.lm_pixel_head.weight.std() - 0.02) < 1e-3
    bound = (6 / (256 + 768)) ** 0.5
    assert 0.99 * bound < embedding.projection.weight.abs().max() <= bound
    assert embedding.projection.bias.abs().max() == 0


@pytest.mark.parametrize(("half", "pair_patches"), [("patches", 8), ("tokens", 8), ("patches", None), ("both", 8)])
def test_a_classifier_of_pairs_warns_once_of_half_a_pair(half, pair_patches, caplog):
    model = small_model(num_labels=2).eval()
    model.data_settings = {"pair_patches": pair_patches}
    patches, tokens = random_input(patches=4, tokens=3)
    inputs = {"patches": patches, "tokens": tokens}
    for _ in range(2):
        model(**inputs if half == "both" else {half: inputs[half]})
    warned = [record.message for record in caplog.records if f"given {half} alone" in record.message]
    assert len(warned) == (half != "both" and pair_patches is not None)


def test_a_language_model_of_pairs_may_read_either(caplog):
    model = small_model()
    model.data_settings = {"pair_patches": 8}
    model(patches=random_input()[0])
    assert not caplog.records
