"""The folder of a fit: what it answers for, what it refuses, what it takes over."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pico_recipes import reading
from safetensors.torch import load_file, save_file

from hf_stitch.errors import ArtifactError
from hf_stitch.experiments.fit import fit
from hf_stitch.models.modeling_stitched import StitchedModel
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.report.report import Report
from hf_stitch.runtime.progress import Silent


class Told(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, pico_roberta: Path, pico_xlnet: Path, written: Path) -> Path:
    """A project of its own, with models, data, and a finished folder `out`."""
    base = tmp_path_factory.mktemp("project")
    for name, folder in (("roberta", pico_roberta), ("xlnet", pico_xlnet), ("written", written)):
        shutil.copytree(folder, base / name)
    return base


@pytest.fixture
def project(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The recipe of a project in the working folder, whose result lies in `out`."""
    monkeypatch.chdir(made)
    content = reading(Path("roberta"), Path("xlnet"), Path("written"), sequence={"length": "resample"}, trust="none")
    content["data"]["fit"]["samples"] = 12
    if not Path("out").exists():
        fit(Recipe.parse(content), "out", device="cpu")
    shutil.copytree(made, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return content


def edit_table(split: str) -> Callable[[], dict[str, Any]]:
    def apply() -> dict[str, Any]:
        path = Path("written", f"{split}.jsonl")
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        path.write_text("\n".join(json.dumps({**row, "label": 1 - row["label"]}) for row in rows))
        return {}

    return apply


def retrain(model: str) -> Callable[[], dict[str, Any]]:
    def apply() -> dict[str, Any]:
        weights = load_file(f"{model}/model.safetensors")
        save_file({key: one * 1.5 for key, one in weights.items()}, f"{model}/model.safetensors", {"format": "pt"})
        return {}

    return apply


CHANGES = {
    "data.fit": edit_table("fit"),
    "data.test": edit_table("test"),
    "source": retrain("roberta"),
    "target": retrain("xlnet"),
    "dtype": lambda: {"dtype": "bfloat16"},
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_finished_folder_does_not_answer_for_another_run(project: dict[str, Any], what: str) -> None:
    before = {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()}
    more = CHANGES[what]()
    with pytest.raises(
        ArtifactError, match=f"with another {what} than now; give another --out, or --overwrite"
    ) as told:
        fit(Recipe.parse(project), "out", **more)
    assert "\n" not in str(told.value)
    assert {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()} == before


def test_a_finished_folder_says_so_and_does_nothing(project: dict[str, Any]) -> None:
    told = Told()
    _, report = fit(Recipe.parse(project), "out", device="cpu", progress=told)
    assert [note for note in told.notes if "out: finished before, nothing done" in note]
    assert report.environment["stamps"].keys() == {"source", "target", "data.fit", "data.test", "device", "dtype"}
    assert str(Path.cwd()) not in json.dumps(report.environment)


def test_overwriting_fits_anew(project: dict[str, Any]) -> None:
    old, _ = Report.load("out"), retrain("roberta")()
    _, report = fit(Recipe.parse(project), "out", device="cpu", overwrite=True)
    assert report.environment["stamps"]["source"] != old.environment["stamps"]["source"]
    assert report.environment["stamps"]["target"] == old.environment["stamps"]["target"]
    other = Recipe.parse({**project, "seed": 5})
    with pytest.raises(ArtifactError, match="another recipe"):
        fit(other, "out", device="cpu")
    fit(other, "out", device="cpu", overwrite=True)
    assert Report.load("out").fingerprint == StitchedModel.from_pretrained("out").config.fingerprint
    fit(other, "out", device="cpu")


def test_the_models_and_data_of_a_finished_folder_may_be_gone(project: dict[str, Any]) -> None:
    for name in ("roberta", "xlnet", "written"):
        shutil.rmtree(name)
    model, _ = fit(Recipe.parse(project), "out", device="cpu")
    assert all(
        one.equal(two) for one, two in zip(model.parameters(), StitchedModel.from_pretrained("out").parameters())
    )


def test_a_comparison_with_another_model_is_stamped_too(project: dict[str, Any]) -> None:
    shutil.copytree("xlnet", "xlnet-2")
    project["compare"] = [{"name": "other", "target": {"model": "xlnet-2"}}]
    _, report = fit(Recipe.parse(project), "more", device="cpu")
    assert "other: target" in report.environment["stamps"]
    retrain("xlnet-2")()
    with pytest.raises(ArtifactError, match="another other: target"):
        fit(Recipe.parse(project), "more", device="cpu")
