"""``config.json`` of a released folder: its settings as a PixelGPTConfig.

Versions 4 and 5 of the transformers library spell some settings differently (``rope_theta`` and ``rope_scaling``, or
``rope_parameters``; ``torch_dtype``, or ``dtype``); both spellings are read. A setting that requires an unsupported
computation is refused by name; an unknown setting is named in a warning.
"""

import json
import logging
from pathlib import Path

from pixelgpt_fairseq.data.patches import PATCH_SIZE
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.models.architectures import PixelGPTConfig

logger = logging.getLogger(__name__)

# Required settings of config.json, which the model has under the same names.
REQUIRED = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "vocab_size",
    "max_position_embeddings",
    "rms_norm_eps",
)
# Optional settings: absent or null means the default.
DEFAULTS = {
    "num_key_value_heads": None,  # None: as many as query heads
    "rope_theta": 10000.0,
    "num_channels": 3,
    "tie_word_embeddings": False,
    "initializer_range": 0.02,
    "attention_dropout": 0.0,
}
_REAL = ("rms_norm_eps", "rope_theta", "initializer_range", "attention_dropout")
_LARGEST = 1 << 31

# Settings that change what a model of this family computes, by their names in the transformers library, and the only
# values that mean what this package computes. Null always means that the setting is left open.
SUPPORTED = {
    "hidden_act": ("silu", "swish"),
    "hidden_activation": ("silu", "swish"),
    "num_channels": (1, 3),
    "patch_size": (PATCH_SIZE, [PATCH_SIZE, PATCH_SIZE]),
    "pretraining_tp": (1,),
    "is_causal": (True,),
    "is_encoder_decoder": (False,),
    "add_cross_attention": (False,),
    "pruned_heads": ({},),
    "quantization_config": (),
    "compression_config": (),
    "text_config": (),
    "vision_config": (),
    # biases and norms
    **dict.fromkeys(
        ("attention_bias", "mlp_bias", "qkv_bias", "use_qkv_bias", "attention_out_bias", "use_bias", "lm_head_bias"),
        (False,),
    ),
    **dict.fromkeys(("use_qk_norm", "qk_norm", "qk_layernorm", "use_post_norm"), (False,)),
    **dict.fromkeys(("norm_type", "normalization", "normalization_type"), ("rmsnorm", "RMSNorm", "rms_norm")),
    **dict.fromkeys(("layer_norm_eps", "layer_norm_epsilon"), (1e-5,)),
    # attention and positions
    **dict.fromkeys(("sliding_window", "attention_chunk_size", "clip_qkv", "attention_sink_size"), ()),
    **dict.fromkeys(("alibi", "parallel_attn", "use_parallel_residual", "multi_query"), (False,)),
    **dict.fromkeys(("partial_rotary_factor", "rotary_pct"), (1,)),
    **dict.fromkeys(("rotary_dim", "rope_local_base_freq", "rope_base", "rotary_base", "rotary_emb_base"), ()),
    **dict.fromkeys(("no_rope_layers", "no_rope_layer_interval", "query_pre_attn_scalar"), ()),
    "rope_interleaved": (False,),
    "position_embedding_type": ("rope", "rotary"),
    "kv_lora_rank": (),
    "q_lora_rank": (),
    # scaled and capped numbers
    **dict.fromkeys(("logit_softcapping", "attn_logit_softcapping", "final_logit_softcapping"), ()),
    **dict.fromkeys(("logits_softcap", "attention_multiplier"), ()),
    **dict.fromkeys(("logit_scale", "logits_scaling", "embedding_multiplier", "residual_multiplier"), (1,)),
    **dict.fromkeys(("scale_embeddings", "scale_embedding", "normalize_embeddings"), (False,)),
    # mixtures of experts
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), (0, 1)),
}
# Settings that change nothing here: what others call the model, how it is stored, and what its text generation and its
# tokenizer do in another library.
IGNORED = frozenset(
    """
    _attn_implementation _commit_hash _name_or_path attn_implementation architectures auto_map custom_pipelines
    finetuning_task model_type task_specific_params tokenizer_class transformers_version
    dtype torch_dtype gradient_checkpointing output_attentions output_hidden_states return_dict tf_legacy_loss
    torchscript use_bfloat16 use_cache chunk_size_feed_forward is_decoder tie_encoder_decoder
    cross_attention_hidden_size id2label label2id num_labels problem_type
    bos_token_id eos_token_id pad_token_id sep_token_id unk_token_id decoder_start_token_id prefix
    bad_words_ids begin_suppress_tokens diversity_penalty do_sample early_stopping encoder_no_repeat_ngram_size
    exponential_decay_length_penalty forced_bos_token_id forced_eos_token_id length_penalty max_length max_new_tokens
    min_length no_repeat_ngram_size num_beam_groups num_beams num_return_sequences output_scores
    remove_invalid_values repetition_penalty return_dict_in_generate suppress_tokens temperature top_k top_p typical_p
    """.split()
)
# Settings that are read by name, here and by the callers of read_config.
_READ = frozenset(
    (
        *REQUIRED,
        *DEFAULTS,
        *("head_dim", "image_size", "layer_types", "max_window_layers", "norm_pix_loss"),
        *("pixelgpt_fairseq", "reads_patches", "reads_tokens", "extra_token_rows"),
        *("rope_parameters", "rope_scaling", "use_sliding_window"),
    )
)


