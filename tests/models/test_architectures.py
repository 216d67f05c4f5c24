import pytest
from fairseq import models, options
from fairseq.dataclass.initialize import add_defaults
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from omegaconf import OmegaConf

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.models.architectures import ARCHITECTURES


class Task:
    """What the model asks of a task."""

    uses_patches, uses_tokens = True, True
    dictionary = range(100)


pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # fairseq composes its configs in Hydra's old ways


def parsed(*arguments):
    parser = options.get_training_parser(default_task="dummy_lm")
    args = options.parse_args_and_arch(parser, ["--batch-size", "1", *arguments])
    config = convert_namespace_to_omegaconf(args)
    add_defaults(config)
    return config


def from_command_line(*arguments):
    return models.build_model(parsed(*arguments).model, Task())


def from_recipe(**model):
    config = OmegaConf.create({"model": model})
    add_defaults(config)
    return models.build_model(config.model, Task())


def sizes(model):
    return {name: getattr(model.config, name) for name in ARCHITECTURES["pixelgpt"]}


@pytest.mark.parametrize("name", ["pixelgpt_tiny", "pixelgpt_small"])
def test_an_architecture_means_the_same_on_the_command_line_and_in_a_recipe(name):
    assert sizes(from_command_line("--arch", name)) == sizes(from_recipe(_name=name)) == ARCHITECTURES[name]


def test_options_given_win_over_the_architecture():
    expected = ARCHITECTURES["pixelgpt_tiny"] | {"hidden_size": 96, "num_hidden_layers": 1}
    one = from_command_line("--arch", "pixelgpt_tiny", "--hidden-size", "96", "--num-hidden-layers", "1")
    assert sizes(one) == sizes(from_recipe(_name="pixelgpt_tiny", hidden_size=96, num_hidden_layers=1)) == expected


def test_the_plain_architecture_is_the_released_size():
    expected = ARCHITECTURES["pixelgpt"] | {"num_hidden_layers": 1}
    one = from_command_line("--arch", "pixelgpt", "--num-hidden-layers", "1", "--rope-theta", "500")
    assert sizes(one) == sizes(from_recipe(_name="pixelgpt", num_hidden_layers=1)) == expected
    assert one.config.rope_theta == 500


def test_the_task_says_what_the_model_reads():
    model = from_recipe(_name="pixelgpt_tiny")
    assert model.lm_token_head.weight.shape == (100, 192)


@pytest.mark.parametrize("architecture", ["pixelgpt", "pixelgpt_tiny"])
@pytest.mark.parametrize("flag", ["--bf16", "--memory-efficient-bf16"])
def test_bf16_on_the_command_line_needs_no_tpu(flag, architecture):
    config = parsed("--arch", architecture, flag)
    assert config.common.bf16
    assert not config.common.tpu


def test_sizes_that_do_not_fit_together_are_refused():
    with pytest.raises(UserError, match=r"^--hidden-size 192 is not divisible by --num-attention-heads 5"):
        from_recipe(_name="pixelgpt_tiny", num_attention_heads=5)
