# ruff: noqa: UP045  (fairseq reads Optional[...] off its dataclasses, and knows no "int | None")
"""The options of the model, and the architectures: named sets of sizes, which fairseq registers under ``--arch``."""

import importlib.util
from dataclasses import dataclass, field, fields
from typing import Optional

from fairseq.dataclass import FairseqDataclass
from fairseq.models import ARCH_CONFIG_REGISTRY, register_model_architecture

from pixelgpt_fairseq.data.patches import PATCH_SIZE
from pixelgpt_fairseq.errors import UserError

# Named sets of sizes. The first is the size of the released models.
ARCHITECTURES = {
    "pixelgpt": {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "intermediate_size": 2816,
    },
    "pixelgpt_base": {
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "num_key_value_heads": 6,
        "intermediate_size": 2048,
    },
    "pixelgpt_small": {
        "hidden_size": 256,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 704,
    },
    "pixelgpt_tiny": {
        "hidden_size": 192,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 512,
    },
}
# Other settings of a model, with one default for all architectures.
SETTINGS = {
    "max_position_embeddings": 1024,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "num_channels": 3,
    "tie_word_embeddings": False,
    "extra_token_rows": 0,
    "classifier_head": "linear",
    "patch_size": None,  # that of the data: see take_patch_size
}
_SIZE_HELP = " (default: that of the architecture; the released models have {})"


def _size(help_text: str, name: str):
    """A field that the architecture fills in unless the user sets it."""
    return field(default=None, metadata={"help": help_text + _SIZE_HELP.format(ARCHITECTURES["pixelgpt"][name])})


def _setting(help_text: str, name: str):
    """A field that the checkpoint, or else :data:`SETTINGS`, fills in unless the user sets it."""
    default = f" (default: that of the checkpoint that training begins with, if any, or else {SETTINGS[name]})"
    return field(default=None, metadata={"help": help_text + default})


@dataclass
class PixelGPTConfig(FairseqDataclass):
    """Sizes and training switches of the model, named as in the released ``config.json``."""

    hidden_size: Optional[int] = _size("width of the residual stream", "hidden_size")
    num_hidden_layers: Optional[int] = _size("decoder layers", "num_hidden_layers")
    num_attention_heads: Optional[int] = _size("query heads; they divide the hidden size", "num_attention_heads")
    num_key_value_heads: Optional[int] = _size(
        "key-value heads, each shared by as many query heads; equal to the query heads for plain attention",
        "num_key_value_heads",
    )
    intermediate_size: Optional[int] = _size("width inside the SwiGLU block", "intermediate_size")
    max_position_embeddings: Optional[int] = _setting(
        "longest sequence: patches, tokens, or both of a pair together", "max_position_embeddings"
    )
    rms_norm_eps: Optional[float] = _setting("added to the mean square in RMSNorm", "rms_norm_eps")
    rope_theta: Optional[float] = _setting("base of the rotary position frequencies", "rope_theta")
    num_channels: Optional[int] = _setting("color channels of a patch: 3, or 1 for gray only", "num_channels")
    patch_size: Optional[int] = field(
        default=None,
        metadata={
            "help": "pixels per side of a patch (default: that of the data, which --patch-size of the render commands "
            "chooses)"
        },
    )
    tie_word_embeddings: Optional[bool] = _setting(
        "use the token embedding as the token prediction head, too", "tie_word_embeddings"
    )
    extra_token_rows: Optional[int] = _setting(
        "rows of the token embedding and head beyond the tokenizer's tokens, as of models whose vocabulary is padded "
        "to a multiple of 64: kept, and never predicted",
        "extra_token_rows",
    )
    classifier_head: Optional[str] = _setting(
        "registered head of a classifier: linear, or one of your own", "classifier_head"
    )
    initializer_range: float = field(
        default=0.02, metadata={"help": "standard deviation of the initial weights of projections and embeddings"}
    )
    dropout: float = field(default=0.0, metadata={"help": "dropout after attention and after the SwiGLU block"})
    attention_dropout: float = field(default=0.0, metadata={"help": "dropout of attention weights"})
    checkpoint_activations: bool = field(
        default=False, metadata={"help": "recompute each layer in the backward pass: less memory, a third slower"}
    )
    compile: bool = field(
        default=False,
        metadata={"help": "on a GPU, compile layers and losses: faster, after some seconds of compiling"},
    )
    tf32: bool = field(
        default=False,
        metadata={"help": "on a GPU, multiply float32 matrices with 10 bits of mantissa (TF32): several times faster"},
    )


def complete_config(config) -> PixelGPTConfig:
    """A copy of *config*, detached from its configuration tree, with all sizes filled in."""
    config = PixelGPTConfig(**{f.name: getattr(config, f.name, f.default) for f in fields(PixelGPTConfig)})
    _fill_sizes(config, config._name if config._name in ARCHITECTURES else "pixelgpt")
    fill_settings(config, SETTINGS | {"patch_size": PATCH_SIZE})
    return config


def take_patch_size(config, data_settings: dict | None):
    """Give *config*, which may leave the patch size open, that of the data that its model is to read.

    Args:
        config: anything with the fields of :class:`PixelGPTConfig`; changed in place.
        data_settings: see :class:`~pixelgpt_fairseq.models.pixelgpt.PixelGPTModel`; None where nothing is known.

    Raises:
        UserError: if it has another.
    """
    if data_settings is None:
        return
    # Strips that the authors rendered have no settings, and the published size.
    held = (data_settings.get("renderer") or {}).get("pixels_per_patch", PATCH_SIZE)
    wanted = getattr(config, "patch_size", None)
    if wanted not in (None, held):
        raise UserError(
            f"the data has patches of {held} x {held} pixels, the model reads {wanted} x {wanted} (--patch-size, or "
            f"the checkpoint that training begins with): render the data with --patch-size {wanted}"
        )
    config.patch_size = held


def fill_settings(config, values: dict):
    """Give the fields of *config* that are None the value of the same name."""
    for name, value in values.items():
        if getattr(config, name, None) is None:
            setattr(config, name, value)


def _fill_sizes(config, architecture: str):
    fill_settings(config, ARCHITECTURES[architecture])


def register_architecture(name: str, **sizes: int):
    """Let ``--arch`` name a set of sizes.

    Args:
        name: of the architecture.
        sizes: every one that those of :data:`ARCHITECTURES` have.

    Raises:
        ValueError: if one is missing or unknown, or others have the name.
    """
    expected = ARCHITECTURES["pixelgpt"].keys()
    if sizes.keys() != expected:
        raise ValueError(f"architecture {name}: the sizes are {', '.join(expected)}, not {', '.join(sizes)}")
    if ARCHITECTURES.get(name, sizes) != sizes or (name in ARCH_CONFIG_REGISTRY and name not in ARCHITECTURES):
        raise ValueError(f"there is an architecture {name} already")
    ARCHITECTURES[name] = sizes
    _register_architecture(name)


def register_architectures():
    """Register the architectures of the model ``pixelgpt`` with fairseq."""
    for name in ARCHITECTURES:
        _register_architecture(name)


def _register_architecture(name: str):
    def fill(config):
        if getattr(config, "finetune_from_model", None) is None:  # otherwise sizes may come from the checkpoint
            _fill_sizes(config, name)
        # fairseq-train (not its Hydra twin) takes --bf16 as a sign of a TPU, and ends in an error where there is none.
        # This function is the last that it calls with the parsed arguments.
        if getattr(config, "tpu", False) and importlib.util.find_spec("torch_xla") is None:
            config.tpu = False

    if name in ARCH_CONFIG_REGISTRY:  # already registered with the model, with a function that does nothing
        ARCH_CONFIG_REGISTRY[name] = fill
    else:
        register_model_architecture("pixelgpt", name)(fill)


def check_sizes(config):
    """Check that the sizes of a complete configuration fit together.

    Raises:
        UserError: naming the options.
    """
    for name in (*ARCHITECTURES["pixelgpt"], "max_position_embeddings", "num_channels", "patch_size"):
        if getattr(config, name) < 1:
            raise UserError(f"--{name.replace('_', '-')} {getattr(config, name)} must be at least 1")
    if config.extra_token_rows < 0:
        raise UserError(f"--extra-token-rows {config.extra_token_rows} must be at least 0")
    heads, shared = config.num_attention_heads, config.num_key_value_heads
    if config.hidden_size % heads:
        raise UserError(f"--hidden-size {config.hidden_size} is not divisible by --num-attention-heads {heads}")
    if (config.hidden_size // heads) % 2:
        raise UserError(
            f"--hidden-size {config.hidden_size} over --num-attention-heads {heads} gives an odd head size "
            f"({config.hidden_size // heads}): rotary positions need an even one"
        )
    if heads % shared:
        raise UserError(f"--num-attention-heads {heads} is not divisible by --num-key-value-heads {shared}")
