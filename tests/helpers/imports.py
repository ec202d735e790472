"""What files import, read from their text: imports inside functions and under TYPE_CHECKING count like any other."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path


def imports(path: Path, package: str = "") -> set[str]:
    """Dotted names that a file imports anywhere.

    `from a import b` gives both `a` and `a.b`, since b may be a module of its own; relative imports count from the
    `package` that the file lies in.
    """
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            found |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return found


def import_graph(root: Path) -> dict[str, set[str]]:
    """Modules of the package at `root`, and which of them each one imports; a package's `__init__.py` is its face.

    An import of a name that is no module leads to the module that must hold it, so to the face of a package.
    """
    files = {".".join(path.relative_to(root.parent).with_suffix("").parts): path for path in root.rglob("*.py")}
    files = {name.removesuffix(".__init__"): path for name, path in files.items()}
    graph = {}
    for name, path in files.items():
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        graph[name] = {owner for one in imports(path, package) if (owner := _owner(one, files))} - {name}
    return graph


def _owner(name: str, files: dict[str, Path]) -> str:
    """The module that a dotted name is or lies in; empty for names of other packages."""
    while name and name not in files:
        name = name.rpartition(".")[0]
    return name


def circle_of(graph: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in a circle, the first one again at the end; empty where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []
