"""Two processes joined by accelerate (gloo) give the result of one, and write nothing twice."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from pico_recipes import reading, saved
from processes import together
from safetensors.torch import load_file
from two_processes import maps

from hf_stitch.errors import DataError, RecipeError, StitchError
from hf_stitch.experiments.fit import fit
from hf_stitch.models.modeling_stitched import StitchedModel
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.report.report import Report
from hf_stitch.runtime import runtime as runtime_module
from hf_stitch.runtime.processes import AcceleratedRows
from hf_stitch.runtime.runtime import Runtime
from hf_stitch.runtime.sharding import ALONE, Rows

MAPS = {"name": "maps", "stitch": {"method": "diffusion", "sides": "both", "coordinates": 8, "neighbours": "all"}}


@pytest.fixture(scope="module")
def content(pico_roberta: Path, pico_xlnet: Path, written: Path) -> dict:
    text = reading(pico_roberta, pico_xlnet, written)
    return {**text, "stitch": {"method": "diffusion", "sides": "source", "coordinates": 8}, "compare": [MAPS, "affine"]}


@pytest.fixture(scope="module")
def folder(content: dict, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes left."""
    folder = tmp_path_factory.mktemp("two")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    program = [
        str(Path(__file__).parents[1] / "helpers" / "two_processes.py"),
        str(saved(content, folder)),
        str(folder),
    ]
    own = {"HF_STITCH_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*launcher, *program], env=os.environ | own, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_maps(folder: Path) -> None:
    alone = maps(ALONE)
    for rank in range(2):
        found = load_file(folder / f"maps-{rank}.safetensors")
        assert found.keys() == alone.keys()
        for name in alone:
            if name.endswith("spectrum"):
                assert torch.allclose(found[name], alone[name], rtol=0, atol=1e-8), name
                values = alone[name]
                whole = (values - values[-1]).abs() > 1e-6
                key = name.replace("spectrum", "coordinates")
                a, b = (one[key][:, whole] / len(one[key]) ** 0.5 for one in (found, alone))
                assert torch.linalg.matrix_norm(a @ a.T - b @ b.T, 2) < 1e-5, name
    solvers = {name.split(".")[1] for name in alone}
    assert solvers == {"dense", "lanczos", "shift-invert", "lobpcg"}


def test_a_recipe(content: dict, folder: Path, tmp_path: Path) -> None:
    model, report = fit(Recipe.parse(content), tmp_path / "one", device="cpu")
    other, both = StitchedModel.from_pretrained(folder / "out"), Report.load(folder / "out" / "report.json")
    assert (report.environment["processes"], both.environment["processes"]) == (1, 2)
    assert len(report.measures) == len(both.measures) > 40
    for one, two in zip(report.measures, both.measures):
        assert (one.name, one.method, one.split) == (two.name, two.method, two.split)
        assert two.value == pytest.approx(one.value, abs=1e-5)
    held_out = torch.randn(50, 16, generator=torch.Generator().manual_seed(0))
    # Far outside the fit the spline's values are near 1e6, and CPUs round the sums of two processes otherwise.
    torch.testing.assert_close(other.layer(held_out), model.layer(held_out), rtol=1e-4, atol=1e-5)


def test_nothing_is_written_twice(folder: Path) -> None:
    first, second = ((folder / f"written-{rank}.txt").read_text().split() for rank in range(2))
    # Those that transformers writes are completed with digests and classes; rows of a comparison are kept as they come.
    completed = {"config.json", "tokenizer_config.json", "comparison.jsonl"}
    assert completed <= set(first)
    first = [name for name in first if name not in completed]
    assert first.count("recipe.yaml") == first.count("report.json") == 1
    shares = [
        {name for name in names if re.search(r"(fit|test|metric)-.*\.safetensors", name)} for names in (first, second)
    ]
    assert min(map(len, shares)) > 3
    assert not shares[0] & shares[1]
    assert len(first) == len(set(first))
    assert len(second) == len(shares[1])


def test_one_device_is_not_for_several_processes(folder: Path) -> None:
    for rank in range(2):
        said = (folder / f"refused-{rank}.txt").read_text()
        assert said == "device 'cpu:0': every process takes a cpu of its own; leave the number out"


def test_what_one_process_refuses_all_refuse() -> None:
    def refuse(runtime: Runtime) -> None:
        with runtime.together():
            if runtime.rows.index == 1:
                raise DataError("sample 'ä' is silent")

    def work(rows: Rows) -> str:
        runtime = Alike(rows)
        with runtime.together():
            pass
        with pytest.raises(StitchError) as error:
            refuse(runtime)
        return f"{type(error.value).__name__}: {error.value}"

    found = together(3, work)
    assert found[0] == found[2] == "ActivationError: sample 'ä' is silent"
    assert found[1] == "DataError: sample 'ä' is silent"


class Alike(Runtime):
    """A runtime of threads."""

    def __init__(self, rows: Rows) -> None:
        object.__setattr__(self, "threads", rows)

    @property
    def rows(self) -> Rows:
        return self.threads  # type: ignore[attr-defined]


# one process: the device that is asked for


class Elsewhere:
    """In the place of accelerate's, on a machine with two GPUs, which it numbers itself."""

    process_index, num_processes, is_main_process = 0, 1, True
    device = torch.device("cuda", 0)


def test_a_device_may_have_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(runtime_module, "pick_device", lambda name: torch.device(name or "cuda"))
    monkeypatch.setattr(runtime_module, "Accelerator", lambda **kw: asked.append(kw["cpu"]) or Elsewhere())
    for name, device in (("cuda:1", "cuda:1"), ("cuda", "cuda"), ("cpu", "cpu"), (None, "cuda:0")):
        runtime = Runtime.start(name)
        assert runtime.device == torch.device(device)
        assert runtime.rows.place(torch.zeros(1)) == torch.device(device)
    assert asked == [False, False, True, False]
    assert Runtime.start("mps").rows.device == torch.device("cpu")  # it has no float64
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RecipeError, match=r"device 'cuda:1': every process takes a cuda of its own"):
        Runtime.start("cuda:1")


def test_each_process_works_on_a_device_of_its_own() -> None:
    several = Elsewhere()
    several.num_processes, several.process_index, several.device = 3, 2, torch.device("cuda", 2)
    accelerator: Accelerator = several  # type: ignore[assignment]
    rows = AcceleratedRows.of(accelerator, several.device)
    assert (rows.span(10), rows.device, rows.wire, rows.first) == ((6, 10), several.device, several.device, False)
