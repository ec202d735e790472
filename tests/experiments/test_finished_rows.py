"""A fit that is stopped keeps the rows that it finished, and the next one takes them up: the result is the same."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pico_recipes import reading

from hf_stitch.experiments.finished_rows import FILE
from hf_stitch.experiments.fit import fit
from hf_stitch.recipe.overrides import merge
from hf_stitch.report.report import Report

MAPS = {"name": "maps", "stitch": {"method": "diffusion", "sides": "both", "coordinates": 4}}
HERE = {"name": "elsewhere", "source": {"hook": "roberta.encoder.layer.1"}}
MADE = ("model.safetensors", "config.json", "recipe.yaml")
BACK = "elsewhere (backward)"  # of models and data of its own both ways are measured together
ROWS = ["affine", "rbf", "maps", "elsewhere", BACK, "affine (backward)", "rbf (backward)", "maps (backward)"]


class Told:
    """A progress that remembers what it was told, and stops the fit as Ctrl-C does when a row is told."""

    def __init__(self, stop: str | None = None) -> None:
        self.stop, self.stages, self.notes = stop, list[str](), list[str]()

    @contextmanager
    def stage(self, name: str, total: int | None = None):
        self.stages.append(name)
        yield lambda units: None

    def note(self, text: str) -> None:
        self.notes.append(text)
        if self.stop is not None and text.startswith(f"{self.stop}: "):
            raise KeyboardInterrupt

    @property
    def fitted(self) -> list[str]:
        """What was solved, in order."""
        return [stage.split()[1] for stage in self.stages if stage.startswith("fitting ")]


@pytest.fixture(scope="module")
def content(pico_roberta: Path, pico_xlnet: Path, written: Path) -> dict[str, Any]:
    plain = reading(pico_roberta, pico_xlnet, written, data={"fit": {"samples": 24}}, directions="both")
    validation = {**plain["data"]["test"], "dataset": str(written / "validation.jsonl")}
    return merge(plain, {"compare": ["rbf", MAPS, HERE], "data": {"validation": validation}})


ONE_WAY = {"compare": ["rbf", MAPS], "directions": "forward"}


@pytest.fixture(scope="module")
def one_way(content: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Report:
    return fit(merge(content, ONE_WAY), tmp_path_factory.mktemp("one") / "out", device="cpu", progress=False)[1]


@pytest.fixture(scope="module")
def whole(content: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    """What a fit makes that nobody stops."""
    folder = tmp_path_factory.mktemp("whole") / "out"
    return folder, fit(content, folder, device="cpu", progress=False)[1]


def result(report: Report) -> dict[str, Any]:
    """All that a report holds but how long it took."""
    plain = {key: value for key, value in report.to_dict().items() if key not in ("timings", "memory_peak_bytes")}
    for found in plain["diagnostics"]["fits"].values():
        for side in ("source", "target"):
            found.get(side, {}).pop("seconds", None)
    return plain


def stopped(content: dict[str, Any], folder: Path, row: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        fit(content, folder, device="cpu", progress=Told(row))


@pytest.mark.parametrize("row", ["affine", "maps", "elsewhere", "rbf (backward)"])
def test_finished_rows_are_taken_up(
    content: dict[str, Any], whole: tuple[Path, Report], tmp_path: Path, row: str
) -> None:
    stopped(content, tmp_path / "out", row)
    kept = [json.loads(line)["row"] for line in (tmp_path / "out" / FILE).read_text().splitlines()]
    done = ROWS[: ROWS.index(row) + 1]
    assert [one["label"] + " (backward)" * (one["direction"] == "backward") for one in kept] == done
    assert all(one["measures"] and one["seconds"] > 0 for one in kept)
    told = Told()
    _, report = fit(content, tmp_path / "out", device="cpu", progress=told)
    assert [note.split(":")[0] for note in told.notes if note.endswith("taken up")] == done
    assert told.fitted == [name.split()[0] for name in ROWS[len(done) :]]
    assert result(report) == result(whole[1])
    assert report.timings.keys() == whole[1].timings.keys()
    assert all((tmp_path / "out" / name).read_bytes() == (whole[0] / name).read_bytes() for name in MADE)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        path.name for path in whole[0].iterdir()
    )


def damaged(folder: Path) -> None:
    path = folder / FILE
    path.write_text(path.read_text().replace("agreement", "agreememt", 1))


def cut(folder: Path) -> None:
    path = folder / FILE
    path.write_bytes(path.read_bytes()[:-40])


def model_damaged(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x99")


@pytest.mark.parametrize(
    ("harm", "refitted"), [(damaged, ["affine", "maps"]), (cut, ["rbf", "maps"]), (model_damaged, ["affine", "maps"])]
)
def test_what_is_damaged_is_made_anew(
    content: dict[str, Any], one_way: Report, tmp_path: Path, harm, refitted: list[str]
) -> None:
    content = merge(content, ONE_WAY)
    stopped(content, tmp_path / "out", "rbf")
    harm(tmp_path / "out")
    told = Told()
    _, again = fit(content, tmp_path / "out", device="cpu", progress=told)
    assert told.fitted == refitted
    assert result(again) == result(one_way)


@pytest.mark.parametrize("change", ["data", "dtype", "overwrite"])
def test_rows_of_another_run_are_not_taken_up(
    content: dict[str, Any], written: Path, tmp_path: Path, change: str
) -> None:
    table = tmp_path / "test.jsonl"
    table.write_bytes((written / "test.jsonl").read_bytes())
    content = merge(content, {"compare": ["rbf"], "directions": "forward", "data": {"test": {"dataset": str(table)}}})
    stopped(content, tmp_path / "out", "rbf")
    if change == "data":
        table.write_text("".join(table.read_text().splitlines(keepends=True)[:-1]))
    more = {"dtype": {"dtype": "float64"}, "overwrite": {"overwrite": True}}.get(change, {})
    told = Told()
    fit(content, tmp_path / "out", device="cpu", progress=told, **more)
    assert told.fitted == ["affine", "rbf"]
