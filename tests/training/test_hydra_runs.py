"""Runs by fairseq-hydra-train: each in one folder, where the same command goes on."""

import fairseq_cli.hydra_train
import pytest
from fairseq import checkpoint_utils
from fairseq_cli.train import should_stop_early
from hydra_runs import (
    GLUE,
    PRETRAINING,
    SMALL_FINETUNING,
    SMALL_PRETRAINING,
    XNLI,
    hydra_options,
    hydra_train,
    updates,
)
from processes import Command
from toy_glue import write_examples
from two_workers import free_port

from hydra_plugins.pixelgpt_fairseq.recipe_names import unknown_recipe
from pixelgpt_fairseq.data.data_folder import DataFolder
from pixelgpt_fairseq.sources.glue import GLUE_TASKS
from pixelgpt_fairseq.sources.xnli import XNLI as XNLI_TASK
from pixelgpt_fairseq.training.hydra_callbacks import RunFolder, data_name, job_name

# Recipe: its folder, and the data that it trains on.
RECIPES = {
    **dict.fromkeys(("textgpt_tiny", "pixelgpt_tiny", "monogpt_tiny", "dualgpt_tiny"), (PRETRAINING, "data")),
    **{task: (GLUE, task) for task in GLUE_TASKS},
    **dict.fromkeys(("translate-train-all", "cross-lingual-transfer"), (XNLI, "xnli")),
}


@pytest.fixture(scope="module")
def work(toy_data, tmp_path_factory):
    """A folder with data of every recipe, to start commands from."""
    folder, tokenizer = tmp_path_factory.mktemp("work"), DataFolder(toy_data).tokenizer()
    (folder / "data").symlink_to(toy_data)
    for name, (task, sources) in GLUE_TASKS.items():
        for source in sources:
            if source.label is not None:
                write_examples(folder / name, source.split, task, tokenizer, 12)
    for split in ("train", "valid"):
        write_examples(folder / "xnli", f"{split}.en", XNLI_TASK, tokenizer, 12)
    return folder


def options(recipe, *more):
    """What a run of two updates by *recipe* is told, its data by a relative path."""
    folder, data = RECIPES[recipe]
    small = SMALL_PRETRAINING if folder == PRETRAINING else [*SMALL_FINETUNING, "task.modality=text"]
    length = ["optimization.max_update=2", "dataset.validate_interval_updates=1"]
    return [folder, recipe, f"task.data={data}", *small, *length, *more]


def test_the_same_command_goes_on_in_the_folder_of_its_run(work, monkeypatch):
    monkeypatch.chdir(work)
    hydra_train(*options("dualgpt_tiny"))
    run = work / "runs" / "dualgpt_tiny-data"
    assert updates(run / "checkpoints" / "checkpoint_last.pt") == 2
    hydra_train(*options("dualgpt_tiny", "optimization.max_update=3"))
    log = (run / "hydra_train.log").read_text()
    assert log.count(f"Loaded checkpoint {run / 'checkpoints' / 'checkpoint_last.pt'} (epoch 1 @ 2 updates)") == 1
    assert updates(run / "checkpoints" / "checkpoint_last.pt") == 3
    assert len(list((run / "tensorboard" / "train").iterdir())) == 2
    assert {path.name for path in work.iterdir()} == {"runs", *(data for _, data in RECIPES.values())}


def test_relative_paths_are_those_of_the_folder_where_the_command_was_given(work, monkeypatch):
    monkeypatch.chdir(work)
    folders = ["task.data=data:data", "hydra.run.dir=elsewhere/pretrained", "checkpoint.save_dir=saved"]
    hydra_train(*options("pixelgpt_tiny", *folders))
    assert updates("saved/checkpoint_last.pt") == 2
    again = ["checkpoint.restore_file=saved/checkpoint_last.pt", "hydra.run.dir=elsewhere/more"]
    hydra_train(*options("pixelgpt_tiny", "optimization.max_update=3", *again))
    assert updates("elsewhere/more/checkpoints/checkpoint_last.pt") == 3
    start = ["checkpoint.finetune_from_model=saved/checkpoint_last.pt", "hydra.run.dir=elsewhere/tuned"]
    hydra_train(*options("wnli", "task.modality=pixel", "model._name=pixelgpt", *start))
    log = (work / "elsewhere" / "tuned" / "hydra_train.log").read_text()
    assert "loading pretrained model from saved/checkpoint_last.pt" in log


# One of each folder: the others differ from it in numbers.
@pytest.mark.parametrize("recipe", ["dualgpt_tiny", "wnli", "translate-train-all"])
def test_every_recipe_takes_a_sweep_whose_runs_know_nothing_of_each_other(recipe, work, monkeypatch):
    monkeypatch.chdir(work)
    hydra_train(*options(recipe, "--multirun", "optimization.lr=[1e-2],[1e-9]"))
    sweep = work / "runs" / f"{recipe}-{RECIPES[recipe][1]}-sweep"
    for job in ("lr=0.01", "lr=1e-09"):
        assert updates(sweep / job / "checkpoints" / "checkpoint_last.pt") == 2
        assert (sweep / job / "checkpoints" / "checkpoint_best.pt").exists()
        assert list((sweep / job / "tensorboard" / "valid").iterdir())


