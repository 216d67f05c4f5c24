"""Hydra's part in the start of a run, done once for all runs of this process.

fairseq lets Hydra put together the configuration of every command line, and OmegaConf take it apart and put it together
again without types. That takes longer than all else in a run of a few updates. Here it is done once for all runs with
the same components, and every value that differs from theirs is set as Hydra would set it.
``test_quick_configs.py`` compares the result with Hydra's. Commands that start Python anew have Hydra's way.
"""

import contextlib
import copy
import enum
import functools
import re
from pathlib import Path

import fairseq.dataclass.utils
import omegaconf.base
from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import OverrideType
from omegaconf import Container, DictConfig, OmegaConf, ValueNode, open_dict
from omegaconf.errors import OmegaConfBaseException

FAIRSEQ = fairseq.dataclass.utils  # where fairseq calls Hydra
CONFIG = Path(fairseq.__file__).parent / "config"
hydras_own = {name: getattr(FAIRSEQ, name) for name in ("compose", "initialize", "OmegaConf")}
_merged = {}  # what is registered beside components -> the configuration with fairseq's defaults
_made = {}  # that, and the components -> what is the same in all runs with them


def install():
    """Let fairseq put configurations together in this way from now on."""
    FAIRSEQ.compose, FAIRSEQ.initialize, FAIRSEQ.OmegaConf = compose, initialize, _OmegaConf
    # Hydra copies all that is registered, for every configuration, and changes nothing of it.
    ConfigStore.__deepcopy__ = lambda store, memo: store
    # An interpolation is a tree, which is only read: "${optimization.lr}" is parsed once, not in every run.
    omegaconf.base.parse = functools.lru_cache(omegaconf.base.parse)


def initialize(config_path):
    """In place of Hydra's function of this name: begins when there is something to merge. fairseq has one folder."""
    assert config_path == "../config"
    return contextlib.nullcontext()


class _OmegaConf(OmegaConf):
    """In place of OmegaConf where fairseq uses Hydra's configuration."""

    @staticmethod
    def to_container(config, **options):
        """As it is: what :func:`compose` returns is what fairseq makes of Hydra's, without types."""
        return config

    @staticmethod
    def create(config):
        return config

    @staticmethod
    def merge(defaults, config):
        """What was given, with the defaults of a component: a dataclass, or an object of one."""
        kind = defaults if isinstance(defaults, type) else type(defaults)
        is_default = defaults is kind or defaults == kind()
        return OmegaConf.merge(_structured(kind) if is_default else defaults, config)


def compose(config_name, overrides, strict):
    """As Hydra's function of this name, for fairseq's calls of it: a value has a dot in its name, a component none."""
    components, values = [], []
    for override in overrides:
        (values if "." in override.partition("=")[0] else components).append(override)
    merged_config = merged(config_name, strict)
    key = (_Identity(merged_config), *components)
    if key not in _made:
        _made[key] = _Components(merged_config, components)
    return _made[key].with_values(values)


class _Components:
    """The configuration of chosen components: with types, as Hydra makes it, and without, as fairseq uses it."""

    def __init__(self, merged_config, components):
        registered = ConfigStore.instance().repo
        self.typed = copy.deepcopy(merged_config)
        for component in components:
            group, _, name = component.partition("=")
            with open_dict(self.typed):
                self.typed[group] = None if name == "null" else copy.deepcopy(registered[group][f"{name}.yaml"].node)
        OmegaConf.set_struct(self.typed, True)
        self.plain = _untyped(self.typed)
        self.interpolations = {place: _source(node) for place, node in _leaves(self.typed) if node._is_interpolation()}
        self.effects = {}  # override -> the place of a value, the value, and whether it is there already

    def with_values(self, overrides):
        """The configuration, without types, with the values of *overrides*."""
        try:
            given = {place: (value, is_there) for place, value, is_there in map(self._effect, overrides)}
        except (_NotPlain, OmegaConfBaseException):
            config = copy.deepcopy(self.typed)
            ConfigLoaderImpl._apply_overrides_to_config([_parse(override) for override in overrides], config)
            return _untyped(config)
        for place, source in self.interpolations.items():
            if source in given:
                given.setdefault(place, given[source])
        config = _copied(self.plain)
        for (group, name), (value, is_there) in given.items():
            if not is_there:
                config[group][name] = value
        return config

    def _effect(self, override):
        if override not in self.effects:
            self.effects[override] = self._find_effect(_parse(override))
        return self.effects[override]

    def _find_effect(self, override):
        group, _, name = override.key_or_group.partition(".")
        value, component = override.value(), self.typed.get(group)
        if override.type is not OverrideType.CHANGE or not component or "." in name or isinstance(value, dict):
            raise _NotPlain
        if _is(component._get_node(name), value):  # as most are
            return (group, name), value, True
        component = copy.deepcopy(component)
        component[name] = value
        node = component._get_node(name)
        if isinstance(node, Container):
            return (group, name), OmegaConf.to_container(node, resolve=True, enum_to_str=True), False
        value = node._value()
        value = value.name if isinstance(value, enum.Enum) else value
        return (group, name), value, _is(self.plain[group]._get_node(name), value)


class _NotPlain(Exception):
    """Hydra's own function has to set this value."""


def _is(node, value):
    """Whether a value is there already."""
    return isinstance(node, ValueNode) and type(node._value()) is type(value) and node._value() == value


def _untyped(config):
    """What fairseq makes of Hydra's configuration."""
    return OmegaConf.create(OmegaConf.to_container(config, resolve=True, enum_to_str=True))


def _leaves(config, *place):
    """Every value of a configuration: its place, and its node."""
    for name in config:
        node = config._get_node(name)
        if isinstance(node, Container) and not node._is_none() and not node._is_interpolation():
            yield from _leaves(node, *place, name) if isinstance(node, DictConfig) else ()
        else:
            yield (*place, name), node


def _source(node):
    """The place that an interpolation stands for; fairseq has none of other forms."""
    return tuple(re.fullmatch(r"\$\{(\w+)\.(\w+)\}", node._value()).groups())


def _copied(node, parent=None):
    """A node without types, copied with all in it; OmegaConf's own way takes several times as long."""
    copied, metadata = object.__new__(type(node)), object.__new__(type(node._metadata))
    metadata.__dict__.update(node._metadata.__dict__, flags=dict(node._metadata.flags))
    copied.__dict__.update(node.__dict__, _metadata=metadata, _parent=parent, _flags_cache=None)
    content = node.__dict__.get("_content")
    if isinstance(content, dict):
        copied.__dict__["_content"] = {key: _copied(value, copied) for key, value in content.items()}
    elif isinstance(content, list):
        copied.__dict__["_content"] = [_copied(value, copied) for value in content]
    return copied


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


_structured = functools.lru_cache(OmegaConf.structured)  # to be copied


class _Identity:
    def __init__(self, thing):
        self.thing = thing

    def __eq__(self, other):
        return self.thing is other.thing

    def __hash__(self):
        return id(self.thing)
