"""The package as a whole: light to import, whole in its names, built on floors."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
from imports import imports
from locked import ROOT, named

import hf_stitch

HEAVY = ("accelerate", "datasets", "evaluate", "matplotlib", "scipy", "torch", "transformers")
LIGHT = (
    "hf_stitch",
    "hf_stitch.errors",
    "hf_stitch.recipe.recipe",
    "hf_stitch.report.report",
    "hf_stitch.runtime.cache",
    "hf_stitch.cli",
)


def python(code: str) -> str:
    """What a fresh interpreter prints."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_importing_is_light() -> None:
    imports = f"import {', '.join(LIGHT)}; import hf_stitch; hf_stitch.Recipe; hf_stitch.Report; dir(hf_stitch)"
    assert python(f"{imports}; import sys; print([name for name in {HEAVY!r} if name in sys.modules])") == "[]"


def test_importing_hf_stitch_alone_takes_nothing_but_the_standard_library() -> None:
    code = (
        "import sys; before = set(sys.modules); import hf_stitch\n"
        "new = {name.split('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(new - set(sys.stdlib_module_names)))"
    )
    assert python(code) == "['hf_stitch']"


def test_a_star_import_gives_every_public_name() -> None:
    code = "from hf_stitch import *; import hf_stitch; print(sorted(set(hf_stitch.__all__) - set(globals())))"
    assert python(code) == "[]"


def test_public_names() -> None:
    assert set(hf_stitch.__all__) == {
        "Recipe", "Report", "StitchError", "StitchedConfig", "StitchedModel", "evaluate", "fit", "metric_path",
        "register", "stitch",
    }  # fmt: skip
    assert set(hf_stitch.__all__) <= set(dir(hf_stitch))
    for name in hf_stitch.__all__:
        value = getattr(hf_stitch, name)
        assert value.__name__ == name
        assert value.__doc__, name
    with pytest.raises(AttributeError, match="module 'hf_stitch' has no attribute 'stich'"):
        hf_stitch.stich  # noqa: B018


@pytest.mark.parametrize(
    "code",
    [
        "import hf_stitch; found = hf_stitch.metrics.metric_path('stitch_agreement')",
        "from hf_stitch.metrics import metric_path; found = metric_path('stitch_agreement')",
        "from hf_stitch.metrics import names; import hf_stitch; found = hf_stitch.metric_path(names()[-1])",
    ],
)
def test_the_old_home_of_metrics_works_and_warns(code: str) -> None:
    """Python shows the warning without being told to, since it points at the line that asks."""
    program = f"{code}\nimport hf_stitch; print(found == hf_stitch.metric_path('stitch_agreement'))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
    assert "<string>:1: DeprecationWarning" in done.stderr
    assert "use hf_stitch.metric_path" in done.stderr


def test_importing_and_the_new_home_of_metrics_are_silent() -> None:
    code = "import hf_stitch, hf_stitch.metrics; hf_stitch.metric_path('activation_fit')"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    with pytest.raises(AttributeError, match=r"module 'hf_stitch\.metrics' has no attribute 'metric_pat'"):
        import_module("hf_stitch.metrics").metric_pat  # noqa: B018


def test_touching_the_model_registers_it() -> None:
    code = (
        "import hf_stitch, transformers\n"
        "from transformers.models.auto.configuration_auto import CONFIG_MAPPING\n"
        "print('hf_stitch' in CONFIG_MAPPING, end=' '); {}\n"
        "print('hf_stitch' in CONFIG_MAPPING, 'hf_stitch_tanh' in CONFIG_MAPPING)"
    )
    assert python(code.format("hf_stitch.StitchedModel; hf_stitch.register()")) == "False True True"


def test_the_version_is_that_of_the_metadata() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", hf_stitch.__version__)
    assert importlib.metadata.version("hf_stitch") == hf_stitch.__version__


def test_types_are_shipped() -> None:
    assert (Path(hf_stitch.__file__).parent / "py.typed").is_file()


def test_every_module_stands_on_a_floor_and_imports_only_from_below() -> None:
    """Fails where import-linter is missing: it belongs to the extra `test`."""
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"  # has no `python -m`
    words = [sys.executable, "-c", program, "--no-cache"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"Contracts: \d+ kept, 0 broken", done.stdout)


def test_no_module_unpickles() -> None:
    """Weights of strangers are read from safetensors only; a pickle could run any code."""
    folder = Path(hf_stitch.__file__).parent
    wrong = re.compile(r"\bimport pickle\b|\btorch\.load\(|allow_pickle=True|trust_remote_code=True|weights_only=False")
    found = [str(path) for path in folder.rglob("*.py") if wrong.search(path.read_text(encoding="utf-8"))]
    assert found == []


def test_every_package_imported_is_asked_for_by_name() -> None:
    """None is there only because another asks for it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = {
        named(one) for part in (project["dependencies"], *project["optional-dependencies"].values()) for one in part
    }
    modules = {name.split(".")[0] for path in (ROOT / "hf_stitch").rglob("*.py") for name in imports(path)}
    others = modules - set(sys.stdlib_module_names) - {"hf_stitch"}
    assert {"torch", "yaml", "PIL"} <= others
    whose = importlib.metadata.packages_distributions()  # what is not installed may have its module's name
    missing = {module for module in others if not asked & {named(one) for one in whose.get(module, [module])}}
    assert missing == set()
