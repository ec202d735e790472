"""Recipes between models as they are used: rehearsed at their published depth, each model narrow."""

from __future__ import annotations

import pytest

from hf_stitch.experiments.rehearsal.known_configurations import KNOWN
from hf_stitch.experiments.rehearsal.rehearse import rehearse
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.recipe.shipped import shipped

REAL = [name for name in shipped() if name.startswith("real/")]
NARROW = {"hidden_size": 24, "num_attention_heads": 4, "intermediate_size": 32, "vocab_size": 300}


def test_the_recipes_are_here() -> None:
    assert "real/sentence_vectors" in REAL


@pytest.mark.parametrize("name", REAL)
def test_it_runs_at_the_published_depth(name: str) -> None:
    plain = Recipe.load(name).plain()
    given = {side: KNOWN[plain[side]["model"]] | NARROW for side in ("source", "target")}
    found = rehearse({**plain, "rehearse": {**plain["rehearse"], **given}}, device="cpu").content
    assert [found["models"][side]["width"] for side in ("source", "target")] == [24, 24]
    assert not [note for note in found["notes"] if "would fail" in note]
    assert found["rows"]["expected"] >= 1800
