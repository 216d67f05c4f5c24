"""pixelgpt_fairseq.load: texts as the model was trained on them, and the answers that fairseq's commands give."""

import itertools
import re

import pytest
import torch
from toy_corpus import ROOT

import pixelgpt_fairseq
from pixelgpt_fairseq.data.classification import ClassificationDataset
from pixelgpt_fairseq.data.data_folder import DataFolder
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.evaluation.prediction import predict
from pixelgpt_fairseq.inference.loaded_model import LoadedModel
from pixelgpt_fairseq.sources.examples import read_examples
from pixelgpt_fairseq.sources.glue import GLUE_TASKS, find_source

TEXTS = ["An expression.", "The while statement repeats.", ("One sentence.", "And another one.")]


@pytest.fixture(scope="module")
def language_model(checkpoint):
    return pixelgpt_fairseq.load(checkpoint)


@pytest.fixture(scope="module")
def classifiers(finetuned):
    return {task: pixelgpt_fairseq.load(run.checkpoint) for task, run in finetuned.items()}


def sentences(finetuned, name, number):
    """The first examples of the toy GLUE's validation split, as they were rendered: (first sentences, second ones)."""
    task, sources = GLUE_TASKS[name]
    source = sources[1]
    path = find_source(source, finetuned[name].data.parent / "GLUE")
    examples = itertools.islice(read_examples(path, task, source.columns, source.label, detokenized=True), number)
    return [list(part) for part in zip(*(example.texts for example in examples), strict=True)]


@pytest.mark.parametrize("modality", ["text", "pixel", "pair"])
@torch.no_grad()
def test_a_batch_is_what_forward_takes_and_each_text_is_read_as_if_alone(language_model, modality):
    batch = language_model.batch(TEXTS, modality)
    together = language_model.model(**batch)
    for number, text in enumerate(TEXTS):
        alone = language_model.model(**language_model.batch([text], modality))
        for name in ("patch_predictions", "token_logits"):
            if getattr(alone, name) is not None:
                length = getattr(alone, name).shape[1]
                torch.testing.assert_close(getattr(together, name)[number, :length], getattr(alone, name)[0])
    if modality == "pair":
        assert batch["strip_patches"] == language_model.model.data_settings["pair_patches"]


@pytest.mark.parametrize("modality", ["text", "pixel", "pair"])
@torch.no_grad()
def test_hidden_states_are_those_that_the_heads_read(language_model, modality):
    states, in_use = language_model.hidden_states(TEXTS, modality)
    predicted = language_model.model(**language_model.batch(TEXTS, modality))
    assert states.shape[:2] == in_use.shape
    assert not states[~in_use].any()
    patches = 0 if modality == "text" else predicted.patch_predictions.shape[1]
    if modality != "text":
        expected = predicted.patch_predictions[in_use[:, :patches]]
        torch.testing.assert_close(
            language_model.model.lm_pixel_head(states[:, :patches])[in_use[:, :patches]], expected
        )
    if modality != "pixel":
        expected = predicted.token_logits[in_use[:, patches:]]
        torch.testing.assert_close(
            language_model.model.lm_token_head(states[:, patches:])[in_use[:, patches:]], expected
        )


