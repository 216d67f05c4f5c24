"""Fits a checkpoint to the model that loads it, and compares how the two were, or are, trained.

fairseq's ``--finetune-from-model`` loads weights strictly and ignores the saved configuration. The sizes of the trained
model are among the options that the checkpoint keeps; how its data were made is kept with the state of its task
(``data_settings``). Both are compared with those of the present run, and heads and embeddings are fitted to the model.
"""

import logging

from torch import nn

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.models.heads import LINEAR
from pixelgpt_fairseq.rendering.config import RendererConfig
from pixelgpt_fairseq.sources.class_names import match_classes

logger = logging.getLogger(__name__)

# Settings that tensor shapes do not reveal; a mismatch would change results silently.
SHAPELESS_SIZES = ("num_attention_heads", "rope_theta", "rms_norm_eps", "tie_word_embeddings")
# Parts that a model may lack, or start from random values, by the modality that trains them.
PIXEL_PARTS = ("model.embed_patches.", "lm_pixel_head.")
TOKEN_PARTS = ("model.embed_tokens.", "lm_token_head.")
CLASSIFIER_PARTS = ("score.",)


def reconcile(model: nn.Module, state: dict, prefix: str = "", trained: dict | None = None):
    """Make a loaded *state* dict fit *model* for strict loading, in place, or say why it cannot.

    The model's own data settings take precedence; if it has none, it adopts the checkpoint's. Heads and embeddings that
    the model lacks are dropped, those that the checkpoint lacks keep their initial values, and a patch embedding of
    three channels is averaged for a model of one.

    Args:
        model: PixelGPTModel.
        state: name -> tensor.
        prefix: of all names.
        trained: data settings of the checkpoint; nothing is compared with None.

    Raises:
        UserError: if tokenizers or tensor shapes differ, or tensors are missing or unknown.
    """
    if trained and model.data_settings:
        _reconcile_classes(model, state, prefix, trained)
        _compare_data(trained, model.data_settings, uses_tokens=model.vocab_size is not None)
    elif trained:
        model.data_settings = trained
    _reconcile_tensors(model, state, prefix)


def compare_architectures(trained, config):
    """Compare a checkpoint with the present model by the settings that tensor shapes do not reveal; log differences.

    Args:
        trained: configuration of the checkpoint's model.
        config: of the model at hand.

    Raises:
        UserError: if the numbers of attention heads differ.
    """
    for name in SHAPELESS_SIZES:
        theirs, ours = getattr(trained, name), getattr(config, name)
        if theirs == ours:
            continue
        message = f"the checkpoint was trained with --{name.replace('_', '-')} {theirs}, this model has {ours}"
        if name == "num_attention_heads":
            raise UserError(message)
        logger.warning(message)


def _reconcile_classes(model: nn.Module, state: dict, prefix: str, trained: dict):
    """Reorder the rows of a loaded classification head to match the names of this model's classes.

    Raises:
        UserError: if the order differs and the head is not linear: which of its weights belong to a class is unknown.
    """
    names = (trained.get("classification") or {}).get("labels") or trained.get("class_names")
    task, score = model.data_settings.get("classification") or {}, state.get(prefix + "score.weight")
    labels = task.get("labels")
    linear = model.config.classifier_head == LINEAR
    if linear and (score is None or not names or len(score) != len(names)):
        return
    has_head = any(name.startswith(prefix + CLASSIFIER_PARTS[0]) for name in state)
    if not has_head or not names or not labels or len(names) != len(labels):
        return
    try:
        order = match_classes(names, labels, task["name"])
    except UserError:
        logger.warning(
            f"the checkpoint tells {', '.join(names)} apart, the labels of this data are {', '.join(labels)}: its "
            "classification head means something else"
        )
        return
    if order != sorted(order) and not linear:
        raise UserError(
            f"the checkpoint's classes are {', '.join(names)}, those of this data {', '.join(labels)}: only a linear "
            f"head can be reordered, and this one is {model.config.classifier_head}: render the data with --labels in "
            "the checkpoint's order"
        )
    if order != sorted(order):
        logger.info(f"the checkpoint's classes are {', '.join(names)}: put into the order {', '.join(labels)}")
        state[prefix + "score.weight"] = score[[order.index(number) for number in range(len(order))]]


