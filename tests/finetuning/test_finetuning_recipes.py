"""The published fine-tuning recipes: a table, configurations for Hydra, and the script that runs them."""

import itertools
import json
import shlex
import shutil
from collections import Counter

import pytest
import torch
from fairseq import options, tasks
from fairseq.data import iterators
from fairseq.dataclass.initialize import add_defaults, hydra_init
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.logging import metrics
from fairseq.models import MODEL_DATACLASS_REGISTRY
from fairseq.tasks import TASK_DATACLASS_REGISTRY
from fairseq.trainer import Trainer
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra_runs import OUTSIDE_A_RUN
from omegaconf import OmegaConf, open_dict
from processes import start_fairseq_by_fork
from refusals import refusal, script
from toy_corpus import ROOT
from toy_glue import write_examples

from pixelgpt_fairseq.checkpoints.loading import load_checkpoint
from pixelgpt_fairseq.conversion.released_folders import export_released
from pixelgpt_fairseq.data.data_folder import DataFolder
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.finetuning import recipes
from pixelgpt_fairseq.finetuning.recipes import find_recipe, load_recipes, published_recipes, share_of_batch
from pixelgpt_fairseq.sources.glue import GLUE_TASKS
from pixelgpt_fairseq.sources.xnli import XNLI
from pixelgpt_fairseq.training import launch

FOLDER = ROOT / "pixelgpt_fairseq" / "config"
RECIPES = published_recipes()
TINY_MODEL = "--arch pixelgpt_tiny --hidden-size 32 --num-hidden-layers 1 --intermediate-size 32".split()
EXAMPLES = 24
PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
finetune = script("finetune")


@pytest.fixture(scope="module")
def data(toy_data, tmp_path_factory):
    """Folders of rendered examples by the name of their task in the table."""
    folder, tokenizer = tmp_path_factory.mktemp("tasks"), DataFolder(toy_data).tokenizer()
    for name, (task, _) in GLUE_TASKS.items():
        for split in ("train", *recipes.validation_splits(name)):
            write_examples(folder / name, split, task, tokenizer, EXAMPLES)
    for split, language in itertools.product(("train", "valid"), ("en", "sw")):
        write_examples(folder / "xnli", f"{split}.{language}", XNLI, tokenizer, EXAMPLES)
    return {recipe.task: folder / recipe.task.split("_")[0] for recipe in RECIPES}


# The table


def test_the_table_has_every_model_task_and_modality_once():
    modalities = {"dualgpt": 3, "monogpt": 3, "pixelgpt": 1, "textgpt": 1}
    assert Counter(recipe.model for recipe in RECIPES) == {name: 11 * count for name, count in modalities.items()}
    assert len({recipe.name for recipe in RECIPES}) == len(RECIPES) == 88
    assert {recipe.modality for recipe in RECIPES if recipe.model == "textgpt"} == {"text"}
    assert {recipe.modality for recipe in RECIPES if recipe.model == "pixelgpt"} == {"pixel"}


def test_a_sweep_is_every_learning_rate_with_every_batch():
    variants = find_recipe("monogpt", "qnli", "pair").variants()
    found = [(variant.lr, variant.effective_batches) for variant in variants]
    assert found == [((lr,), (batch,)) for lr in (1e-5, 3e-5, 5e-5, 1e-4) for batch in (64, 128, 256, 512)]
    assert find_recipe("textgpt", "wnli", "text").variants() == [find_recipe("textgpt", "wnli", "text")]
    assert sum(len(recipe.variants()) for recipe in RECIPES) == sum(
        len(recipe.lr) * len(recipe.grad_accum) for recipe in RECIPES
    )


@pytest.mark.parametrize("gpus", [1, 2, 4, 8])
def test_the_examples_of_an_update_are_the_recipes_on_any_machine(gpus):
    for variant in (variant for recipe in RECIPES for variant in recipe.variants()):
        (expected,) = variant.effective_batches
        for fitting in (1, 3, variant.batch_per_gpu, 100):
            batch_size, update_freq = share_of_batch(expected, gpus, fitting)
            assert batch_size * update_freq * gpus == expected
            assert 1 <= batch_size <= fitting


