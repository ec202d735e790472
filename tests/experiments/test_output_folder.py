"""The folder of a fit: what it answers for, what it refuses, what it takes over."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pico_recipes import reading
from safetensors.torch import load_file, save_file

from hf_stitch.errors import ArtifactError, DataError
from hf_stitch.experiments.claim import CLAIM, claimed, unfinished
from hf_stitch.experiments.fit import fit
from hf_stitch.models.modeling_stitched import StitchedModel
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.report.report import Report
from hf_stitch.runtime.progress import Silent

OTHER = 3  # the seed of another recipe, whose result lies in `other`


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
    for out, seed in (("out", 0), ("other", OTHER)):
        if not Path(out).exists():
            fit(Recipe.parse({**content, "seed": seed}), out, device="cpu")
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


class Stopped(Silent):
    """Ends a fit when it says that a stage begins, as Ctrl-C then would."""

    def __init__(self, stage: str) -> None:
        self.name = stage

    def stage(self, name: str, total: int | None = None) -> Any:
        if name.startswith(self.name):
            raise KeyboardInterrupt
        return super().stage(name, total)

    def note(self, text: str) -> None:
        if text.startswith(self.name):
            raise KeyboardInterrupt


def interrupted(content: dict[str, Any]) -> None:
    shutil.rmtree("out")
    with pytest.raises(KeyboardInterrupt):
        fit(Recipe.parse(content), "out", device="cpu", progress=Stopped("activations (test)"))


def interrupted_late(content: dict[str, Any]) -> None:
    """When the model is saved, and the report is not."""
    shutil.rmtree("out")
    with pytest.raises(KeyboardInterrupt):
        fit(Recipe.parse({**content, "compare": ["rbf"]}), "out", device="cpu", progress=Stopped("comparing with rbf"))
    assert Path("out/model.safetensors").is_file()


def failed(content: dict[str, Any]) -> None:
    shutil.rmtree("out")
    good = Path("written/test.jsonl").read_text()
    Path("written/test.jsonl").write_text(good + '\n{"text": null, "label": 0, "group": "a", "id": "empty"}\n')
    with pytest.raises(DataError, match="empty"):
        fit(Recipe.parse(content), "out", device="cpu")
    Path("written/test.jsonl").write_text(good)


def lost(*names: str) -> Callable[[dict[str, Any]], None]:
    def apply(content: dict[str, Any]) -> None:
        for name in names:
            Path("out", name).unlink()

    return apply


def cut(name: str) -> Callable[[dict[str, Any]], None]:
    def apply(content: dict[str, Any]) -> None:
        whole = Path("out", name).read_bytes()
        Path("out", name).write_bytes(whole[: len(whole) // 2])

    return apply


def flipped(content: dict[str, Any]) -> None:
    whole = bytearray(Path("out/model.safetensors").read_bytes())
    whole[-9] ^= 4
    Path("out/model.safetensors").write_bytes(whole)


NO_RESULT = {
    "failed": failed,
    "interrupted": interrupted,
    "interrupted late": interrupted_late,
    "a flipped bit": flipped,
    "cut weights": cut("model.safetensors"),
    "cut config": cut("config.json"),
    "cut report": cut("report.json"),
    "cut weights and report": lambda content: [cut(name)(content) for name in ("model.safetensors", "report.json")],
    "lost weights": lost("model.safetensors"),
    "lost config": lost("config.json"),
    "lost report": lost("report.json"),
    "lost report and recipe": lost("report.json", "recipe.yaml"),
    "lost all but the recipe": lost("report.json", "model.safetensors", "config.json", "README.md", "report.html"),
}


@pytest.mark.parametrize(("seed", "whole"), [(0, "out"), (OTHER, "other")], ids=["the same recipe", "another recipe"])
@pytest.mark.parametrize("case", NO_RESULT)
def test_what_is_no_finished_result_does_not_block_its_folder(
    project: dict[str, Any], made: Path, case: str, seed: int, whole: str
) -> None:
    NO_RESULT[case](project)
    Path("out/notes.txt").write_text("mine")
    recipe = Recipe.parse({**project, "seed": seed})
    if "lost all" in case:  # what lies beside the recipe might be anybody's, and is not what a fit begins with
        for path in Path("out").glob("*token*"):
            path.unlink()
        Path("out/modeling_hf_stitch.py").unlink()
    _, report = fit(recipe, "out", device="cpu")
    mended = {path.name: path for path in Path("out").iterdir() if path.name != "notes.txt"}
    fresh = {path.name: path for path in (made / whole).iterdir()}
    assert mended.keys() == fresh.keys()
    for name in ("model.safetensors", "config.json", "recipe.yaml"):
        assert mended[name].read_bytes() == fresh[name].read_bytes(), name
    assert Report.load("out").measures == report.measures == Report.load(made / whole).measures
    assert Path("out/notes.txt").read_text() == "mine"


def strange_recipe(content: dict[str, Any]) -> dict[str, str]:
    return {"recipe.yaml": "# of my own\n" + Recipe.parse(content).dump(), "notes.txt": "years of work"}


STRANGE: dict[str, Callable[[dict[str, Any]], dict[str, str]]] = {
    "a text": lambda content: {"thesis.txt": "years of work"},
    "a recipe": strange_recipe,
    "our recipe beside a card": lambda content: {"recipe.yaml": Recipe.parse(content).dump(), "README.md": "# Mine"},
    "our recipe beside another model": lambda content: {
        "recipe.yaml": Recipe.parse(content).dump(), "config.json": '{"model_type": "bert"}', "model.safetensors": "",
    },
    "another report": lambda content: {"report.json": '{"tests": 3}', "recipe.yaml": "soup"},
    "a report of a later version": lambda content: {"report.json": '{"schema": 7}'},
    "no recipe": lambda content: {"recipe.yaml": "source: [", "config.json": "[]"},
}  # fmt: skip


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("case", STRANGE)
def test_files_of_a_stranger_are_never_touched(project: dict[str, Any], case: str, overwrite: bool) -> None:
    files = STRANGE[case](project)
    Path("strange").mkdir()
    for name, text in files.items():
        Path("strange", name).write_text(text)
    with pytest.raises(ArtifactError, match=r"give another --out|use the version") as told:
        fit(Recipe.parse(project), "strange", device="cpu", overwrite=overwrite)
    assert "\n" not in str(told.value)
    assert {path.name: path.read_text() for path in Path("strange").iterdir()} == files


@pytest.mark.parametrize("attempt", range(3))
def test_two_recipes_started_together_never_mix(project: dict[str, Any], attempt: int) -> None:
    shutil.rmtree("out")
    recipes = [Recipe.parse({**project, "seed": seed}) for seed in (1, 2)]
    ended: list[Any] = [None, None]
    start = threading.Barrier(2)

    def run(number: int) -> None:
        start.wait()
        try:
            ended[number] = fit(recipes[number], "out", device="cpu")[1]
        except ArtifactError as error:
            ended[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in (0, 1)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    [won] = [number for number in (0, 1) if isinstance(ended[number], Report)]
    assert re.search("another fit writes out now|result of another recipe", str(ended[1 - won]))
    known = recipes[won].fingerprint()
    assert Report.load("out").fingerprint == StitchedModel.from_pretrained("out").config.fingerprint == known
    assert Recipe.load("out/recipe.yaml").fingerprint() == known


HOLD = """
import sys, time
from pathlib import Path
from hf_stitch.experiments.claim import claimed
with claimed(Path(sys.argv[1]), lambda interrupted: None):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_killed_fit_lets_go(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == "held\n"
            for look in (unfinished, lambda folder: claimed(folder, lambda interrupted: None).__enter__()):
                with pytest.raises(ArtifactError, match=r"another fit writes .* now; wait until it ends"):
                    look(tmp_path)
        finally:
            other.kill()
    assert unfinished(tmp_path)
    seen: list[bool] = []
    with claimed(tmp_path, seen.append):
        assert (tmp_path / CLAIM).is_file()
    assert seen == [True]
    assert not unfinished(tmp_path)
    assert not list(tmp_path.iterdir())


def test_of_many_that_claim_a_folder_one_at_a_time_has_it(tmp_path: Path) -> None:
    inside, most, had = [], [], []

    def run() -> None:
        for _ in range(50):
            try:
                with claimed(tmp_path, lambda interrupted: None):
                    inside.append(1)
                    most.append(len(inside))
                    had.append(1)
                    inside.pop()
            except ArtifactError:
                pass

    threads = [threading.Thread(target=run) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert had
    assert max(most) == 1
    assert not list(tmp_path.iterdir())


def test_the_first_of_several_processes_holds_a_folder_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others may look at it before or after that."""
    monkeypatch.setenv("RANK", "1")
    assert not unfinished(tmp_path / "out")
    with claimed(tmp_path / "out", lambda interrupted: None):
        assert unfinished(tmp_path / "out")
        monkeypatch.setenv("RANK", "0")
        with pytest.raises(ArtifactError, match="another fit writes"):
            unfinished(tmp_path / "out")
