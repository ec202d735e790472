"""How long work tells how far it is: bars on a terminal, plain lines elsewhere, nothing when asked."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import datasets
import pytest
from pico_recipes import reading
from transformers.utils import logging

from hf_stitch.experiments.evaluate import evaluate
from hf_stitch.experiments.fit import fit
from hf_stitch.experiments.rehearsal.rehearse import rehearse
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.runtime import progress_bars
from hf_stitch.runtime.progress import Silent


def test_lines_tell_begin_end_and_every_ten_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(progress_bars.progress(), progress_bars.Lines)
    now = iter([0.0, 4.0, 11.0, 12.0, 22.0, 30.0])
    told = progress_bars.Lines(clock=lambda: next(now))
    with told.stage("neighbours", 100) as advance:
        for _ in range(4):
            advance(11)
    assert capsys.readouterr().err.splitlines() == [
        "neighbours: 100 to do",
        "neighbours: 22 of 100, 2.0 a second, 39 s left",
        "neighbours: 44 of 100, 2.0 a second, 28 s left",
        "neighbours: done in 30.0 s",
    ]


def test_bars_are_drawn_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    told = progress_bars.progress()
    assert isinstance(told, progress_bars.Bars)
    with told.stage("neighbours", 2) as advance:
        advance(2)
        told.note("a note")
    err = capsys.readouterr().err
    assert "neighbours" in err
    assert "2/2" in err
    assert "a note" in err


def test_a_stage_without_an_end_in_sight_is_told_while_it_lasts(capsys: pytest.CaptureFixture[str]) -> None:
    seen = threading.Event()

    class Heard(progress_bars.Lines):
        def note(self, text: str) -> None:
            super().note(text)
            if text.endswith("so far"):
                seen.set()

    with Heard(every=0.001).stage("one solve"):
        assert seen.wait(60)
    first, *between, last = capsys.readouterr().err.splitlines()
    assert first == "one solve: begins"
    assert set(between) == {"one solve: 0 s so far"}
    assert last.startswith("one solve: done in ")


@pytest.fixture
def libraries() -> Iterator[None]:
    """As transformers and datasets are at first, and again afterwards as they were."""
    level, bars, others = (
        logging.get_verbosity(),
        logging.is_progress_bar_enabled(),
        datasets.are_progress_bars_disabled(),
    )
    logging.set_verbosity_warning()
    logging.enable_progress_bar()
    datasets.enable_progress_bars()
    yield
    logging.set_verbosity(level)
    (logging.enable_progress_bar if bars else logging.disable_progress_bar)()
    (datasets.disable_progress_bars if others else datasets.enable_progress_bars)()


SWITCHES = [logging.disable_progress_bar, logging.set_verbosity_error, datasets.disable_progress_bars]


@pytest.mark.parametrize("switch", SWITCHES, ids=lambda switch: switch.__name__)
def test_what_quiets_the_libraries_quiets_this(libraries: None, switch) -> None:
    assert isinstance(progress_bars.chosen(), progress_bars.Lines)
    switch()
    assert isinstance(progress_bars.chosen(), Silent)
    assert isinstance(progress_bars.chosen(True), progress_bars.Lines)


def test_what_is_asked_for_holds(libraries: None) -> None:
    own = Silent()
    assert progress_bars.chosen(own) is own
    assert isinstance(progress_bars.chosen(True), progress_bars.Lines)
    assert isinstance(progress_bars.chosen(False), Silent)


def test_calls_from_python_tell_by_default(
    libraries: None,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    pico_roberta: Path,
    pico_xlnet: Path,
    written: Path,
) -> None:
    content = reading(pico_roberta, pico_xlnet, written, compare=["rbf"], data={"fit": {"samples": 24}})
    calls = {
        "fit": lambda **more: fit(content, tmp_path / "out", device="cpu", overwrite=True, **more),
        "evaluate": lambda **more: evaluate(tmp_path / "out", device="cpu", **more),
        "rehearse": lambda **more: rehearse(Recipe.parse(content), device="cpu", **more),
    }
    told = {}
    for name, call in calls.items():
        call()
        told[name] = capfd.readouterr().err.splitlines()
        call(progress=False)
        assert capfd.readouterr().err == "", name
    # What is to be solved is said before, and each row when it is there.
    lines = told["fit"]
    begun = next(i for i, line in enumerate(lines) if line.startswith("fitting rbf (thin-plate spline: 102 centres)"))
    assert lines[begun].endswith(": begins")
    rows = [i for i, line in enumerate(lines) if line.startswith(("affine: agreement ", "rbf: agreement "))]
    assert rows[0] < begun < rows[1]
    assert all(lines[i].endswith(" s") for i in rows)
    assert "answers: 18 to do" in told["evaluate"]
    assert any(line.startswith("neighbourhoods") or line.startswith("activations") for line in told["rehearse"])
