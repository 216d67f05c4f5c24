"""Every recipe in examples/ is one that fairseq can train."""

import pytest
from fairseq.dataclass.initialize import add_defaults, hydra_init
from fairseq.models import MODEL_DATACLASS_REGISTRY
from fairseq.tasks import TASK_DATACLASS_REGISTRY
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra_runs import OUTSIDE_A_RUN
from omegaconf import OmegaConf, open_dict
from toy_corpus import ROOT

from pixelgpt_fairseq.models.pixelgpt import SETTINGS
from pixelgpt_fairseq.tasks import rendered_pretraining  # noqa: F401

FOLDER = ROOT / "examples" / "pretraining"
RECIPES = sorted(path.stem for path in FOLDER.glob("*gpt*.yaml"))
STREAMS = {"textgpt": "text", "pixelgpt": "pixel", "monogpt": "text,pixel", "dualgpt": "text,pixel,pair"}


@pytest.fixture
def composed(request):
    """The configuration that fairseq-hydra-train would train with."""
    GlobalHydra.instance().clear()
    hydra_init(request.param)
    with initialize_config_dir(str(FOLDER), version_base="1.1"):
        cfg = compose(request.param, overrides=["task.data=/data", *OUTSIDE_A_RUN])
    GlobalHydra.instance().clear()
    with open_dict(cfg):
        add_defaults(cfg)
    return request.param, OmegaConf.create(OmegaConf.to_container(cfg, resolve=True, enum_to_str=True))


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
