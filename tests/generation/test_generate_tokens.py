"""Tokens that fairseq's generator adds to prompts must be those of a plain loop without a cache."""

import itertools
import json

import pytest
import torch
from naive import VOCABULARY, small_model
from shared_fixtures import shared

from pixelgpt_fairseq.checkpoints.released import load_released
from pixelgpt_fairseq.data.patches import unpatchify
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.generation import generate_tokens
from pixelgpt_fairseq.generation.sequence_generation import GenerationDictionary, GenerationModel, TokenGenerator
from pixelgpt_fairseq.generation.tokens import continue_prompts

PROMPTS = [[1, 7, 9, 4, 30], [1], [1, 20, 3]]
STRIPS = [9, 4, 6]
WIDTH = 20
NO_END = VOCABULARY - 1  # a token that none of these texts comes to


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


def strips():
    torch.manual_seed(3)
    return torch.randint(0, 256, (3, 9, 256), dtype=torch.uint8), torch.arange(9) < torch.tensor(STRIPS).unsqueeze(1)


def log_probabilities(model, tokens, row=None):
    """Of every next token after *tokens*, which may follow the strip *row*, computed from all of it at once."""
    inputs = {"tokens": torch.tensor([tokens])}
    if row is not None:
        inputs |= {"patches": strips()[0][row : row + 1, : STRIPS[row]], "strip_patches": WIDTH}
    return model(**inputs).token_logits[0, -1].log_softmax(-1)


def plain_greedy(model, prompt, number, row=None, eos=None):
    tokens = list(prompt)
    while len(tokens) < len(prompt) + number and (len(tokens) == len(prompt) or tokens[-1] != eos):
        tokens.append(int(log_probabilities(model, tokens, row).argmax()))
    return tokens[len(prompt) :]


def plain_beam(model, prompt, number, beam):
    """The best of *beam* hypotheses, none of which ends before *number* tokens."""
    held = [(0.0, list(prompt))]
    for _ in range(number):
        following = []
        for score, tokens in held:
            scores = log_probabilities(model, tokens)
            scores[NO_END] = -torch.inf
            following += [(score + float(scores[token]), [*tokens, token]) for token in range(VOCABULARY)]
        held = sorted(following, reverse=True)[:beam]
    return held[0][1][len(prompt) :], held[0][0]


def test_greedy_tokens_are_those_of_a_plain_loop():
    model = small_model()
    found = generate_tokens(model, PROMPTS, 8, eos=NO_END)
    assert found == [plain_greedy(model, prompt, 8) for prompt in PROMPTS]


@pytest.mark.parametrize("prompts", [PROMPTS, [[1]] * 3])
def test_greedy_tokens_after_a_strip_begin_at_the_strip_width(prompts):
    model, (patches, mask) = small_model(), strips()
    found = generate_tokens(model, prompts, 8, patches, mask, strip_patches=WIDTH, eos=NO_END)
    assert found == [plain_greedy(model, prompt, 8, row) for row, prompt in enumerate(prompts)]
    model.data_settings["pair_patches"] = WIDTH  # as a model knows it that was trained on pairs
    assert generate_tokens(model, prompts, 8, patches, mask, eos=NO_END) == found


def test_a_text_ends_with_eos_and_the_others_go_on():
    model = small_model()
    texts = [plain_greedy(model, prompt, 8) for prompt in PROMPTS]
    eos = texts[0][3]
    expected = [plain_greedy(model, prompt, 8, eos=eos) for prompt in PROMPTS]
    assert len(expected[0]) < 8
    assert generate_tokens(model, PROMPTS, 8, eos=eos) == expected


@pytest.mark.parametrize("beam", [2, 5])
def test_beams_are_those_of_a_plain_search(beam):
    model = small_model()
    (hypotheses,) = continue_prompts(model, PROMPTS[:1], 4, beam=beam, eos=NO_END)
    tokens, score = plain_beam(model, PROMPTS[0], 4, beam)
    assert len(hypotheses) == beam
    full = [found for found in hypotheses if found.tokens[-1] != NO_END]
    assert full[0].tokens == tokens
    assert sum(full[0].log_probabilities) == pytest.approx(score, abs=1e-4)
    assert full[0].score == pytest.approx(score / 4, abs=1e-4)


def test_beams_in_a_batch_are_those_of_each_prompt_alone():
    model = small_model()
    together = generate_tokens(model, PROMPTS, 6, beam=4, eos=11)
    assert together == [generate_tokens(model, [prompt], 6, beam=4, eos=11)[0] for prompt in PROMPTS]


def test_sampling_keeps_to_what_is_asked_for():
    model = small_model()
    greedy = generate_tokens(model, PROMPTS, 6, eos=NO_END)
    for options in ({"topk": 1}, {"topp": 1e-6}, {"temperature": 1e-4}):
        assert generate_tokens(model, PROMPTS, 6, sampling=True, eos=NO_END, **options) == greedy
    torch.manual_seed(0)
    first = generate_tokens(model, PROMPTS, 6, sampling=True, eos=NO_END)
    torch.manual_seed(0)
    assert generate_tokens(model, PROMPTS, 6, sampling=True, eos=NO_END) == first != greedy
    found = continue_prompts(model, PROMPTS, 1, sampling=True, topk=3, beam=40, eos=NO_END)
    for prompt, hypotheses in zip(PROMPTS, found, strict=True):
        best = set(log_probabilities(model, prompt).topk(3).indices.tolist())
        assert {hypothesis.tokens[0] for hypothesis in hypotheses} <= best


