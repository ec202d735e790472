"""Fits that are killed at a write, and fits of two recipes that start together: real processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import forked_fits
from faults import SEED
from pico_recipes import reading, saved

KILLS, RACES = 8, 20


def ran(mode: str, content: dict[str, Any], folder: Path, count: int) -> dict[str, Any]:
    content["data"]["fit"]["samples"] = 12
    recipe = saved({**content, "trust": "none"}, folder)
    (folder / mode).mkdir()
    print(f"HF_STITCH_FUZZ_SEED={SEED} ({mode})")
    run = subprocess.run(
        [sys.executable, forked_fits.__file__, mode, str(recipe), str(folder / mode), str(SEED), str(count)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    return dict(json.loads(run.stdout.splitlines()[-1]))


def test_a_killed_fit_is_finished_by_the_next(
    tmp_path: Path, pico_roberta: Path, pico_xlnet: Path, written: Path
) -> None:
    """Killed before writes, renamings and deletions drawn from all that it makes: the same result, no dead end."""
    told = ran("killed", reading(pico_roberta, pico_xlnet, written), tmp_path, KILLS)
    assert told["events"] > KILLS
    assert len(told["found"]) == KILLS
    for one in told["found"]:
        assert (one["first"], one["again"], one["same"]) == (-9, 0, True), one


def test_two_recipes_started_together_never_mix(
    tmp_path: Path, pico_roberta: Path, pico_xlnet: Path, written: Path
) -> None:
    """The folder holds the result of one of them, bit for bit; the other is told in one line."""
    told = ran("together", reading(pico_roberta, pico_xlnet, written, neighborhoods={"size": 4}), tmp_path, RACES)
    assert len(told["found"]) == RACES
    for one in told["found"]:
        [won] = one["is"]
        assert one["status"] == [0 if number == won else 2 for number in (1, 2)], one
        [said] = one["said"]
        assert "another fit writes" in said or "another recipe" in said
        assert "\n" not in said