@pytest.mark.parametrize("modality", ["text", "pixel", "pair"])
def test_embeddings_are_pooled_hidden_states_whatever_the_batches(language_model, modality):
    texts = [*TEXTS, "A", "Some words more than that, so that lengths differ"] * 2
    mean = language_model.encode(texts, modality, batch_size=3)
    last = language_model.encode(texts, modality, pooling="last", batch_size=4)
    for number, text in enumerate(texts):
        states, in_use = language_model.hidden_states([text], modality)
        used = states[0][in_use[0]]
        torch.testing.assert_close(mean[number], used.mean(0), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(last[number], used[-1], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("task", ["rte", "mnli"])
def test_classes_are_those_of_the_rendered_split(classifiers, finetuned, task):
    expected = predict(finetuned[task].checkpoint, finetuned[task].data, ["valid"], cpu=True, progress=False)["valid"]
    answers = classifiers[task].classify(*sentences(finetuned, task, 6), batch_size=4)
    assert [answer.label for answer in answers] == expected.words()[:6]
    shares = torch.tensor([list(answer.probabilities.values()) for answer in answers])
    torch.testing.assert_close(shares, expected.logits[:6].softmax(-1), atol=1e-5, rtol=1e-4)
    assert tuple(answers[0].probabilities) == expected.task.labels


def test_scores_of_regression(classifiers, finetuned):
    expected = predict(finetuned["stsb"].checkpoint, finetuned["stsb"].data, ["valid"], cpu=True, progress=False)
    first, second = sentences(finetuned, "stsb", 1)
    answer = classifiers["stsb"].classify(first[0], second[0])
    assert answer.label is None
    assert answer.score == pytest.approx(expected["valid"].logits[0, 0].item(), abs=1e-5)


def test_a_batch_of_a_fine_tuned_model_is_the_one_of_its_training(classifiers, finetuned):
    first, second = sentences(finetuned, "rte", 3)
    dataset = ClassificationDataset.from_folder(
        DataFolder(finetuned["rte"].data), "valid", "pair", max_patches=48, max_tokens=48,
        dictionary=DataFolder(finetuned["rte"].data).dictionary(), strip_patches=48,
    )  # fmt: skip
    trained = dataset.collater([dataset[i] for i in range(3)])["net_input"]
    batch = classifiers["rte"].batch(list(zip(first, second, strict=True)))
    assert batch.keys() == trained.keys()
    for name, value in trained.items():
        assert torch.equal(batch[name], value) if isinstance(value, torch.Tensor) else batch[name] == value


def test_a_wrong_number_of_sentences_is_refused(classifiers):
    with pytest.raises(UserError, match=r"task rte is about two sentences: classify\(first, second\)"):
        classifiers["rte"].classify("only one")
    with pytest.raises(UserError, match="2 first sentences and 1 second ones"):
        classifiers["rte"].classify(["a", "b"], ["c"])


def test_what_the_model_does_not_read_is_refused(language_model, classifiers, caplog):
    with pytest.raises(UserError, match="say what the model is to read of a text: text, pixel, pair"):
        language_model.encode(["a"])
    with pytest.raises(UserError, match="a language model: fine-tune it on a task"):
        language_model.classify("a")
    with pytest.raises(UserError, match="modality 'sound': one of text, pixel, pair"):
        language_model.batch(["a"], "sound")
    with pytest.raises(UserError, match=r"modality pair: LoadedModel\(.*classifier of stsb, reads pixel"):
        classifiers["stsb"].batch(["a"], "pair")
    with pytest.raises(UserError, match="a text is a string, or a tuple of two strings"):
        language_model.batch([("a", "b", "c")], "text")
    classifiers["rte"].batch(["a"], "pixel")
    assert "fine-tuned on modality pair, and given pixel" in caplog.text


def test_a_long_text_is_cut_as_in_training(classifiers, language_model):
    batch = classifiers["rte"].batch([("word " * 500, "and another")])
    assert batch["patches"].shape[1] == 48
    assert batch["tokens"].shape[1] == 48
    assert language_model.batch(["word " * 2000], "text")["tokens"].shape[1] == language_model.model.max_positions()


def test_another_dtype(checkpoint):
    loaded = pixelgpt_fairseq.load(checkpoint, dtype=torch.bfloat16)
    states, _ = loaded.hidden_states(["a text"], "pair")
    assert states.dtype == torch.bfloat16
    assert loaded.encode(["a text"], "pixel").dtype == torch.float32


def test_the_page_on_python_runs_as_it_stands(checkpoint, finetuned, tmp_path, monkeypatch):
    """docs/python.md: one block after the other, with the toys in the place of the paths that it names."""
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) >= 6
    names = {"dualgpt.pt": str(checkpoint), "rte.pt": str(finetuned["rte"].checkpoint)}
    monkeypatch.chdir(tmp_path)
    known = {}
    for block in blocks:
        assert len([line for line in block.splitlines() if line.strip()]) <= 7
        for name, path in names.items():
            block = block.replace(f'"{name}"', repr(path))
        exec(block, known)
    assert isinstance(known["loaded"], LoadedModel)
    assert known["answer"].label in known["answer"].probabilities
    assert known["vectors"].shape == (1000, known["loaded"].model.config.hidden_size)
