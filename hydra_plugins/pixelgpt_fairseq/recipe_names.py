"""A recipe's name that is not there is told in one line, with those that are.

fairseq-hydra-train gives Hydra its own configuration under whatever name ``--config-name`` has, so that Hydra finds one
for a name that is spelled wrongly, and complains of the first option instead. Hydra imports what lies in
``hydra_plugins`` before it composes a configuration, and this package only afterwards.
"""

import sys
from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

_OF_THIS_PACKAGE = (
    "pixelgpt_fairseq.training.hydra_callbacks.RunFolder"  # what settings.yaml of every folder of recipes names
)


class RecipeNames(SearchPathPlugin):
    """Ends fairseq-hydra-train where ``--config-name`` is none of the recipes in ``--config-dir``."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Check the command line; the search path stays as it is."""
        if Path(sys.argv[0]).name.removesuffix(".py") not in ("fairseq-hydra-train", "hydra_train"):
            return
        from hydra._internal.utils import get_args

        args = get_args()
        if args.config_dir is None or args.config_name is None:
            return
        message = unknown_recipe(Path(args.config_dir), args.config_name)
        if message is not None:
            sys.exit(f"error: {message}")


def unknown_recipe(folder, name):
    """What to tell of *name*, if *folder* is one of this package's recipes and has none of that name; else None."""
    settings = folder / "settings.yaml"
    if not settings.is_file() or _OF_THIS_PACKAGE not in settings.read_text(encoding="utf-8"):
        return None
    name = name.removesuffix(".yaml")
    if (folder / f"{name}.yaml").is_file():
        return None
    recipes = sorted(path.stem for path in folder.glob("*.yaml") if path != settings)
    return f"--config-name {name}: no recipe in {folder}: there are {', '.join(recipes)}"
