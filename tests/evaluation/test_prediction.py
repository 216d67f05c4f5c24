import re
import shutil

import numpy as np
import pytest
import torch
from refusals import refusal, script
from toy_corpus import documents
from toy_finetuning import fairseq_validate, pretrained

from pixelgpt_fairseq.checkpoints.loading import load_checkpoint
from pixelgpt_fairseq.data.batches import collate
from pixelgpt_fairseq.data.classification import ClassificationDataset
from pixelgpt_fairseq.data.data_folder import DataFolder
from pixelgpt_fairseq.data.tokens import train_tokenizer
from pixelgpt_fairseq.evaluation.prediction import Predictions, file_name, predict
from pixelgpt_fairseq.sources.glue import GLUE_TASKS

main = script("predict_glue")


def run(checkpoint, data, subset, output, *options):
    arguments = ["--checkpoint", checkpoint, "--data", data, "--subset", subset, "--output", output, "--cpu", *options]
    main([str(argument) for argument in arguments])


def rows(path):
    return [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]


# What is predicted


@pytest.mark.parametrize(
    ("task", "subset", "metrics"),
    [
        ("rte", "valid", ["accuracy"]),
        ("stsb", "valid", ["pearsonr", "spearmanr"]),
        ("mnli", "valid", ["accuracy"]),
        ("mnli", "valid_mismatched", ["accuracy"]),
    ],
)
def test_metrics_are_those_of_fairseq_validate(finetuned, task, subset, metrics):
    one = finetuned[task]
    found = predict(one.checkpoint, one.data, [subset], batch_size=3, cpu=True, progress=False)[subset].metrics()
    validated = fairseq_validate(one.data, one.checkpoint, subset, "--batch-size", 3)
    assert list(found) == metrics
    assert found == pytest.approx({name: validated[name] for name in metrics}, abs=1e-5)


def test_answers_stand_in_the_order_of_the_file(finetuned):
    one = finetuned["mnli"]
    found = predict(one.checkpoint, one.data, ["valid", "ax"], cpu=True, progress=False)
    assert [len(found[split].logits) for split in ("valid", "ax")] == [6, 4]
    assert found["ax"].labels is None
    assert found["ax"].metrics() == {}
    folder, checkpoint = DataFolder(one.data), load_checkpoint(one.checkpoint)
    for split, answers in found.items():
        dataset = ClassificationDataset.from_folder(
            folder, split, "text", max_tokens=48, dictionary=folder.dictionary()
        )
        for i, logits in enumerate(answers.logits):
            alone = checkpoint.model(**collate([dataset[i]], pad=0)["net_input"]).class_logits[0]
            torch.testing.assert_close(logits, alone.detach(), rtol=0, atol=1e-5)
            assert answers.labels is None or answers.labels[i] == dataset[i]["label"]


def test_answers_do_not_depend_on_the_batches(finetuned):
    one = finetuned["rte"]
    batches = ({}, {}, {"batch_size": 1}, {"max_tokens": 200})
    first, again, *others = (
        predict(one.checkpoint, one.data, ["valid"], cpu=True, progress=False, **options)["valid"].logits
        for options in batches
    )
    assert torch.equal(first, again)
    for other in others:
        torch.testing.assert_close(other, first, rtol=0, atol=1e-5)


# The files


def test_submissions_have_glues_names_header_and_words(finetuned, tmp_path, capsys):
    for task, subset, name, number in (
        ("rte", "test", "RTE", 5),
        ("stsb", "test", "STS-B", 5),
        ("mnli", "test", "MNLI-m", 6),
        ("mnli", "test_mismatched", "MNLI-mm", 6),
        ("mnli", "ax", "AX", 4),
    ):
        one = finetuned[task]
        run(one.checkpoint, one.data, subset, tmp_path)
        header, *body = rows(tmp_path / f"{name}.tsv")
        assert header == ["index", "prediction"]
        assert [index for index, _ in body] == [str(i) for i in range(number)]
        answers = predict(one.checkpoint, one.data, [subset], cpu=True, progress=False)[subset].logits
        if task == "stsb":
            assert [float(score) for _, score in body] == pytest.approx(answers[:, 0].tolist(), abs=1e-4)
        else:
            labels = GLUE_TASKS[task][0].labels
            assert [word for _, word in body] == [labels[number] for number in answers.argmax(dim=1)]
        assert f"{name}.tsv: {number} predictions of {task}, {subset}, modality " in capsys.readouterr().out
    assert len(list(tmp_path.iterdir())) == 5