def test_no_sequence_comes_twice_where_that_is_forbidden():
    model = small_model()
    free, blocked = (generate_tokens(model, PROMPTS, 30, no_repeat_ngram_size=n, eos=NO_END) for n in (0, 2))

    def repeats(tokens):
        pairs = list(itertools.pairwise(tokens))
        return len(pairs) - len(set(pairs))

    assert any(map(repeats, free))
    assert not any(map(repeats, blocked))


def test_a_length_penalty_prefers_longer_or_shorter_texts():
    model = small_model()
    eos = plain_greedy(model, PROMPTS[0], 8)[2]
    lengths = [
        len(generate_tokens(model, PROMPTS[:1], 8, beam=4, length_penalty=penalty, eos=eos)[0]) for penalty in (-5, 5)
    ]
    assert lengths[0] < lengths[1]


def test_fairseqs_prefix_tokens_are_forced():
    model = small_model()
    dictionary = GenerationDictionary.of_size(VOCABULARY, NO_END)
    generator = TokenGenerator([GenerationModel(model, dictionary)], dictionary, beam_size=1, max_len_b=6)
    source = torch.tensor([[1, 7, 9], [1, 20, 3]])
    net_input = {"src_tokens": source, "src_lengths": torch.tensor([3, 3]), "prompt": {"tokens": source}}
    prefix = torch.tensor([[5, 6], [8, dictionary.pad()]])
    found = generator.generate(None, {"net_input": net_input}, prefix_tokens=prefix, bos_token=1)
    texts = [hypotheses[0]["tokens"].tolist() for hypotheses in found]
    assert texts[0] == [5, 6, *plain_greedy(model, [1, 7, 9, 1, 5, 6], 4), NO_END]
    assert texts[1] == [8, *plain_greedy(model, [1, 20, 3, 1, 8], 5), NO_END]


def test_models_may_be_averaged():
    model, other = small_model(), small_model(rope_theta=50.0)
    dictionary = GenerationDictionary.of_size(VOCABULARY, NO_END)
    generator = TokenGenerator(
        [GenerationModel(each, dictionary) for each in (model, other)], dictionary, beam_size=1, max_len_b=1
    )
    source = torch.tensor([[1, 7, 9]])
    net_input = {"src_tokens": source, "src_lengths": torch.tensor([3]), "prompt": {"tokens": source}}
    (((hypothesis, *_)),) = generator.generate(None, {"net_input": net_input}, bos_token=1)
    both = torch.stack([log_probabilities(each, [1, 7, 9, 1]) for each in (model, other)]).exp().mean(0)
    assert hypothesis["tokens"][0] == both.argmax()


def test_strips_may_be_pixels():
    model, patches = small_model(), strips()[0]
    pixels = unpatchify(patches, channels=1)
    assert pixels.shape[1:] == (1, 16, 16 * patches.shape[1])
    prompts = [[1]] * len(patches)
    assert generate_tokens(model, prompts, 5, patches=pixels) == generate_tokens(model, prompts, 5, patches=patches)


def test_a_model_keeps_its_mode():
    model = small_model().train()
    generate_tokens(model, PROMPTS, 2)
    assert model.training


def test_prompts_that_cannot_be_continued_are_named():
    model, (patches, mask) = small_model(), strips()
    generate_tokens(model, [[1] * 60], 5)  # 64 positions: the last token is not read
    refused = {
        r"prompt 1 is empty": {"prompts": [[1], []]},
        r"prompt 0 has token 50, the model's are 0 to 49": {"prompts": [[50]]},
        r"a prompt of 60 positions and 6 new tokens need 65, the model has 64": {
            "prompts": [[1] * 60],
            "max_new_tokens": 6,
        },
        r"max_new_tokens 0: must be greater": {"max_new_tokens": 0},
        r"beam -1: must be": {"beam": -1},
        r"topk and topp .* need sampling": {"topk": 5},
        r"2 strips for 1 prompts": {"patches": patches[:2]},
        r"a strip of 9 patches is longer than the strip width of 8": {
            "prompts": PROMPTS,
            "patches": patches,
            "patch_mask": mask,
            "strip_patches": 8,
        },
        r"prompt 1 is a string: give the ids of its tokens": {"prompts": [[1], "text"]},
        r"patch_mask of shape \[3, 4\]: the patches need \[3, 9\]": {
            "prompts": PROMPTS,
            "patches": patches,
            "patch_mask": mask[:, :4],
        },
        r"patch_mask of shape \[3, 9\]: there are no patches": {"prompts": PROMPTS, "patch_mask": mask},
        r"a prompt of 61 positions": {"patches": patches[:1], "strip_patches": 60},
    }
    for message, arguments in refused.items():
        with pytest.raises(UserError, match=message):
            generate_tokens(model, **({"prompts": [[1]], "max_new_tokens": 5} | arguments))
    with pytest.raises(UserError, match="reads no tokens: it was built for pixels alone"):
        generate_tokens(small_model(vocab_size=None), [[1]], 5)
    with pytest.raises(UserError, match="reads no patches: it was built for text alone"):
        generate_tokens(small_model(uses_patches=False), [[1]], 5, patches[:1])
    with pytest.raises(UserError, match="a classifier predicts no patch and no token"):
        generate_tokens(small_model(num_labels=2), [[1]], 5)
    assert generate_tokens(model, [], 5) == []


def test_continuations_are_those_of_another_implementation():
    model = load_released(shared("reference/model/causal_lm"))
    rows = json.loads(shared("reference/model/generation.json").read_text())["rows"]
    prompts = [row["prompt"] for row in rows]
    assert generate_tokens(model, prompts, 40) == [row["greedy"] for row in rows]
    assert generate_tokens(model, prompts, 12, beam=4) == [row["beam4"] for row in rows]
    for (best,), row in zip(continue_prompts(model, prompts, 40), rows, strict=True):
        assert best.log_probabilities == pytest.approx(row["log_probabilities"], abs=2e-5)
