#!/usr/bin/env python3
"""Write docs/options.md: the options that this package adds to fairseq's commands."""

import argparse
import dataclasses
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "options.md"


def get_parser():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=PAGE, metavar="FILE", help="default: docs/options.md")
    return parser


if __name__ == "__main__":
    get_parser().parse_args()  # --help and mistakes do not wait for what follows, which takes seconds to import

from fairseq.dataclass.utils import interpret_dc_type

from pixelgpt_fairseq.criterions.patch_token_loss import PatchTokenLossConfig
from pixelgpt_fairseq.criterions.rendered_classification import RenderedClassificationLossConfig
from pixelgpt_fairseq.criterions.target_token_loss import TargetTokenLossConfig
from pixelgpt_fairseq.criterions.text_scores import CerScorerConfig, ChrfPlusPlusScorerConfig
from pixelgpt_fairseq.errors import command
from pixelgpt_fairseq.models.architectures import ARCHITECTURES, PixelGPTConfig
from pixelgpt_fairseq.optim.fused_adamw import FusedAdamWConfig
from pixelgpt_fairseq.storage.files import write_whole
from pixelgpt_fairseq.tasks.rendered_glue import RenderedGlueConfig
from pixelgpt_fairseq.tasks.rendered_pretraining import RenderedPretrainingConfig
from pixelgpt_fairseq.tasks.rendered_translation import RenderedTranslationConfig
from pixelgpt_fairseq.tasks.rendered_xnli import RenderedXnliConfig

COMPONENTS = (
    ("--task rendered_pretraining", "task", RenderedPretrainingConfig),
    ("--task rendered_glue", "task", RenderedGlueConfig),
    ("--task rendered_xnli", "task", RenderedXnliConfig),
    ("--task rendered_translation", "task", RenderedTranslationConfig),
    (f"--arch {', '.join(ARCHITECTURES)}", "model", PixelGPTConfig),
    ("--criterion patch_token_loss", "criterion", PatchTokenLossConfig),
    ("--criterion rendered_classification", "criterion", RenderedClassificationLossConfig),
    ("--criterion target_token_loss", "criterion", TargetTokenLossConfig),
    ("--scoring cer", "scoring", CerScorerConfig),
    ("--scoring chrf++", "scoring", ChrfPlusPlusScorerConfig),
    ("--optimizer fused_adamw", "optimizer", FusedAdamWConfig),
)
INTRODUCTION = """# Options

What this package adds to the options of `fairseq-train`; `--help` prints these among fairseq's own. With Hydra, an
option is `GROUP.name`, with underscores: `--pair-patches 64` is `task.pair_patches=64`, or `+task.pair_patches=64`
where the recipe does not name it. Written by `python scripts/list_options.py` from the classes that define the options.
"""


def page():
    """The text of the page."""
    sections = [section(f"`{title}`", group, dataclass()) for title, group, dataclass in COMPONENTS]
    return "\n".join([INTRODUCTION, *sections])


def section(title, group, options):
    """The table of one component.

    Args:
        title: its heading.
        group: the name of fairseq's group that it is in.
        options: an object of its dataclass.
    """
    rows = [row(options, field.name) for field in dataclasses.fields(options)]
    rows = [each for each in rows if each is not None]
    if not rows:
        return f"## {title}\n\nHydra: `{group}`. No options of its own.\n"
    head = "| option | default | |\n|---|---|---|"
    return "\n".join([f"## {title}", "", f"Hydra: `{group}`.", "", head, *rows, ""])


def row(options, name):
    """The line of one option; None for what repeats an option of another group."""
    default, words = options._get_default(name), options._get_help(name)
    if name == "_name" or str(default).startswith("${"):
        return None
    option = "data (the first argument)" if name == "data" else f"`--{name.replace('_', '-')}`"
    choices = getattr(interpret_dc_type(options._get_type(name)), "__members__", {})
    if choices:
        option += f" {', '.join(str(choice.value) for choice in choices.values())}"
    if default is None or default is dataclasses.MISSING or str(default) == "???":
        default = ""
    return f"| {option} | {default} | {(words or '').replace('|', chr(92) + '|')} |"


@command
def main(argv=None):
    """Run the command."""
    write_whole(get_parser().parse_args(argv).output, page())


if __name__ == "__main__":
    main()