def test_words_are_those_that_glue_takes():
    def words(task, *logits):
        return Predictions(GLUE_TASKS[task][0], "text", torch.tensor(logits), None, 1.0).words()

    assert words("stsb", [-0.3], [2.5], [5.2]) == ["0.0000", "2.5000", "5.0000"]
    assert words("mnli", [2.0, 1, 0], [0, 2, 1], [0, 1, 2]) == ["entailment", "neutral", "contradiction"]
    assert words("qnli", [0.0, 1], [1, 0]) == ["not_entailment", "entailment"]
    assert words("cola", [0.0, 1], [1, 0]) == ["1", "0"]


def test_files_that_glue_does_not_take_have_other_names():
    rte = GLUE_TASKS["rte"][0]
    assert file_name(rte, "valid") == "rte-valid.tsv"
    assert file_name(rte, "test", probabilities=True) == "RTE-probabilities.tsv"


def test_a_slash_or_several_splits_mean_a_folder(finetuned, tmp_path):
    one = finetuned["mnli"]
    arguments = ["--checkpoint", one.checkpoint, "--data", one.data, "--cpu", "--output"]
    main([*map(str, arguments), f"{tmp_path}/new/deep/", "--subset", "test"])
    assert [path.name for path in (tmp_path / "new/deep").iterdir()] == ["MNLI-m.tsv"]
    main([*map(str, arguments), f"{tmp_path}/all", "--subset", "test", "test_mismatched", "ax", "test"])
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == ["AX.tsv", "MNLI-m.tsv", "MNLI-mm.tsv"]
    assert (tmp_path / "all/MNLI-m.tsv").read_bytes() == (tmp_path / "new/deep/MNLI-m.tsv").read_bytes()
    line = refusal(main, *arguments, f"{tmp_path}/all", "--subset", "valid", "ax")
    assert line.endswith("AX.tsv: already there: choose another --output, or pass --overwrite")
    (tmp_path / "file").touch()
    for output, subsets in ((f"{tmp_path}/file/", ["test"]), (f"{tmp_path}/file", ["test", "ax"])):
        assert refusal(main, *arguments, output, "--subset", *subsets) == f"{tmp_path}/file/: a file, not a folder"


def test_probabilities_are_those_of_each_label(finetuned, tmp_path, capsys):
    one = finetuned["mnli"]
    run(one.checkpoint, one.data, "valid", tmp_path / "a.tsv", "--probabilities")
    header, *body = rows(tmp_path / "a.tsv")
    assert header == ["index", "prediction", "entailment", "neutral", "contradiction"]
    for row in body:
        shares = dict(zip(header[2:], map(float, row[2:]), strict=True))
        assert sum(shares.values()) == pytest.approx(1, abs=1e-5)
        assert max(shares, key=shares.get) == row[1]
    assert "accuracy 0." in capsys.readouterr().out


def test_nothing_is_overwritten_unasked(finetuned, tmp_path, capsys):
    one, path = finetuned["rte"], tmp_path / "RTE.tsv"
    path.write_text("mine")
    arguments = ["--checkpoint", one.checkpoint, "--data", one.data, "--output", tmp_path]
    assert refusal(main, *arguments) == f"{path}: already there: choose another --output, or pass --overwrite"
    assert path.read_text() == "mine"
    run(one.checkpoint, one.data, "test", tmp_path, "--overwrite")
    assert len(rows(path)) == 6


# What cannot be


def test_mistakes_are_told_in_one_line(finetuned, toy_data, tmp_path):
    rte, stsb = finetuned["rte"], finetuned["stsb"]
    other = pretrained(rte.checkpoint, tmp_path / "pretrained" / "checkpoint_last.pt")
    tmp_path = tmp_path / "output"
    tmp_path.mkdir()

    def refused(checkpoint=rte.checkpoint, data=rte.data, output=tmp_path, *options):
        return refusal(main, "--checkpoint", checkpoint, "--data", data, "--output", output, *options)

    assert refused(tmp_path / "none.pt") == f"{tmp_path / 'none.pt'}: no such file"
    assert refused(other).startswith(f"{other}: not a classifier: it was pretrained and predicts patches")
    assert refused(data=stsb.data) == f"{rte.checkpoint}: trained on task rte, {stsb.data} holds stsb"
    assert f"{toy_data}: holds a corpus, no examples" in refused(rte.checkpoint, toy_data, tmp_path, "--subset=valid")
    assert "split dev was not rendered" in refused(rte.checkpoint, rte.data, tmp_path, "--subset", "dev")
    nowhere = "no such folder: render examples into it with pixelgpt render-glue"
    assert refused(data=tmp_path / "no") == f"{tmp_path / 'no'}: {nowhere}"
    assert refused(output=tmp_path / "no" / "a.tsv") == f"{tmp_path / 'no'}: no such folder"
    options = [stsb.checkpoint, stsb.data, tmp_path, "--probabilities"]
    assert refused(*options) == "--probabilities: stsb has scores, no classes"
    assert refused(rte.checkpoint, rte.data, tmp_path, "--batch-size", "0") == "--batch-size 0: at least 1"
    assert refused(rte.checkpoint, rte.data, tmp_path, "--max-tokens", "9").startswith("--max-tokens 9 is less than")
    assert not list(tmp_path.iterdir())


