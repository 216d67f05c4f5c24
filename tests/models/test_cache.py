"""What a key-value cache gives must be what the model computes from the whole row at once."""

import json

import numpy as np
import pytest
import torch
from naive import VOCABULARY, small_model
from shared_fixtures import shared

from pixelgpt_fairseq.checkpoints.released import load_released
from pixelgpt_fairseq.data.patches import patchify
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.models.cache import KeyValueCache

STRIP = 20  # the width at which a pair's text begins
SHAPES = {
    "as released": {},
    "no grouped queries": {"num_key_value_heads": 4},
    "one key-value head": {"num_key_value_heads": 1},
    "tied embeddings": {"tie_word_embeddings": True},
    "other theta": {"rope_theta": 500.0},
}


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


def random_rows(patches=9, tokens=7, rows=3):
    torch.manual_seed(2)
    return (
        torch.randint(0, 256, (rows, patches, 256), dtype=torch.uint8),
        torch.randint(0, VOCABULARY, (rows, tokens)),
    )


def in_use(lengths, width):
    return torch.arange(width) < torch.tensor(lengths).unsqueeze(1)


def assert_close(ours, theirs, tolerance=1e-5):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance)


def one_by_one(model, cache, patches=None, tokens=None):
    """The predictions after each of the columns, given one at a time."""
    if patches is not None:
        steps = [model(patches=patches[:, i : i + 1], cache=cache).patch_predictions for i in range(patches.shape[1])]
    else:
        steps = [model(tokens=tokens[:, i : i + 1], cache=cache).token_logits for i in range(tokens.shape[1])]
    return torch.cat(steps, dim=1)


@pytest.mark.parametrize("read", [1, 4])
@pytest.mark.parametrize("modality", ["patches", "tokens"])
@pytest.mark.parametrize("options", SHAPES.values(), ids=SHAPES.keys())
def test_every_position_is_as_without_a_cache(options, modality, read):
    model = small_model(**options)
    row = dict(zip(("patches", "tokens"), random_rows(), strict=True))[modality]
    output = "patch_predictions" if modality == "patches" else "token_logits"
    expected = getattr(model(**{modality: row}), output)
    cache = KeyValueCache(capacity=row.shape[1])
    first = getattr(model(**{modality: row[:, :read]}, cache=cache), output)
    assert_close(first, expected[:, :read])
    assert_close(one_by_one(model, cache, **{modality: row[:, read:]}), expected[:, read:])
    assert cache.columns == row.shape[1]


@pytest.mark.parametrize("read_tokens", [0, 1, 3])
def test_the_text_of_a_pair_begins_at_the_strip_width(read_tokens):
    model, (patches, tokens) = small_model(), random_rows()
    expected = model(patches=patches, tokens=tokens, strip_patches=STRIP).token_logits
    cache = KeyValueCache()
    prompt = {"tokens": tokens[:, :read_tokens]} if read_tokens else {}
    model(patches=patches, strip_patches=STRIP, cache=cache, **prompt)
    assert_close(one_by_one(model, cache, tokens=tokens[:, read_tokens:]), expected[:, read_tokens:])
    assert cache.last_position == STRIP + 6


def test_text_begins_after_the_strip_if_no_width_is_given():
    model, (patches, tokens) = small_model(), random_rows()
    cache = KeyValueCache()
    model(patches=patches, patch_mask=in_use([9, 4, 6], 9), cache=cache)
    expected = model(patches=patches, patch_mask=in_use([9, 4, 6], 9), tokens=tokens).token_logits
    assert_close(one_by_one(model, cache, tokens=tokens), expected)


@pytest.mark.parametrize("lengths", [[5, 1, 3], [0, 4, 2], [4, 4, 4]])
def test_rows_of_different_lengths_are_continued_as_each_alone(lengths):
    model, (patches, tokens) = small_model(), random_rows()
    for key, rows, output in (("patches", patches, "patch_predictions"), ("tokens", tokens, "token_logits")):
        width = max(lengths)
        cache = KeyValueCache(capacity=3)  # too small: it grows
        model(
            **{key: rows[:, :width], f"{'patch' if key == 'patches' else 'token'}_mask": in_use(lengths, width)},
            cache=cache,
        )
        following = torch.stack([row[length : length + 2] for row, length in zip(rows, lengths, strict=True)])
        found = one_by_one(model, cache, **{key: following})
        for row, length in enumerate(lengths):
            alone = getattr(model(**{key: rows[row : row + 1, : length + 2]}), output)
            assert_close(found[row], alone[0, length:])


def test_pairs_of_different_lengths_are_continued_as_each_alone():
    model, (patches, tokens) = small_model(), random_rows()
    strips, texts = [9, 4, 6], [2, 4, 0]
    cache = KeyValueCache()
    model(patches, in_use(strips, 9), tokens[:, :4], in_use(texts, 4), strip_patches=STRIP, cache=cache)
    following = torch.stack([row[length : length + 3] for row, length in zip(tokens, texts, strict=True)])
    found = one_by_one(model, cache, tokens=following)
    for row, (strip, text) in enumerate(zip(strips, texts, strict=True)):
        one = slice(row, row + 1)
        alone = model(patches[one, :strip], None, tokens[one, : text + 3], strip_patches=STRIP).token_logits
        assert_close(found[row], alone[0, text:])


@pytest.mark.parametrize("lengths", [[5, 1, 3], [3, 3, 3]])
def test_several_positions_at_a_time_equal_one_by_one(lengths):
    model, (_, tokens) = small_model(), random_rows(tokens=12)
    caches = [KeyValueCache(), KeyValueCache()]
    for cache in caches:
        model(tokens=tokens[:, :5], token_mask=in_use(lengths, 5), cache=cache)
    together = model(tokens=tokens[:, 5:], cache=caches[0]).token_logits
    assert_close(together, one_by_one(model, caches[1], tokens=tokens[:, 5:]))


