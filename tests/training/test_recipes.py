"""Every recipe in examples/ is one that fairseq can train, and its rate falls to the end."""

import functools
import re
import shlex
from types import SimpleNamespace

import pytest
import torch
from fairseq import options
from fairseq.dataclass.initialize import add_defaults, hydra_init
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.models import MODEL_DATACLASS_REGISTRY
from fairseq.optim import FairseqOptimizer
from fairseq.optim.lr_scheduler import build_lr_scheduler
from fairseq.tasks import TASK_DATACLASS_REGISTRY
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra_runs import OUTSIDE_A_RUN
from omegaconf import OmegaConf, open_dict
from toy_corpus import ROOT

from pixelgpt_fairseq.models.architectures import SETTINGS
from pixelgpt_fairseq.tasks import rendered_pretraining  # noqa: F401

FOLDER = ROOT / "pixelgpt_fairseq" / "config" / "pretraining"
RECIPES = sorted(path.stem for path in FOLDER.glob("*gpt*.yaml"))
STREAMS = {"textgpt": "text", "pixelgpt": "pixel", "monogpt": "text,pixel", "dualgpt": "text,pixel,pair"}


@functools.cache
def options_of(recipe):
    """The options that fairseq-hydra-train would train with; not to be changed."""
    GlobalHydra.instance().clear()
    hydra_init(recipe)
    with initialize_config_dir(str(FOLDER), version_base="1.1"):
        cfg = compose(recipe, overrides=["task.data=/data", *OUTSIDE_A_RUN])
    GlobalHydra.instance().clear()
    with open_dict(cfg):
        add_defaults(cfg)
    return OmegaConf.to_container(cfg, resolve=True, enum_to_str=True)


@pytest.fixture
def composed(request):
    """The name of a recipe, and the configuration that fairseq-hydra-train would train with."""
    return request.param, OmegaConf.create(options_of(request.param))


def test_there_is_a_recipe_for_each_model_in_both_sizes():
    assert sorted(RECIPES) == sorted([*STREAMS, *(f"{name}_tiny" for name in STREAMS)])


@pytest.mark.parametrize("composed", RECIPES, indirect=True)
def test_recipe_names_only_settings_that_exist(composed):
    name, cfg = composed
    assert cfg.task.modalities == STREAMS[name.removesuffix("_tiny")]
    assert set(cfg.task) <= {*TASK_DATACLASS_REGISTRY["rendered_pretraining"].__dataclass_fields__, "_name"}
    assert set(cfg.model) <= {*MODEL_DATACLASS_REGISTRY["pixelgpt"].__dataclass_fields__, "_name"}
    assert cfg.optimizer._name == "fused_adamw"
    assert cfg.lr_scheduler._name == "cosine"
    assert cfg.criterion._name == "patch_token_loss"


@pytest.mark.parametrize("composed", ["dualgpt"], indirect=True)
def test_the_plain_recipe_has_the_released_size(composed):
    _, cfg = composed
    sizes = "hidden_size num_hidden_layers num_attention_heads num_key_value_heads intermediate_size".split()
    assert [cfg.model[name] for name in sizes] == [1024, 24, 16, 8, 2816]
    assert cfg.model.max_position_embeddings is None  # that of the checkpoint, if it begins with one
    assert cfg.task.tokens_per_sample == SETTINGS["max_position_embeddings"] == 1024
    assert cfg.common.bf16


@pytest.mark.parametrize("composed", RECIPES, indirect=True)
def test_the_rate_falls_from_the_end_of_the_warm_up_to_the_last_update(composed):
    _, cfg = composed
    warm_up = cfg.lr_scheduler.warmup_updates
    for lr in (cfg.optimization.lr[0], 5e-3):  # the recipe's, and one of the user's own
        cfg.lr_scheduler.lr = [lr]
        rates = learning_rates(cfg)
        assert rates[: warm_up + 1] == sorted(rates[: warm_up + 1])
        assert rates[warm_up] == lr
        assert rates[warm_up:] == sorted(rates[warm_up:], reverse=True)
        assert rates[-2] == pytest.approx(cfg.lr_scheduler.min_lr, rel=1e-2)  # the last with which an update is made


def learning_rates(cfg):
    """What the scheduler of *cfg* says after each update, the start included."""
    optimizer = FairseqOptimizer(None)
    optimizer._optimizer = torch.optim.SGD([torch.zeros(1)])
    scheduler = build_lr_scheduler(cfg.lr_scheduler, optimizer)
    scheduler.cfg = SimpleNamespace(**scheduler.cfg)  # asked for at every update, and slow as OmegaConf
    return [scheduler.step_update(number) for number in range(cfg.optimization.max_update + 1)]


@pytest.fixture
def plain():
    """The configuration of the plain fairseq-train command in examples/pretraining/README.md."""
    text = (ROOT / "examples" / "pretraining" / "README.md").read_text(encoding="utf-8").replace("\\\n", " ")
    (line,) = re.findall(r"^fairseq-train (.*)$", text, re.MULTILINE)
    parser = options.get_training_parser()
    return convert_namespace_to_omegaconf(options.parse_args_and_arch(parser, shlex.split(line)))


@pytest.mark.parametrize("composed", ["dualgpt"], indirect=True)
def test_the_plain_command_of_the_readme_is_the_recipe(composed, plain):
    _, recipe = composed
    recipe.model._name = plain.model._name  # the recipe says the sizes by themselves, the command by --arch
    # Of 8 GPUs; the recipe divides by those of the machine where it is run.
    recipe.optimization.update_freq = recipe.task.update_freq = [4096 // recipe.dataset.batch_size // 8]
    for group in ("task", "model", "criterion", "optimizer", "lr_scheduler", "optimization", "dataset"):
        differing = {
            name: (value, plain[group].get(name))
            for name, value in recipe[group].items()
            if name not in ("data", "save_dir", "disable_validation") and value != plain[group].get(name)
        }
        assert not differing, group
    for name in ("save_interval", "save_interval_updates", "keep_interval_updates", "no_epoch_checkpoints"):
        assert recipe.checkpoint[name] == plain.checkpoint[name]
    for name in ("seed", "log_format", "log_interval", "bf16"):
        assert recipe.common[name] == plain.common[name]
