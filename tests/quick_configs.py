"""Hydra's part in the start of a run, done once for all runs of this process.

fairseq lets Hydra put together the configuration of every command line. That takes twice as long as all else in a run
of a few updates: parsing each option with a grammar, and merging the defaults of the components that were chosen. Here,
what was parsed and merged before is used again, and the components are put into it; the values are then set by Hydra's
own function.
``test_quick_configs.py`` compares the result with Hydra's. Commands that start Python anew have Hydra's way.
"""

import contextlib
import copy
import functools
from pathlib import Path

import fairseq.dataclass.utils
import omegaconf.base
from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import OverrideType
from omegaconf import OmegaConf, ValueNode, open_dict
from omegaconf.errors import OmegaConfBaseException

FAIRSEQ = fairseq.dataclass.utils  # where fairseq calls Hydra
CONFIG = Path(fairseq.__file__).parent / "config"
hydras_own = {name: getattr(FAIRSEQ, name) for name in ("compose", "initialize")}
_merged = {}  # what is registered beside components -> the configuration with fairseq's defaults


def install():
    """Let fairseq put configurations together in this way from now on."""
    FAIRSEQ.compose, FAIRSEQ.initialize = compose, initialize
    # Hydra copies all that is registered, for every configuration, and changes nothing of it.
    ConfigStore.__deepcopy__ = lambda store, memo: store
    # An interpolation is a tree, which is only read: "${optimization.lr}" is parsed once, not in every run.
    omegaconf.base.parse = functools.lru_cache(omegaconf.base.parse)


def initialize(config_path):
    """In place of Hydra's function of this name: begins when there is something to merge. fairseq has one folder."""
    assert config_path == "../config"
    return contextlib.nullcontext()


def compose(config_name, overrides, strict):
    """As Hydra's function of this name, for fairseq's calls of it: a value has a dot in its name, a component none."""
    components, values = [], []
    for override in overrides:
        (values if "." in override.partition("=")[0] else components).append(override)
    registered = ConfigStore.instance().repo
    config = copy.deepcopy(merged(config_name, strict))
    for component in components:
        group, _, name = component.partition("=")
        with open_dict(config):
            config[group] = None if name == "null" else copy.deepcopy(registered[group][f"{name}.yaml"].node)
    OmegaConf.set_struct(config, True)
    for value in values:
        _set(config, _parse(value))
    OmegaConf.set_struct(config, strict)
    return config


def _set(config, override):
    """Set a value; Hydra's own function asks more of each, and sets what is not plainly one of a component's."""
    group, _, name = override.key_or_group.partition(".")
    value = override.value()
    component = config.get(group)
    if override.type is OverrideType.CHANGE and component and "." not in name and not isinstance(value, dict):
        if _is(component, name, value):  # as most are
            return
        with contextlib.suppress(OmegaConfBaseException):
            component[name] = value
            return
    ConfigLoaderImpl._apply_overrides_to_config([override], config)


def _is(component, name, value):
    """Whether a value is there and the default already."""
    node = component._get_node(name, validate_access=False)
    return isinstance(node, ValueNode) and type(node._value()) is type(value) and node._value() == value


def merged(config_name, strict):
    """The configuration with fairseq's defaults, merged once; not to be changed."""
    # The nodes themselves, which stay alive with the key, so that no other can have the identity of one of them.
    nodes = [node for node in ConfigStore.instance().repo.values() if not isinstance(node, dict)]
    key = (config_name, *map(_Identity, nodes))
    if key not in _merged:
        with initialize_config_dir(str(CONFIG)):
            _merged[key] = hydras_own["compose"](config_name, strict=strict)
    return _merged[key]


@functools.lru_cache(maxsize=10_000)
def _parse(override):
    return OverridesParser.create().parse_overrides([override])[0]


class _Identity:
    def __init__(self, thing):
        self.thing = thing

    def __eq__(self, other):
        return self.thing is other.thing

    def __hash__(self):
        return id(self.thing)