def _compare_data(loaded: dict, own: dict, uses_tokens: bool):
    trained, given = loaded.get("tokenizer_sha256"), own.get("tokenizer_sha256")
    if uses_tokens and trained and given and trained != given:
        raise UserError(
            f"the tokenizer of the data (sha256 {given[:12]}…) is not the one this checkpoint was trained with "
            f"({trained[:12]}…): render the data with the checkpoint's tokenizer"
        )
    trained, given = loaded.get("pair_patches"), own.get("pair_patches")
    if trained and given and trained != given:
        logger.warning(
            f"the text of the checkpoint's pairs began at position {trained}, that of this run's begins at {given} "
            "(--pair-patches): positions that it was not trained on"
        )
    if loaded.get("renderer") and own.get("renderer"):
        try:  # uses only what was recorded: a checkpoint can be loaded where its fonts are not installed
            differences = RendererConfig.from_dict(loaded["renderer"]).differences(
                RendererConfig.from_dict(own["renderer"])
            )
        except UserError as error:
            differences = [f"cannot compare: {error}"]
        for difference in differences:
            logger.warning(f"the checkpoint's text was rendered otherwise than this data: {difference}")


def _reconcile_tensors(model: nn.Module, state: dict, prefix: str):
    own = {prefix + name: tensor for name, tensor in model.state_dict().items()}
    _average_channels(own, state, prefix)
    _replace_other_head(own, state, prefix)

    optional = tuple(prefix + part for part in PIXEL_PARTS + TOKEN_PARTS + CLASSIFIER_PARTS)
    loaded = {name for name in state if name.startswith(prefix)}
    for name in sorted(loaded - own.keys()):
        if name.startswith(optional):
            logger.info(f"{name} of the checkpoint has no place in this model and is left out")
            del state[name]
    fresh = [name for name in sorted(own.keys() - loaded) if name.startswith(optional)]
    for name in fresh:
        state[name] = own[name]
    for modality, embedding in (("pixels", PIXEL_PARTS[0]), ("text", TOKEN_PARTS[0])):
        if any(name.startswith(prefix + embedding) for name in fresh):
            logger.warning(f"the checkpoint was not trained on {modality}: {', '.join(fresh)} start from random values")
            break
    else:
        if fresh:
            logger.info(f"{', '.join(fresh)} start from random values: the checkpoint has none")

    check_tensors(own, {name: tensor for name, tensor in state.items() if name.startswith(prefix)}, "the checkpoint")


def _replace_other_head(own: dict, state: dict, prefix: str):
    """Replace a checkpoint's classification head by the model's fresh one, where it has other tensors."""
    heads = [
        {name: tensor for name, tensor in tensors.items() if name.startswith(prefix + CLASSIFIER_PARTS[0])}
        for tensors in (own, state)
    ]
    ours, theirs = ({name: tensor.shape for name, tensor in head.items()} for head in heads)
    if not ours or not theirs or ours == theirs:
        return
    score = prefix + "score.weight"
    if ours.keys() == theirs.keys() == {score}:
        difference = f"the checkpoint tells {theirs[score][0]} classes apart, this model {ours[score][0]}"
    else:
        difference = "the checkpoint has another classification head than this model"
    logger.warning(f"{difference}: its classification head starts from random values")
    for name in theirs:
        del state[name]
    state.update(heads[0])


def _average_channels(own: dict, state: dict, prefix: str):
    """Average a checkpoint's patch embedding and head over the channels, for a model of one channel."""
    projection = prefix + "model.embed_patches.patch_embeddings.projection.weight"
    head = prefix + "lm_pixel_head.weight"
    if projection not in own or projection not in state or own[projection].shape[1] != 1:
        return
    channels = state[projection].shape[1]
    if channels > 1:
        logger.info(f"averaging the checkpoint's patch embedding over its {channels} channels")
        state[projection] = state[projection].mean(1, keepdim=True)
        if head in state:
            state[head] = state[head].unflatten(0, (-1, channels)).mean(1)


def check_tensors(expected: dict, found: dict, where: str):
    """Compare names and shapes of two state dicts.

    Raises:
        UserError: naming, in one line, the tensors that are missing from *found*, unknown or of another shape.
    """
    misshapen = [
        f"{name} {list(found[name].shape)} instead of {list(tensor.shape)}"
        for name, tensor in expected.items()
        if name in found and found[name].shape != tensor.shape
    ]
    problems = [
        ("lacks", sorted(expected.keys() - found.keys())),
        ("has unknown", sorted(found.keys() - expected.keys())),
        ("has in another shape", misshapen),
    ]
    complaints = [f"{verb} {', '.join(names[:8])}{_more(names)}" for verb, names in problems if names]
    if complaints:
        raise UserError(f"{where} does not fit the model: it {'; it '.join(complaints)}")


def _more(names: list) -> str:
    return f" and {len(names) - 8} more" if len(names) > 8 else ""
