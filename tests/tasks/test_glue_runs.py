"""Fine-tuning as users walk it: a pretrained checkpoint, a GLUE folder, fairseq's own commands."""

import contextlib
import io
import itertools
import json
import runpy
from shlex import split

import pytest
from fairseq_runs import progress, scores, train, validate
from omegaconf import OmegaConf
from refusals import refusal
from toy_corpus import ROOT
from toy_glue import write_glue
from two_workers import DESCENT, assert_same_weights, train_by_two_workers

from pixelgpt_fairseq.data.data_folder import DataFolder
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.models import PixelGPTConfig
from pixelgpt_fairseq.sources import glue as glue_module
from pixelgpt_fairseq.tasks.rendered_glue import RenderedGlueConfig, RenderedGlueTask

FINETUNING = split(
    "--user-dir pixelgpt_fairseq --task rendered_glue --max-positions 48 --arch pixelgpt_tiny --hidden-size 48 "
    "--num-hidden-layers 1 --intermediate-size 96 --criterion rendered_classification --batch-size 4 --cpu "
    "--optimizer adam --lr 3e-3 --clip-norm 1.0 --log-format json --log-interval 1 --num-workers 0 "
    "--no-epoch-checkpoints --maximize-best-checkpoint-metric"
)
VALIDATION = split("--user-dir pixelgpt_fairseq --task rendered_glue --cpu --batch-size 3 --log-format json")


def render(*options):
    """Run pixelgpt render-glue in this process."""
    return runpy.run_path(str(ROOT / "scripts" / "render_glue.py"))["main"]([str(option) for option in options])


@pytest.fixture(scope="module")
def glue(checkpoint, tmp_path_factory):
    """A folder with rendered mnli, rte and stsb, and what the script printed for each."""
    folder = tmp_path_factory.mktemp("glue")
    write_glue(folder / "GLUE")
    printed = {}
    for task in ("mnli", "rte", "stsb"):
        with contextlib.redirect_stdout(io.StringIO()) as stdout:
            render("--glue-dir", folder / "GLUE", "--task", task, "--destdir", folder / task, "--like", checkpoint)
        printed[task] = stdout.getvalue().splitlines()
    return folder, printed


def finetune(data, save_dir, *options):
    return train(data, *FINETUNING, "--save-dir", save_dir, *options)


def test_rendering_tells_what_every_split_holds(glue):
    folder, printed = glue
    for line, count in zip(printed["rte"], ("train: 40", "valid: 13", "test: 5"), strict=True):
        assert f"{folder / 'rte'}, {count} examples" in line
    assert "not_entailment: " in printed["rte"][0]
    splits = ["ax", "test", "test_mismatched", "train", "valid", "valid_mismatched"]
    assert DataFolder(folder / "mnli").splits() == splits


@pytest.mark.parametrize(
    ("modality", "task", "subsets"),
    [("text", "mnli", ["valid", "valid_mismatched"]), ("pixel", "rte", ["valid"]), ("pair", "rte", ["valid"])],
)
def test_a_pretrained_checkpoint_is_finetuned_and_validates_alike_from_the_checkpoint_alone(
    glue, checkpoint, tmp_path, modality, task, subsets
):
    data, names = glue[0] / task, ("loss", "accuracy")
    options = ["--valid-subset", ",".join(subsets), "--finetune-from-model", checkpoint, "--modality", modality]
    run = finetune(data, tmp_path, *options, *split("--max-update 5 --best-checkpoint-metric accuracy"))
    assert "loading pretrained model" in run.log
    options = ["--valid-subset", ",".join(subsets), "--path", tmp_path / "checkpoint_last.pt"]
    validated = validate(data, *VALIDATION, *options)
    for subset in subsets:
        *_, trained = run.lines(subset)
        (found,) = validated.lines(subset)
        assert scores(found, *names) == pytest.approx(scores(trained, *names), rel=1e-3)


def test_two_workers_equal_one_in_weights_and_metrics(glue, tmp_path):
    data, names = glue[0] / "stsb", ("loss", "pearsonr", "spearmanr")
    options = ["--modality", "pair", "--max-update", "3", "--best-checkpoint-metric", names[-1], *DESCENT]
    alone = finetune(data, tmp_path / "alone", *options, "--update-freq", "2")
    output = train_by_two_workers(data, *FINETUNING, *options, "--save-dir", tmp_path / "two")
    (together,) = progress(output, "valid")  # of 13 examples: one worker has a batch less
    (expected,) = alone.lines("valid")
    assert scores(together, *names) == pytest.approx(scores(expected, *names), abs=1e-3)
    assert_same_weights(tmp_path / "two", tmp_path / "alone", tolerance=1e-6)


def test_a_loss_beyond_all_numbers_ends_the_run_with_one_line(glue, tmp_path):
    options = split("--modality text --max-update 5 --disable-validation --lr 1e38 --clip-norm 0")
    line = refusal(lambda *_: finetune(glue[0] / "rte", tmp_path, *options))
    assert "update 2: the loss or its gradients are not finite: choose a lower --lr" in line


