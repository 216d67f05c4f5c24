"""Fine-tuning runs of seconds on the toy GLUE, in this process, and what they leave behind."""

from types import SimpleNamespace

import pytest
import torch
from fairseq_runs import train, validate
from refusals import script
from toy_corpus import documents
from toy_glue import write_glue

from pixelgpt_fairseq.data.tokens import train_tokenizer

TRAINING = (
    "--user-dir pixelgpt_fairseq --task rendered_glue --max-positions 48 --arch pixelgpt_tiny --hidden-size 48 "
    "--num-hidden-layers 1 --intermediate-size 96 --criterion rendered_classification --batch-size 4 --cpu "
    "--optimizer adam --lr 3e-3 --clip-norm 1.0 --num-workers 0 --no-epoch-checkpoints --max-update 12 "
    "--validate-interval-updates 4 --save-interval-updates 4 --keep-interval-updates 1 --log-format simple "
    "--maximize-best-checkpoint-metric"
).split()
# task: (modality, splits to validate on, metric that chooses)
RUNS = {
    "rte": ("pair", "valid", "accuracy"),
    "stsb": ("pixel", "valid", "spearmanr"),
    "mnli": ("text", "valid,valid_mismatched", "accuracy"),
}


def fairseq_train(data, save_dir, *options):
    """fairseq-train in this process; its log is ``train.log``."""
    save_dir.mkdir(parents=True, exist_ok=True)
    train(data, *TRAINING, "--save-dir", save_dir, "--log-file", save_dir / "train.log", *options)


def fairseq_validate(data, checkpoint, subset, *options):
    """fairseq-validate in this process: the metrics that it logs, by name."""
    fixed = "--user-dir pixelgpt_fairseq --task rendered_glue --cpu --batch-size 4 --log-format json".split()
    (found,) = validate(data, *fixed, "--path", checkpoint, "--valid-subset", subset, *options).lines(subset)
    return found


def pretrained(checkpoint, path):
    """Write to *path* what a checkpoint would be before fine-tuning: without head and labels."""
    state = torch.load(checkpoint, weights_only=True)
    del state["model"]["score.weight"], state["task_state"]["classification"]
    del state["task_state"]["data_settings"]["classification"]
    state["cfg"]["task"] = {"_name": "rendered_pretraining", "data": state["cfg"]["task"]["data"], "modalities": "text"}
    path.parent.mkdir(exist_ok=True)
    torch.save(state, path)
    return path


@pytest.fixture(scope="session")
def toy_glue(tmp_path_factory):
    """The toy GLUE's rte, stsb and mnli, rendered, in folders of their names; ``folder/GLUE`` is the source."""
    folder = tmp_path_factory.mktemp("toy_glue")
    write_glue(folder / "GLUE")
    tokenizer = train_tokenizer(iter(documents()), 400)
    (folder / "tokenizer.model").write_bytes(tokenizer.serialized)
    for task in RUNS:
        options = ["--glue-dir", folder / "GLUE", "--task", task, "--tokenizer", folder / "tokenizer.model"]
        script("render_glue")([str(option) for option in [*options, "--destdir", folder / task]])
    return folder


@pytest.fixture(scope="session")
def finetuned(toy_glue, tmp_path_factory):
    """A run of each task: ``data``, ``folder`` (named as pixelgpt finetune names it) and its best ``checkpoint``."""
    top, runs = tmp_path_factory.mktemp("finetuned"), {}
    for task, (modality, subsets, metric) in RUNS.items():
        folder = top / f"dualgpt-{task}-{modality}"
        choice = ["--modality", modality, "--valid-subset", subsets, "--best-checkpoint-metric", metric]
        fairseq_train(toy_glue / task, folder, *choice)
        runs[task] = SimpleNamespace(data=toy_glue / task, folder=folder, checkpoint=folder / "checkpoint_best.pt")
    return runs
