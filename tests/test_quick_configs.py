import omegaconf.base
import pytest
import quick_configs
from fairseq import options
from fairseq.dataclass.initialize import add_defaults
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import OmegaConf
from toy_corpus import TOY_TRAINING
from toy_finetuning import TRAINING


def namespace(*arguments):
    return options.parse_args_and_arch(options.get_training_parser(), list(arguments))


def hydras_own(monkeypatch):
    """Let fairseq have Hydra's way again."""
    for name, function in quick_configs.hydras_own.items():
        monkeypatch.setattr(quick_configs.FAIRSEQ, name, function)
    monkeypatch.delattr(ConfigStore, "__deepcopy__")
    monkeypatch.setattr(omegaconf.base, "parse", omegaconf.base.parse.__wrapped__)


def described(node):
    """The kinds of all nodes, which equality passes over."""
    content = node.__dict__.get("_content")
    inside = content.items() if isinstance(content, dict) else enumerate(content or ())
    return type(node), node._metadata, node._get_flag("struct"), {key: described(value) for key, value in inside}


@pytest.mark.parametrize(
    "arguments",
    [
        (*TOY_TRAINING, "a:b"),
        (*TOY_TRAINING, "--optimizer", "fused_adamw", "--lr", "1e-3,1e-4", "--update-freq", "2,1", "data"),
        (*TOY_TRAINING, "--optimizer", "sgd", "--bf16", "data"),
        (*TRAINING, "--modality", "pair", "--valid-subset", "valid,valid_mismatched", "--save-dir", "a b/c'd=e", "x"),
        (*TRAINING, "--modality", "text", "--train-subset", "1", "--adam-betas", "(0.9, 0.95)", "null"),
    ],
)
def test_a_configuration_is_what_hydra_makes_of_the_command_line(arguments, monkeypatch):
    found = [convert_namespace_to_omegaconf(namespace(*arguments)) for _ in range(2)]
    hydras_own(monkeypatch)
    found.append(convert_namespace_to_omegaconf(namespace(*arguments)))
    assert found[0] == found[1] == found[2]
    assert described(found[0]) == described(found[1]) == described(found[2])
    add_defaults(found[2])
    monkeypatch.undo()
    add_defaults(found[0])
    assert found[0] == found[2]
    assert described(found[0]) == described(found[2])
    assert not any(config._get_flag("readonly") for config in found)
    assert found[0].optimization.lr


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize(("name", "value"), [("optimizer", "none_such"), ("log_format", "neither")])
def test_what_hydra_refuses_is_refused(quick, name, value, monkeypatch):
    if not quick:
        hydras_own(monkeypatch)
    args = namespace(*TOY_TRAINING, "data")
    setattr(args, name, value)
    with pytest.raises((HydraException, KeyError)):
        convert_namespace_to_omegaconf(args)


def test_one_run_does_not_change_the_configuration_of_the_next():
    for _ in range(2):
        cfg = convert_namespace_to_omegaconf(namespace(*TOY_TRAINING, "data"))
        assert cfg.common.seed == 1
        cfg.common.seed = 7
        cfg.optimization.lr.append(0.5)
        assert len(cfg.optimization.lr) == 2
        OmegaConf.set_readonly(cfg, True)