@pytest.mark.parametrize("order", [[2, 0, 0], [1, 2], [0, 0, 1, 1, 2, 2], [0, 1, 2]])
def test_reordered_rows_continue_those_that_they_are_copies_of(order):
    model, (_, tokens) = small_model(), random_rows(tokens=9)
    cache = KeyValueCache(capacity=9)
    model(tokens=tokens[:, :5], token_mask=in_use([5, 2, 4], 5), cache=cache)
    cache.reorder(torch.tensor(order))
    again = KeyValueCache()
    model(tokens=tokens[order, :5], token_mask=in_use([5, 2, 4], 5)[order], cache=again)
    following = tokens[order, 5:]
    assert_close(*(one_by_one(model, held, tokens=following) for held in (cache, again)))


def test_rows_of_equal_length_are_continued_without_a_mask_and_without_new_memory(monkeypatch):
    model, (_, tokens) = small_model(), random_rows()
    cache, masks = KeyValueCache(capacity=7), []
    model(tokens=tokens[:, :4], cache=cache)
    before = cache.layer(0).keys.data_ptr()
    attention = torch.nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(
        "torch.nn.functional.scaled_dot_product_attention",
        lambda *args, **options: masks.append(options["attn_mask"]) or attention(*args, **options),
    )
    one_by_one(model, cache, tokens=tokens[:, 4:])
    assert masks == [None] * 6  # 3 positions in 2 layers
    assert cache.layer(0).keys.data_ptr() == before


def test_widths_that_are_rounded_for_a_gpu_leave_nothing_in_the_cache():
    model, (patches, tokens) = small_model(), random_rows()
    model.rounds_widths = True
    cache = KeyValueCache()
    model(patches, in_use([9, 4, 6], 9), strip_patches=STRIP, cache=cache)
    expected = model(patches, in_use([9, 4, 6], 9), tokens, strip_patches=STRIP).token_logits
    assert_close(one_by_one(model, cache, tokens=tokens), expected)


def test_what_cannot_be_continued_is_named():
    patches, tokens = random_rows(tokens=64)
    cache = KeyValueCache()
    model = small_model()
    model(tokens=tokens, cache=cache)
    with pytest.raises(UserError, match="position 64 is beyond the model's 64"):
        model(tokens=tokens[:, :1], cache=cache)
    assert cache.columns == 64
    with pytest.raises(UserError, match="a classifier predicts no patch and no token"):
        small_model(num_labels=2)(tokens=tokens, cache=KeyValueCache())
    with pytest.raises(UserError, match="a strip of 9 patches is longer than the strip width of 8"):
        model(patches=patches, tokens=tokens[:, :2], strip_patches=8)
    cache = KeyValueCache()
    small_model(uses_patches=False)(tokens=tokens[:, :3], cache=cache)
    with pytest.raises(UserError, match="reads no patches"):
        small_model(uses_patches=False)(patches=patches, cache=cache)


# The published code's weights and inputs


def test_the_released_layout_gives_the_same_with_a_cache():
    model = load_released(shared("reference/model/causal_lm"))
    arrays = np.load(shared("reference/model/causal_lm_io.npz"))
    expected = {name: torch.from_numpy(arrays[name]) for name in arrays}
    for key, output in (("patches", "logits_pixel"), ("tokens", "logits_token")):
        rows = patchify(expected["pixels"]) if key == "patches" else expected["input_ids"]
        used = expected["patch_mask" if key == "patches" else "token_mask"].bool()
        for row, length in enumerate(used.sum(1).tolist()):
            cache, one = KeyValueCache(), rows[row : row + 1, :length]
            model(**{key: one[:, :1]}, cache=cache)
            found = one_by_one(model, cache, **{key: one[:, 1:]})
            assert_close(found[0], expected[output][row, 1:length])
    patches, tokens = patchify(expected["pixels"]), expected["input_ids"]
    whole = model(patches, expected["patch_mask"], tokens, expected["token_mask"])
    cache = KeyValueCache()
    model(patches, expected["patch_mask"], cache=cache)
    found = one_by_one(model, cache, tokens=tokens)
    used = expected["token_mask"].bool()
    assert_close(found[used], whole.token_logits[used])


def test_greedy_continuations_are_those_of_another_implementation():
    model = load_released(shared("reference/model/causal_lm"))
    rows = json.loads(shared("reference/model/generation.json").read_text())["rows"]
    longest = max(len(row["prompt"]) for row in rows)
    prompts = torch.tensor([row["prompt"] + [0] * (longest - len(row["prompt"])) for row in rows])
    lengths = [len(row["prompt"]) for row in rows]
    cache = KeyValueCache(capacity=longest + 40)
    logits = model(tokens=prompts, token_mask=in_use(lengths, longest), cache=cache).token_logits
    logits, found, scores = logits[torch.arange(len(rows)), torch.tensor(lengths) - 1], [], []
    for _ in range(40):
        found.append(logits.argmax(-1))
        scores.append(logits.log_softmax(-1).amax(-1))
        logits = model(tokens=found[-1].unsqueeze(1), cache=cache).token_logits[:, 0]
    for row, tokens, found_scores in zip(rows, torch.stack(found, 1), torch.stack(scores, 1), strict=True):
        assert tokens.tolist() == row["greedy"]
        assert_close(found_scores, torch.tensor(row["log_probabilities"]), 2e-5)