def test_a_sweep_given_again_with_another_value_trains_that_alone(work, monkeypatch):
    monkeypatch.chdir(work)
    sweep = ["--multirun", "hydra.sweep.dir=sweep"]
    hydra_train(*options("textgpt_tiny", "common.seed=1,2", *sweep))
    hydra_train(*options("textgpt_tiny", "common.seed=3,2,1", *sweep))
    for seed in (1, 2, 3):
        assert updates(work / "sweep" / f"seed={seed}" / "checkpoints" / "checkpoint_last.pt") == 2


def test_all_ranks_have_one_folder(work):
    """Two processes, as torchrun or srun would start them."""
    port = free_port()
    distributed = [
        *("common.cpu=true", "distributed_training.distributed_world_size=2"),
        *("distributed_training.distributed_no_spawn=true", "distributed_training.ddp_backend=legacy_ddp"),
        "distributed_training.distributed_backend=gloo",
        f"distributed_training.distributed_init_method=tcp://127.0.0.1:{port}",
    ]
    for length in (2, 4):
        more = [*distributed, f"optimization.max_update={length}"]
        workers = [
            Command(
                fairseq_cli.hydra_train.cli_main,
                *hydra_options(*options("monogpt_tiny", *more, f"distributed_training.distributed_rank={rank}")),
                folder=work,
            )
            for rank in (0, 1)
        ]
        for worker in workers:
            worker.wait()
    assert [path.name for path in (work / "runs").glob("monogpt*")] == ["monogpt_tiny-data"]
    run = work / "runs" / "monogpt_tiny-data"
    assert updates(run / "checkpoints" / "checkpoint_last.pt") == 4
    assert "(epoch 1 @ 2 updates)" in (run / "hydra_train.log").read_text()


def test_a_run_folder_that_cannot_be_made_is_told_in_one_line(work, monkeypatch):
    monkeypatch.chdir(work)
    file = work / "rte" / "tokenizer.model"
    assert file.is_file()
    for mode, option in (([], "hydra.run.dir"), (["--multirun"], "hydra.sweep.dir")):
        with pytest.raises(SystemExit) as ending:
            hydra_train(*options("rte", *mode, f"{option}={file}/run"))
        assert ending.value.code == (
            f"error: {file}/run: cannot be made: Not a directory: choose another folder with {option}=FOLDER"
        )


@pytest.mark.parametrize("recipe", ["rte", "cross-lingual-transfer"])
def test_a_modality_that_is_mandatory_is_not_chosen_silently(recipe, work, monkeypatch):
    monkeypatch.chdir(work)
    given = [option for option in options(recipe) if not str(option).startswith("task.modality")]
    with pytest.raises(SystemExit) as ending:
        hydra_train(*given)
    assert ending.value.code.startswith("error: no --modality (Hydra: task.modality): say what the model reads of an ")


@pytest.mark.parametrize(
    ("folder", "name", "there"),
    [
        (PRETRAINING, "dualgpt-tiny", "dualgpt, dualgpt_tiny, monogpt, "),
        (PRETRAINING, "settings.yml", "dualgpt, dualgpt_tiny, monogpt, "),
        (GLUE, "SST-2", "cola, mnli, mrpc, qnli, qqp, rte, sst2, stsb, wnli"),
        (XNLI, "xnli", "cross-lingual-transfer, translate-train-all"),
    ],
)
def test_a_recipe_that_is_not_there_is_told_with_those_that_are(folder, name, there):
    with pytest.raises(SystemExit) as ending:
        hydra_train(folder, name, "task.data=data")
    assert ending.value.code.startswith(f"error: --config-name {name}: no recipe in {folder}: there are {there}")


def test_other_commands_of_hydra_and_other_folders_are_left_alone(tmp_path):
    assert unknown_recipe(tmp_path, "anything") is None
    (tmp_path / "settings.yaml").write_text("task: {}")
    assert unknown_recipe(tmp_path, "anything") is None
    assert unknown_recipe(PRETRAINING, "dualgpt.yaml") is None


def test_folders_are_named_after_the_data_and_what_a_sweep_varies():
    assert data_name("/corpora/wiki:books/") == "wiki+books"
    assert data_name(None) == "no-data"
    assert len(data_name("/".join(["a" * 250, "b" * 250]))) < 255
    assert job_name(["task.modality=text", "optimization.lr=[1e-5]"]) == "modality=text,lr=1e-5"
    one, other = (job_name([f"task.data={folder}/rte"]) for folder in ("a", "b"))
    assert one != other
    assert one.startswith("data=rte-")
    assert len(job_name([f"task.data={'x' * 300}"])) < 255


def test_a_run_of_a_sweep_forgets_the_best_score_of_the_one_before():
    functions = (checkpoint_utils.save_checkpoint, should_stop_early)
    try:
        functions[0].best = functions[1].best = 0.9
        functions[1].num_runs = 7
        RunFolder().on_job_start(config=None)
        assert [vars(function) for function in functions] == [{}, {}]
    finally:
        for function in functions:
            vars(function).clear()
