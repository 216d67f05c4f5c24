"""Who imports whom: folders of the package import in one direction, without circles, also those within functions."""

import ast
import graphlib
from pathlib import Path

import pixelgpt_fairseq

PACKAGE = Path(pixelgpt_fairseq.__file__).parent
LOOSE = {"__init__", "_requirements", "errors"}  # all that may lie at the top


def imported(path):
    """Modules that a file imports, anywhere in it; what a package's own names stand for is left out."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def folders():
    """Folder -> the other folders of the package that its files import."""
    graph = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if len(parts) == 1:
            continue
        found = graph.setdefault(parts[0], set())
        for name in imported(path):
            package, *inner = name.split(".")
            if package == PACKAGE.name and inner and (PACKAGE / inner[0]).is_dir():
                found.add(inner[0])
        found.discard(parts[0])
    return graph


def test_nothing_else_lies_loose_at_the_top():
    assert {path.stem for path in PACKAGE.glob("*.py")} == LOOSE


def test_folders_import_in_one_direction():
    graph = folders()
    assert {"rendering", "data", "models", "tasks", "cli"} <= set(graph)
    tuple(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


def test_modules_import_in_one_direction():
    graph = {}
    for path in PACKAGE.rglob("*.py"):
        name = ".".join((PACKAGE.name, *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
        graph[name] = set(imported(path)) - {name}
    # A package that gives out names of its modules is no circle: they do not import it.
    packages = {name for name in graph if (PACKAGE.parent / name.replace(".", "/")).is_dir()}
    modules = {name: found & (graph.keys() - packages) for name, found in graph.items() if name not in packages}
    tuple(graphlib.TopologicalSorter(modules).static_order())


def test_the_lower_folders_know_neither_torch_nor_fairseq():
    for folder in ("rendering", "perturbations", "storage"):
        for path in (PACKAGE / folder).rglob("*.py"):
            assert {name.split(".")[0] for name in imported(path)}.isdisjoint({"torch", "fairseq"}), path