def test_other_classes_are_refused(finetuned, tmp_path):
    one = finetuned["rte"]
    data = shutil.copytree(one.data, tmp_path / "data")
    manifest = data / "test.manifest.json"
    swapped = manifest.read_text().replace("not_entailment", "maybe").replace('"entailment"', '"not_entailment"')
    manifest.write_text(swapped)
    line = refusal(main, "--checkpoint", one.checkpoint, "--data", data, "--output", tmp_path)
    assert line == (
        f"{one.checkpoint}: the labels in {data} are not_entailment, maybe (task rte), the checkpoint was trained on "
        "entailment, not_entailment (task rte)"
    )


def test_classes_in_another_order_are_matched_by_name(finetuned, tmp_path):
    one = finetuned["rte"]
    data = shutil.copytree(one.data, tmp_path / "data")
    manifest = data / "valid.manifest.json"
    turned = re.sub(r'"entailment",\s*"not_entailment"', '"Not entailment", "ENTAILMENT"', manifest.read_text())
    assert turned != manifest.read_text()
    for split in ("train", "test"):
        (data / f"{split}.manifest.json").unlink()
    manifest.write_text(turned)
    labels = DataFolder(data).labels_path("valid")
    np.save(labels, 1 - np.load(labels))
    ours, theirs = (
        predict(one.checkpoint, folder, ["valid"], cpu=True, progress=False)["valid"] for folder in (data, one.data)
    )
    assert ours.words() == [{"entailment": "ENTAILMENT"}.get(word, "Not entailment") for word in theirs.words()]
    assert torch.equal(ours.logits, theirs.logits.flip(1))
    assert ours.metrics() == theirs.metrics()


def test_data_rendered_otherwise_than_the_checkpoints_is_named_and_used(finetuned, toy_glue, tmp_path, capsys):
    one = finetuned["rte"]
    render = ["--glue-dir", toy_glue / "GLUE", "--task", "rte", "--destdir", tmp_path / "data", "--splits", "test"]
    look = ["--tokenizer", toy_glue / "tokenizer.model", "--font-size", "9"]
    script("render_glue")([str(option) for option in [*render, *look]])
    run(one.checkpoint, tmp_path / "data", "test", tmp_path)
    assert (
        "warning: the checkpoint's text was rendered otherwise than this data: font_size: 8 against 9\n"
        in capsys.readouterr().err
    )
    assert len(rows(tmp_path / "RTE.tsv")) == 6


def test_data_of_another_tokenizer_is_refused(finetuned, toy_glue, tmp_path):
    one = finetuned["rte"]
    (tmp_path / "other.model").write_bytes(train_tokenizer(iter(documents()), 410).serialized)
    render = ["--glue-dir", toy_glue / "GLUE", "--task", "rte", "--destdir", tmp_path / "data", "--splits", "test"]
    script("render_glue")([str(option) for option in [*render, "--tokenizer", tmp_path / "other.model"]])
    line = refusal(main, "--checkpoint", one.checkpoint, "--data", tmp_path / "data", "--output", tmp_path)
    assert "is not the one this checkpoint was trained with" in line
    assert not (tmp_path / "RTE.tsv").exists()


def test_a_model_gone_wrong_is_told_in_one_line(finetuned, tmp_path):
    one = finetuned["rte"]
    state = torch.load(one.checkpoint, weights_only=True)
    state["model"]["score.weight"] *= float("nan")
    torch.save(state, tmp_path / "bad.pt")
    line = refusal(main, "--checkpoint", tmp_path / "bad.pt", "--data", one.data, "--output", tmp_path)
    assert line == f"{tmp_path / 'bad.pt'}: the model's answers are no numbers: its training went wrong"