def build(data, max_tokens=None, **options):
    """Do what fairseq-train does before the first update."""
    cfg = RenderedGlueConfig(data=str(data), seed=1, train_subset="train", **{"modality": "pixel", **options})
    task = RenderedGlueTask.setup_task(OmegaConf.structured(cfg))
    sizes = {"hidden_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2}
    task.build_model(OmegaConf.structured(PixelGPTConfig(_name="pixelgpt", intermediate_size=48, **sizes)))
    task.load_dataset("train")
    return task.get_batch_iterator(task.dataset("train"), max_tokens=max_tokens, max_sentences=4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"glue_task": "cola"}, "--glue-task cola: .* holds task rte"),
        ({"modality": "pair", "max_positions": 600}, "an example may have 1200 positions .* the model has 1024"),
        ({"max_positions": 1}, "hold nothing: raise --max-positions"),
        ({"max_tokens": 5}, "--max-tokens 5 is less than one example of"),
        ({"data": "/nowhere"}, "/nowhere: no such folder"),
        ({"data": ""}, "no data folder: name one that pixelgpt render-glue wrote"),
    ],
)
def test_options_that_do_not_fit_are_told_in_one_line(glue, options, message):
    with pytest.raises(UserError, match=message):
        build(**({"data": glue[0] / "rte"} | options))


def test_a_corpus_is_no_glue_task(toy_data):
    with pytest.raises(UserError, match="holds a corpus, no examples with labels: make some with"):
        build(toy_data)


def test_every_epoch_has_every_example_once_in_new_batches(glue):
    batches = build(glue[0] / "rte", modality="pair")
    epochs = []
    for _ in range(2):
        epochs.append([sample["id"].tolist() for sample in batches.next_epoch_itr()])
        assert sorted(itertools.chain.from_iterable(epochs[-1])) == list(range(40))
    assert epochs[0] != epochs[1]
    assert sorted(map(sorted, epochs[0])) != sorted(map(sorted, epochs[1]))


def test_a_checkpoint_of_other_labels_is_refused(glue):
    def task(name):
        cfg = RenderedGlueConfig(data=str(glue[0] / name), seed=1, train_subset="train", modality="pixel")
        return RenderedGlueTask.setup_task(OmegaConf.structured(cfg))

    task("rte").load_state_dict(task("rte").state_dict())
    message = r"the labels in .* are entailment, not_entailment \(task rte\), the checkpoint was trained on scores"
    with pytest.raises(UserError, match=message):
        task("rte").load_state_dict(task("stsb").state_dict())


# The script


def test_all_tasks_go_to_folders_of_their_names(tmp_path, monkeypatch, capsys):
    write_glue(tmp_path)
    chosen = {name: glue_module.GLUE_TASKS[name] for name in ("cola", "sst2")}
    monkeypatch.setattr(glue_module, "GLUE_TASKS", chosen)
    render("--glue-dir", tmp_path, "--task", "all", "--destdir", tmp_path / "data")
    for name in chosen:
        assert DataFolder(tmp_path / "data" / name).splits() == ["test", "train", "valid"]
    assert DataFolder(tmp_path / "data" / "cola").renderer_config().max_patches == 768
    assert "only --modality pixel can read" in capsys.readouterr().err


@pytest.mark.parametrize("ending", ["csv", "jsonl", "tsv"])
def test_a_task_of_ones_own(tmp_path, ending):
    rows = [("yes, sir", "glad"), ("no", "sad")]
    path = tmp_path / f"a.{ending}"
    if ending == "jsonl":
        path.write_text("\n".join(json.dumps({"text": text, "mood": mood}) for text, mood in rows))
    else:
        quoted = [(f'"{text}"' if ending == "csv" else text, mood) for text, mood in rows]
        path.write_text(
            "".join(("," if ending == "csv" else "\t").join(row) + "\n" for row in [("text", "mood"), *quoted])
        )
    columns = split("--name moods --columns text --label-column mood --labels sad glad")
    render("--input", f"train={path}", f"test={path}", *columns, "--destdir", tmp_path / "data")
    manifest = DataFolder(tmp_path / "data").manifest("train")
    assert manifest["task"]["labels"] == ["sad", "glad"]
    assert manifest["characters"] == sum(len(text) for text, _ in rows)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--task rte", "name --glue-dir and --task"),
        ("--glue-dir {0}/none --task rte", "--glue-dir .*none: no such folder"),
        ("--glue-dir {0} --task qnli", r"QNLI/train.tsv: no such file \(split train of qnli\)"),
        ("--glue-dir {0} --task rte --splits dev", "--splits dev: rte has train, valid, test"),
        ("--glue-dir {0} --task rte --render-mode sepia", "render_mode: 'sepia' is not available"),
        ("--glue-dir {0} --task rte --tokenizer {0}/RTE/dev.tsv", "neither a SentencePiece model nor"),
        ("--input {0}/RTE/dev.tsv --columns sentence1", "say which split it is"),
        ("--input train={0}/RTE/dev.tsv", "--columns: name the one or two columns"),
        ("--input train={0}/RTE/dev.tsv --columns 2 --label-column label", "numbers for those without"),
        ("--input train={0}/RTE/test.tsv --columns sentence1 --label-column label", "no column 'label'"),
        ("--input train={0}/RTE/dev.tsv --columns sentence1", "no column is named with --label-column"),
    ],
)
def test_mistakes_in_rendering_are_told_in_one_line(tmp_path, options, message):
    write_glue(tmp_path)
    with pytest.raises(SystemExit, match=message):
        render(*options.format(tmp_path).split(), "--destdir", tmp_path / "data")
    assert not (tmp_path / "data").exists()
