"""The locks in .ci, and what they decide about warnings."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from locked import AS_ERRORS, LOCKS, ROOT, direct, holds, locked, named, versions

HERE = {"numpy": version("numpy"), "PyYAML": version("PyYAML")}


def lock(folder: Path, **pins: str) -> Path:
    """A lock made up of these."""
    path = folder / "constraints.txt"
    path.write_text("# numpy==0\n" + "".join(f"{package}=={pin}\n" for package, pin in pins.items()))
    return path


def test_a_lock_holds_where_its_versions_are_installed(tmp_path: Path) -> None:
    assert holds(lock(tmp_path, **HERE), {"numpy", "pyyaml"})
    assert holds(lock(tmp_path, **HERE, torch=version("torch").split("+")[0]), {"numpy", "torch"})
    assert holds(lock(tmp_path, **HERE, other="1.0"), {"numpy"})  # what it says of other packages is no matter


def test_a_lock_does_not_hold_where_anything_differs(tmp_path: Path) -> None:
    assert not holds(lock(tmp_path, **{**HERE, "numpy": HERE["numpy"] + ".1"}), {"numpy", "pyyaml"})
    assert not holds(lock(tmp_path, PyYAML=HERE["PyYAML"]), {"numpy", "pyyaml"})
    assert not holds(lock(tmp_path, **HERE, missing_here="1.0"), {"numpy", "missing-here"})


def test_warnings_of_our_lines_are_errors_under_a_lock_alone(pytestconfig: pytest.Config) -> None:
    assert (AS_ERRORS in pytestconfig.getini("filterwarnings")) == locked()


def test_every_lock_pins_all_that_we_ask_for() -> None:
    assert [path.name for path in LOCKS] == ["constraints-audio.txt", "constraints-datafold.txt", "constraints.txt"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    for path, extra in zip(LOCKS, ("audio", "datafold", "bench"), strict=True):
        asked = [*extras["test"], *extras[extra], *project["build-system"]["requires"]]
        assert direct() | set(map(named, asked)) <= set(versions(path)), path.name
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
        assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines), path.name


def test_ci_installs_from_every_lock() -> None:
    run = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert all(f".ci/{path.name}" in run for path in LOCKS)