def read_config(settings: dict, where: Path) -> PixelGPTConfig:
    """The PixelGPTConfig that a ``config.json`` describes.

    Args:
        settings: its content.
        where: its path, for messages.

    Raises:
        UserError: naming the settings that are absent or invalid, contradict each other, or are not supported.
    """
    settings = {name: value for name, value in settings.items() if value is not None}
    missing = [name for name in REQUIRED if name not in settings]
    if missing:
        raise UserError(f"{where} lacks {', '.join(missing)}")
    rope_theta = _read_rope(settings, where)
    settings = settings | ({} if rope_theta is None else {"rope_theta": rope_theta})
    sizes = {name: settings[name] for name in REQUIRED}
    options = {name: settings.get(name, default) for name, default in DEFAULTS.items()}
    for name, value in {**sizes, **options}.items():
        if not _is_possible(name, value) and not (value is None and DEFAULTS.get(name, 0) is None):
            raise UserError(f"{where}: {name} {json.dumps(value)} is not a valid value")
    for name in ("norm_pix_loss", "reads_patches", "reads_tokens"):
        if not isinstance(settings.get(name, True), bool):
            raise UserError(f"{where}: {name} {json.dumps(settings[name])} is not a valid value: it is true or false")
    unsupported = _unsupported(settings)
    if unsupported:
        raise UserError(f"{where} asks for what this package does not support: {', '.join(unsupported)}")
    unknown = [name for name, value in settings.items() if not _is_known(name) and value not in (False, "", [], {})]
    if unknown:
        logger.warning(
            f"{where}: settings that this package does not know and does not follow: {', '.join(sorted(unknown))}"
        )
    if options["num_key_value_heads"] is None:
        options["num_key_value_heads"] = settings["num_attention_heads"]
    del sizes["vocab_size"]
    return PixelGPTConfig(**sizes, **options)


def is_on(settings: dict, name: str) -> bool:
    """A boolean setting of ``config.json`` whose default is true."""
    return settings.get(name) is not False


def written_config(config: PixelGPTConfig, settings: dict) -> dict:
    """*settings* updated with the values of *config*, in the spelling of the same transformers version."""
    settings = dict(settings)
    for name in (*REQUIRED, *DEFAULTS):
        if name != "vocab_size":
            settings[name] = getattr(config, name)
    if isinstance(settings.get("rope_parameters"), dict):
        del settings["rope_theta"]
        settings.pop("rope_scaling", None)
        settings["rope_parameters"] = settings["rope_parameters"] | {"rope_theta": config.rope_theta}
    return settings


def _is_possible(name: str, value) -> bool:
    kind = (int, float) if name in _REAL else bool if name == "tie_word_embeddings" else int
    if not isinstance(value, kind) or isinstance(value, bool) != (kind is bool) or not 0 <= value < _LARGEST:
        return False
    return {"rope_theta": value > 0, "attention_dropout": value <= 1}.get(name, True)


def _is_known(name: str) -> bool:
    return name in SUPPORTED or name in IGNORED or name in _READ


def _unsupported(settings: dict) -> list[str]:
    """Unsupported settings, each with its value."""
    names = [
        name
        for name, supported in SUPPORTED.items()
        if name in settings and not any(_same(settings[name], value) for value in supported)
    ]
    if settings.get("use_sliding_window") is False:  # then the window size has no effect
        names = [name for name in names if name != "sliding_window"]
    elif "use_sliding_window" in settings and "sliding_window" not in settings:
        names.append("use_sliding_window")
    image_size = settings.get("image_size", [PATCH_SIZE])
    if not isinstance(image_size, list) or image_size[:1] != [PATCH_SIZE]:
        names.append("image_size")
    heads = settings["num_attention_heads"] or 1
    if settings.get("head_dim", settings["hidden_size"] / heads) != settings["hidden_size"] / heads:
        names.append("head_dim")
    layer_types = settings.get("layer_types", [])
    if not isinstance(layer_types, list) or any(kind != "full_attention" for kind in layer_types):
        names.append("layer_types")
    return [f"{name} {json.dumps(settings[name])}" for name in names]


def _same(given, supported) -> bool:
    """Whether two values are equal; true and 1 are not."""
    return given == supported and isinstance(given, bool) == isinstance(supported, bool)


def _read_rope(settings: dict, where: Path) -> float | None:
    """The base of the rotary frequencies in either spelling; None if it is not given.

    Raises:
        UserError: for scaled rotary frequencies, and for two bases that differ.
    """
    bases = {"rope_theta": settings["rope_theta"]} if "rope_theta" in settings else {}
    for name in ("rope_parameters", "rope_scaling"):
        given = settings.get(name, {})
        if not isinstance(given, dict) or not all(_is_plain_rope(*item) for item in given.items()):
            raise UserError(
                f"{where} asks for what this package does not support: {name} {json.dumps(given)} (only the rope type "
                '"default" is computed)'
            )
        if given.get("rope_theta") is not None:
            bases[f"{name}.rope_theta"] = given["rope_theta"]
    if any(value != next(iter(bases.values())) for value in bases.values()):
        contradiction = ", ".join(f"{name} {json.dumps(value)}" for name, value in bases.items())
        raise UserError(f"{where}: {contradiction}: which one holds?")
    return next(iter(bases.values()), None)


def _is_plain_rope(key: str, value) -> bool:
    """Whether an entry of ``rope_parameters`` leaves the default rotary frequencies unchanged."""
    if key in ("rope_type", "type"):
        return value in (None, "default")
    if key in ("factor", "partial_rotary_factor"):
        return value is None or _same(value, 1)
    # The original length has no effect without scaling.
    return value is None or key in ("rope_theta", "original_max_position_embeddings", "max_position_embeddings")
