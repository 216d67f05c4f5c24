"""Classification heads: what a fine-tuned model makes of the hidden state of the last position."""

from collections.abc import Callable

from torch import nn

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.models.decoder import Projection
from pixelgpt_fairseq.registries import check_free

LINEAR = "linear"
HEADS: dict[str, Callable[..., nn.Module]] = {}  # by the name that --classifier-head gives


def register_head(name):
    """Decorator: let ``--classifier-head`` name this function.

    The function takes the model's configuration (with ``hidden_size``) and the number of outputs, and returns a module
    that makes ``[B, num_labels]`` of hidden states ``[B, hidden_size]``. The module's parameters are those of the
    checkpoint that begin with ``score.``.

    Raises:
        ValueError: if another function has the name.
    """

    def register(function):
        check_free("head", name, HEADS.get(name), function)
        HEADS[name] = function
        return function

    return register


def build_head(config, num_labels: int) -> nn.Module:
    """The head that ``config.classifier_head`` names.

    Raises:
        UserError: if none is registered under that name.
    """
    if config.classifier_head not in HEADS:
        raise UserError(
            f"--classifier-head {config.classifier_head}: not registered; there are {', '.join(HEADS)}; one of your "
            "own needs the --user-dir that registers it (docs/extending.md)"
        )
    return HEADS[config.classifier_head](config, num_labels)


@register_head(LINEAR)
def linear(config, num_labels):
    """One linear layer without bias, as in the published models."""
    return Projection(config.hidden_size, num_labels)
