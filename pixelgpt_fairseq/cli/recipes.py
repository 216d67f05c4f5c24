"""Print where the Hydra recipes are: folders for fairseq-hydra-train's --config-dir, names for --config-name."""

import argparse
from pathlib import Path

from pixelgpt_fairseq.errors import UserError, command

CONFIG = Path(__file__).parents[1] / "config"


def get_parser():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "kind",
        nargs="?",
        metavar="KIND",
        help="pretraining, glue, xnli or translation: print the path of its folder alone (default: all folders and "
        "their recipes)",
    )
    return parser


def recipe_folders():
    """Kind -> folder of its recipes."""
    return {settings.parent.name: settings.parent for settings in sorted(CONFIG.glob("*/settings.yaml"))}


@command
def main(argv=None):
    """Run the command."""
    args, folders = get_parser().parse_args(argv), recipe_folders()
    if args.kind is None:
        for folder in folders.values():
            names = sorted(path.stem for path in folder.glob("*.yaml") if path.stem != "settings")
            print(f"{folder}: {', '.join(names)}")
    elif args.kind in folders:
        print(folders[args.kind])
    else:
        raise UserError(f"{args.kind}: no such recipes: there are {', '.join(folders)}")
