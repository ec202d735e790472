"""The arrangement of the package: what holds of its tree, whatever the code in it does."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path
from typing import Any

import pytest
from imports import circle_of, import_graph, imports
from locked import ROOT

PACKAGE = ROOT / "hf_stitch"
FILES = sorted(PACKAGE.rglob("*.py"))
ROOMS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
MOST = 15  # entries at the root: as many as one takes in at a glance


def contracts() -> list[dict[str, Any]]:
    """Of import-linter, which checks what they say: see test_package.py."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]


def test_the_root_has_few_entries() -> None:
    files = {path.name for path in PACKAGE.glob("*.py")} - {"__init__.py", "__main__.py"}
    folders = {path.relative_to(PACKAGE).parts[0] for path in FILES if path.parent != PACKAGE}
    assert {"errors.py", "geometry", "report"} <= files | folders
    assert len(files | folders) <= MOST


def test_ten_floors_and_no_way_round_them() -> None:
    [floors] = [one for one in contracts() if one["type"] == "layers"]
    assert len(floors["layers"]) == 10
    assert floors["exhaustive"] is True
    assert floors["exhaustive_ignores"] == ["__main__"]
    assert {room.strip() for floor in floors["layers"] for room in floor.split("|")} >= set(ROOMS)
    assert not [one["name"] for one in contracts() if "ignore_imports" in one]


def test_no_circle_of_files() -> None:
    graph = import_graph(PACKAGE)
    assert len(graph) == len(FILES)
    assert "hf_stitch.errors" in graph["hf_stitch.recipe.recipe"]
    assert circle_of(graph) == []


CIRCLES = {
    "plainly": ("import made.b.two", "import made.a"),
    "in a function": ("from made.b.two import y", "def later():\n    from made.a import x"),
    "for types alone": (
        "from made.b.two import y",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from made import a",
    ),
    "by a relative import": ("from .b import two", "from .. import a"),
}


def made(folder: Path, **files: str) -> Path:
    """A package of files by name, without their suffix."""
    for name, text in {"__init__": "", "b/__init__": "", **files}.items():
        path = folder / "made" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "made"


@pytest.mark.parametrize(("first", "second"), CIRCLES.values(), ids=CIRCLES.keys())
def test_a_circle_is_found_wherever_the_import_stands(first: str, second: str, tmp_path: Path) -> None:
    package = made(tmp_path, a=first, **{"b/two": second})
    assert set(circle_of(import_graph(package))) == {"made.a", "made.b.two"}
    assert circle_of(import_graph(made(tmp_path / "open", a=first, **{"b/two": "import os"}))) == []


def test_a_circle_through_the_face_of_a_package_is_found(tmp_path: Path) -> None:
    package = made(tmp_path, **{"b/__init__": "from made.b.one import x", "b/one": "", "b/two": "from made.b import x"})
    assert circle_of(import_graph(package)) == []
    package = made(tmp_path, **{"b/__init__": "from made.b.one import x", "b/one": "from made.b import y"})
    assert set(circle_of(import_graph(package))) == {"made.b", "made.b.one"}


def test_the_face_of_a_folder_says_what_is_in_it_and_imports_nothing() -> None:
    faces = [path for path in FILES if path.name == "__init__.py" and path.parent != PACKAGE]
    assert len(faces) >= len(ROOMS) >= 10
    for path in faces:
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), f"{path} has no docstring"
        assert imports(path) == set(), path


def test_every_room_has_tests() -> None:
    for room in ROOMS:
        assert list((ROOT / "tests" / room).glob("test_*.py")), f"no tests of {room}"


def test_only_the_rendering_of_reports_draws_with_matplotlib() -> None:
    drawing = [path for path in FILES if any(name.split(".")[0] == "matplotlib" for name in imports(path))]
    assert drawing
    assert [path for path in drawing if PACKAGE / "report" / "rendering" not in path.parents] == []