def test_short_examples_take_the_room_of_the_recipes_padded_batch():
    pixel, pair = find_recipe("dualgpt", "rte", "pixel"), find_recipe("dualgpt", "rte", "pair")
    assert [pixel.fitting(longest) for longest in (768, 769, 385, 384, 100)] == [8, 8, 8, 16, 56]
    assert [pair.fitting(longest) for longest in (1024, 513, 512)] == [4, 4, 8]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            "\tdualgpt\trte\tpixel\t768\t8\t4\t2\tfast\t250\t10\t50\taccuracy\t8\tfp32\t\t",
            "line 2: not a recipe: .*'fast'",
        ),
        (
            "\tdualgpt\trte\tpixel\t768\t8\t4\t2\t1e-5\t250\t10\t50\taccuracy\t8\tfp8\t\t",
            "precision 'fp8' is none of fp32",
        ),
        ("dualgpt\trte\tpixel", "line 2: not a recipe"),
    ],
)
def test_a_row_that_is_no_recipe_is_named(tmp_path, row, message):
    path = tmp_path / "recipes.tsv"
    header = recipes.TABLE.read_text(encoding="utf-8").splitlines()[0]
    path.write_text(f"{header}\n{row}\n")
    with pytest.raises(UserError, match=message):
        load_recipes(path)


# What the recipes mean to fairseq


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_every_recipe_takes_a_training_step(recipe, data, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    first = recipe.variants()[0]
    one_process = shlex.split(
        "--cpu --distributed-world-size 1 --num-workers 0 --fp16-no-flatten-grads --fp16-init-scale 4"
    )
    arguments = recipes.training_options(
        first, data[recipe.task], tmp_path, TINY_MODEL, recipe.gpus, seed=3, extra=one_process
    )
    parsed = options.parse_args_and_arch(options.get_training_parser(), arguments)
    cfg = convert_namespace_to_omegaconf(parsed)
    assert cfg.dataset.batch_size * recipe.gpus * cfg.optimization.update_freq[0] == first.effective_batches[0]
    assert cfg.checkpoint.best_checkpoint_metric == recipes.best_metric(recipe)
    assert cfg.checkpoint.maximize_best_checkpoint_metric
    assert [cfg.common.fp16, cfg.common.bf16] == [recipe.precision == kind for kind in ("fp16", "bf16")]

    metrics.reset()  # as fairseq-train does
    task = tasks.setup_task(cfg.task)
    task.load_dataset("train")
    torch.manual_seed(cfg.common.seed)
    trainer = Trainer(cfg, task, task.build_model(cfg.model), task.build_criterion(cfg.criterion))
    batches = trainer.get_train_iterator(epoch=1, load_dataset=False).next_epoch_itr()
    update = next(iterators.GroupedIterator(batches, cfg.optimization.update_freq[0]))
    there = EXAMPLES * 2 if recipe.task == "xnli_train_all" else EXAMPLES
    assert sum(sample["nsentences"] for sample in update) == min(there, first.effective_batches[0] // recipe.gpus)
    assert max(sample["ntokens"] for sample in update) <= cfg.dataset.batch_size * recipe.max_positions * 2
    before = {name: weight.clone() for name, weight in trainer.model.named_parameters()}
    logged = [trainer.train_step(update) for _ in range(2)]  # the rate of the first is zero, where warm-up begins
    assert all(0 < step["loss"] < 20 for step in logged)
    assert trainer.get_lr() == pytest.approx(first.lr[0] * 2 / recipe.warmup)
    assert {weight.dtype for weight in trainer.model.parameters()} == {PRECISIONS[recipe.precision]}
    trained = {name for name, weight in trainer.model.named_parameters() if not torch.equal(weight, before[name])}
    read = {"pixel": ["patches"], "text": ["tokens"], "pair": ["patches", "tokens"]}[recipe.modality]
    if recipe.precision == "fp32":  # in half precision, a step this small is lost in the rounding
        for part in ("score", "model.layers.0.mlp", *(f"model.embed_{name}" for name in read)):
            assert any(name.startswith(f"{part}.") for name in trained), part


# Hydra


def composed(folder, name, *overrides):
    """The configuration that fairseq-hydra-train would train with, in the checkout."""
    GlobalHydra.instance().clear()
    hydra_init(name)
    with initialize_config_dir(str(FOLDER / folder), version_base="1.1"):
        cfg = compose(name, overrides=["task.data=/data", "task.modality=pair", *OUTSIDE_A_RUN, *overrides])
    GlobalHydra.instance().clear()
    with open_dict(cfg):
        add_defaults(cfg)
    return OmegaConf.create(OmegaConf.to_container(cfg, resolve=True, enum_to_str=True))


def test_there_is_a_configuration_for_each_task():
    assert {path.stem for path in (FOLDER / "glue").glob("*.yaml")} == {*GLUE_TASKS, "settings"}
    assert {path.stem for path in (FOLDER / "xnli").glob("*.yaml")} == {*recipes.XNLI_SETTINGS.values(), "settings"}


@pytest.mark.parametrize("size", ["released", "tiny"])
@pytest.mark.parametrize("name", [*GLUE_TASKS, *recipes.XNLI_SETTINGS])
def test_a_configuration_names_only_settings_that_exist_and_what_the_table_says(name, size, monkeypatch):
    monkeypatch.chdir(ROOT)
    where = ("xnli", recipes.XNLI_SETTINGS[name]) if name in recipes.XNLI_SETTINGS else ("glue", name)
    cfg, rows = composed(*where, f"size={size}"), [recipe for recipe in RECIPES if recipe.task == name]
    assert set(cfg.task) <= {*TASK_DATACLASS_REGISTRY[cfg.task._name].__dataclass_fields__, "_name"}
    assert set(cfg.model) <= {*MODEL_DATACLASS_REGISTRY["pixelgpt"].__dataclass_fields__, "_name"}
    for option, value in recipes.task_options(name).items():
        group = cfg.dataset if option == "valid-subset" else cfg.task
        assert group["_name" if option == "task" else option.replace("-", "_")] == value
    assert (cfg.optimizer._name, cfg.lr_scheduler._name) == ("fused_adamw", "polynomial_decay")
    assert (cfg.criterion._name, cfg.common.cpu) == ("rendered_classification", size == "tiny")
    assert cfg.model._name == {"released": "pixelgpt", "tiny": "pixelgpt_tiny"}[size]
    assert cfg.distributed_training.distributed_world_size == {"released": launch.workers(), "tiny": 1}[size]
    assert cfg.optimization.max_update == cfg.lr_scheduler.total_num_update == max(row.max_steps for row in rows)
    assert {cfg.lr_scheduler.warmup_updates} == {row.warmup for row in rows}
    assert {cfg.dataset.validate_interval_updates} == {row.eval_every for row in rows}
    assert cfg.checkpoint.save_interval_updates == cfg.dataset.validate_interval_updates
    assert {cfg.checkpoint.best_checkpoint_metric} == {recipes.best_metric(row) for row in rows}
    assert {cfg.checkpoint.patience} == {row.patience for row in rows}


def test_what_the_table_leaves_to_a_sweep_is_its_most_common_value():
    cfg = composed("glue", "rte")
    single = [recipe for recipe in RECIPES if recipe.task in GLUE_TASKS and len(recipe.variants()) == 1]
    assert list(cfg.optimization.lr) == list(Counter(recipe.lr for recipe in single).most_common(1)[0][0])
    batch = cfg.dataset.batch_size * cfg.distributed_training.distributed_world_size * cfg.optimization.update_freq[0]
    assert batch == Counter(recipe.effective_batches[0] for recipe in single).most_common(1)[0][0]


# pixelgpt finetune


def choose(model, task, modality, data, *more):
    start = () if "--checkpoint" in more else ("--from-scratch", "--arch", "pixelgpt_tiny")
    return ["--model", model, "--task", task, "--modality", modality, "--data", data, "--gpus", "0", *start, *more]


def planned(capsys, *arguments):
    """The commands that finetune.py prints, parsed, by the folder of their checkpoints."""
    finetune([str(argument) for argument in ("--dry-run", *arguments)])
    found = {}
    for line in capsys.readouterr().out.splitlines():
        if line.startswith("fairseq-train "):
            parsed = options.parse_args_and_arch(options.get_training_parser(), shlex.split(line)[1:])
            found[parsed.save_dir] = parsed
    return found


def test_a_sweep_enumerates_every_value_of_the_recipe_and_every_seed(data, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    save_dir = ["--save-dir", tmp_path / "runs"]
    runs = planned(capsys, *choose("dualgpt", "wnli", "pixel", data["wnli"], "--sweep", "--seed", 1, 2, *save_dir))
    found = Counter((run.lr[0], run.batch_size * run.update_freq[0], run.seed) for run in runs.values())
    assert found == dict.fromkeys(itertools.product((1e-5, 3e-5, 5e-5), (16, 32, 64, 128), (1, 2)), 1)
    assert f"{tmp_path}/runs/lr1e-05-batch16-seed2" in runs
    (only,) = planned(capsys, *choose("dualgpt", "wnli", "pixel", data["wnli"], *save_dir)).values()
    assert (only.lr, only.save_dir) == ([1e-5], str(tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()


def test_the_architecture_and_the_strips_of_pairs_are_left_to_the_checkpoint(data, checkpoint, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    arguments = choose("dualgpt", "rte", "pair", data["rte"], "--checkpoint", checkpoint)
    (run,) = planned(capsys, *arguments).values()
    assert (run.arch, run.finetune_from_model) == ("pixelgpt", str(checkpoint))
    assert (run.pair_patches, run.max_positions) == (None, 512)


def test_a_released_folder_is_converted_beside_its_runs(data, checkpoint, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    export_released(checkpoint, tmp_path / "dualgpt", progress=False)
    start = ["--checkpoint", tmp_path / "dualgpt", "--save-dir", tmp_path / "runs"]
    (run,) = planned(capsys, *choose("dualgpt", "xnli_train_en", "text", data["xnli_train_en"], *start)).values()
    assert (run.task, run.setting) == ("rendered_xnli", "cross-lingual-transfer")
    converted = tmp_path / "runs" / "dualgpt.pt"
    assert run.finetune_from_model == str(converted)
    assert not converted.exists()
    failing = shutil.which("false")
    monkeypatch.setattr("shutil.which", lambda *program, **path: failing)
    message = refusal(finetune, *choose("dualgpt", "xnli_train_en", "text", data["xnli_train_en"], *start))
    assert message == f"1 of 1 runs failed, see above: {tmp_path / 'runs'}"
    weights = load_checkpoint(converted).model.state_dict()
    for name, weight in load_checkpoint(checkpoint).model.state_dict().items():
        assert torch.equal(weight, weights[name]), name


def test_options_after_two_hyphens_win(data, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    arguments = choose("textgpt", "sst2", "text", data["sst2"], "--", "--max-update", "7", "--dropout", "0.5")
    (run,) = planned(capsys, *arguments).values()
    assert (run.max_update, int(run.total_num_update), run.dropout) == (7, 7, 0.5)


def test_values_of_ones_own_make_a_run_each_in_a_folder_of_its_values(data, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    arguments = choose("dualgpt", "rte", "pair", data["rte"])
    runs = planned(capsys, *arguments, "--lr", "1e-4", "3e-4", "--batch", 24)
    assert {folder: (run.lr, run.batch_size * run.update_freq[0]) for folder, run in runs.items()} == {
        "checkpoints/dualgpt-rte-pair/lr0.0001-batch24-seed1": ([1e-4], 24),
        "checkpoints/dualgpt-rte-pair/lr0.0003-batch24-seed1": ([3e-4], 24),
    }
    ((folder, run),) = planned(capsys, *arguments, "--seed", 7).items()
    assert (folder, run.seed) == ("checkpoints/dualgpt-rte-pair/lr1e-05-batch32-seed7", 7)
    swept = planned(capsys, *arguments, "--sweep", "--lr", "0.5", "--save-dir", "runs/here")
    assert [run.batch_size * run.update_freq[0] for run in swept.values()] == [32, 64, 128, 256, 512]
    for option in ("--lr", "--seed", "--batch-size", "--update-freq"):
        message = refusal(finetune, *arguments, "--", option, "1")
        assert message.startswith(f"{option} after --: give --")


@pytest.mark.parametrize(
    ("examples", "more", "updates", "interval"),
    [(24, (), 625, 31), (24, ("--batch", 8), 2500, 125), (10**7, (), 15000, 750)],
)
def test_the_recipe_of_a_task_of_ones_own_fits_its_data(
    data, tmp_path, capsys, monkeypatch, examples, more, updates, interval
):
    monkeypatch.chdir(ROOT)
    shutil.copytree(data["stsb"], tmp_path / "stars")
    path = tmp_path / "stars" / "train.manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"examples": examples}))
    start = ["--from-scratch", "--arch", "pixelgpt_tiny", "--gpus", 0, "--model", "dualgpt", "--modality", "text"]
    ((folder, run),) = planned(
        capsys, *start, "--task", tmp_path / "stars", "--save-dir", tmp_path / "run", *more
    ).items()
    assert (run.data, run.task, run.glue_task, run.valid_subset) == (
        str(tmp_path / "stars"),
        "rendered_glue",
        None,
        "valid",
    )
    assert (run.max_update, run.validate_interval_updates, run.lr) == (updates, interval, [5e-5])
    assert run.best_checkpoint_metric == "spearmanr"
    assert folder == str(tmp_path / "run")


def test_what_no_recipe_for_a_task_of_ones_own_can_be(data, tmp_path):
    start = ["--from-scratch", "--modality", "text"]
    line = refusal(finetune, *start, "--model", "bert", "--task", data["rte"])
    assert line == "--model bert: none of dualgpt, monogpt, pixelgpt, textgpt"
    assert refusal(finetune, *start, "--model", "dualgpt", "--task", tmp_path).startswith(f"{tmp_path}")
    line = refusal(finetune, *start, "--model", "dualgpt", "--task", "rte")
    assert line == "--data: name the folder of rte's rendered examples"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("bert", "rte", "text"), "--model bert: no recipe: there is one for dualgpt, monogpt, pixelgpt, textgpt"),
        (("pixelgpt", "rte", "text"), "--modality text: no recipe of pixelgpt on rte: there is one for pixel"),
        (("dualgpt", "imdb", "text"), "--task imdb: no recipe of dualgpt: there is one for .*rte"),
        (("dualgpt", "rte", "text", "--batch-size", "0"), "--batch-size 0: at least 1"),
        (("dualgpt", "rte", "text", "--gpus", "3"), "32 examples an update cannot be shared out evenly to 3 GPUs"),
        (("dualgpt", "rte", "text", "--checkpoint", "/nowhere.pt"), "/nowhere.pt: no such file"),
        (("dualgpt", "cola", "text"), "--glue-task cola: .* holds task rte"),
    ],
)
def test_mistakes_are_told_in_one_line(arguments, message, data, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit, match=message):
        finetune([str(argument) for argument in (*choose(*arguments[:3], data["rte"], *arguments[3:]), "--dry-run")])


def test_finetuning_by_recipe_from_a_pretrained_checkpoint(data, checkpoint, tmp_path, monkeypatch, capsys):
    save_dir = tmp_path / "run"
    few = ["--", "--max-update", "4", "--validate-interval-updates", "2"]
    start = ["--checkpoint", checkpoint, "--save-dir", save_dir]
    arguments = choose("dualgpt", "rte", "pixel", data["rte"], *start, *few)
    with monkeypatch.context() as patch:
        printed = start_fairseq_by_fork(patch)
        finetune([str(argument) for argument in arguments])
    assert "loading pretrained model" in printed[0]
    *_, last = capsys.readouterr().out.splitlines()
    best = torch.load(save_dir / "checkpoint_best.pt", weights_only=True)["extra_state"]["best"]
    assert last == f"{save_dir / 'checkpoint_best.pt'}: accuracy {best}"
    assert json.loads((save_dir / "run.json").read_text())["finished"] is True

    finetune([str(argument) for argument in arguments])  # again: nothing is trained
    assert f"{save_dir}: finished before" in capsys.readouterr().out
    message = refusal(finetune, *choose("dualgpt", "rte", "text", data["rte"], *start, *few))
    assert message.startswith(f"{save_dir}: holds another run (recipe dualgpt, rte, pixel, not dualgpt, rte, text)")
