"""GLUE's tasks as users spell them, and a GLUE folder in which some are absent."""

import re
import shutil

import pytest
from refusals import refusal, script
from toy_glue import write_glue
from toy_released import ROWS, row, write_rows

from pixelgpt_fairseq.data.data_folder import DataFolder
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.sources.glue import GLUE_TASKS, task_name
from pixelgpt_fairseq.tasks.rendered_glue import RenderedGlueConfig, RenderedGlueTask

OFFICIAL = ("CoLA", "SST-2", "MRPC", "STS-B", "QQP", "MNLI", "QNLI", "RTE", "WNLI")


def render(*options):
    """Run pixelgpt render-glue in this process."""
    script("render_glue")([str(option) for option in options])


def test_every_task_is_known_by_glues_name_and_by_ours():
    assert [task_name(name) for name in OFFICIAL] == list(GLUE_TASKS)
    assert [task_name(name) for name in GLUE_TASKS] == list(GLUE_TASKS)
    assert [task_name(name) for name in ("all", "xnli_train_en", "SST-3")] == ["all", "xnli_train_en", "SST-3"]


@pytest.mark.parametrize("spelling", ["SST-2", "sst2", "sst_2"])
def test_scripts_take_either(spelling, tmp_path, capsys):
    write_glue(tmp_path / "GLUE", train=4, dev=4)
    render("--glue-dir", tmp_path / "GLUE", "--task", spelling, "--destdir", tmp_path / "data", "--splits", "train")
    assert DataFolder(tmp_path / "data").manifest("train")["task"]["name"] == "sst2"
    options = f"--model pixelgpt --modality pixel --from-scratch --dry-run --gpus 0 --data {tmp_path}/data --task"
    script("finetune")([*options.split(), spelling])
    assert "--glue-task sst2" in capsys.readouterr().out


def test_so_does_the_option_of_fairseq(tmp_path):
    for given in ("SST-2", "sst2"):
        RenderedGlueTask.check_options(RenderedGlueConfig(glue_task=given), DataFolder(tmp_path), GLUE_TASKS["sst2"][0])
    with pytest.raises(UserError, match=r"--glue-task SST-2: .* holds task rte"):
        RenderedGlueTask.check_options(
            RenderedGlueConfig(glue_task="SST-2"), DataFolder(tmp_path), GLUE_TASKS["rte"][0]
        )


def test_all_means_those_that_are_there(tmp_path, capsys):
    write_glue(tmp_path / "GLUE", train=4, dev=4)
    for name in ("SST-2", "STS-B", "MNLI", "diagnostic"):
        shutil.rmtree(tmp_path / "GLUE" / name)
    render("--glue-dir", tmp_path / "GLUE", "--task", "all", "--destdir", tmp_path / "data")
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["cola", "rte"]
    printed = capsys.readouterr().out
    for task, file in (("sst2", "SST-2/train.tsv"), ("mrpc", "MRPC/dev.tsv"), ("mnli", "MNLI/dev_mismatched.tsv")):
        assert re.search(rf"^{task}, \w+: left out, there is no {tmp_path}/GLUE/{file}$", printed, re.MULTILINE)
    (tmp_path / "empty").mkdir()
    line = refusal(script("render_glue"), *f"--glue-dir {tmp_path}/empty --task all --destdir {tmp_path}/none".split())
    assert line == f"--glue-dir {tmp_path}/empty: no files such as {tmp_path}/empty/RTE/train.tsv in it"


def test_so_it_is_with_released_data(tmp_path, capsys):
    write_rows(tmp_path / "GLUE/rte-train", [row(*values) for values in ROWS])
    render("--released", tmp_path / "GLUE", "--task", "all", "--destdir", tmp_path / "data")
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["rte"]
    printed = capsys.readouterr().out
    assert "sst2: left out, there is no sst2-train" in printed
    assert "rte: left out" not in printed
