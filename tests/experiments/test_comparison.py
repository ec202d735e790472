"""Which variant is better, and by more than chance."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
from local_metrics import vectors

from hf_stitch.experiments.comparison import surely_smaller
from hf_stitch.experiments.fit import fit
from hf_stitch.recipe.overrides import overrides_between
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.recipe.shipped import shipped


@pytest.mark.parametrize(("apart", "sure"), [(0, False), (1, False), (4, False), (20, True), (-20, False)])
def test_a_few_samples_of_200_make_no_better_method(apart: int, sure: bool) -> None:
    """Of right and wrong, and of numbers."""
    wrong = np.arange(200) < 40
    other = np.arange(200) < 40 + apart
    assert surely_smaller(wrong, other) == sure
    noise = np.random.default_rng(0).normal(size=200) ** 2
    assert surely_smaller(noise, noise + apart) == (apart > 0), "the same difference on every sample is one for sure"
    assert not surely_smaller(noise, noise[::-1])


@pytest.mark.parametrize("name", shipped())
def test_overrides_make_every_comparison_the_recipe(name: str) -> None:
    recipe = Recipe.load(name)
    for label, variant in recipe.variants()[1:]:
        words = overrides_between(recipe.complete(), variant.complete())
        made = Recipe.of(recipe, [*shlex.split(shlex.join(words)), "compare=[]"])
        assert made.complete() == variant.complete(), label
        assert made.fingerprint() == variant.fingerprint(), label
    assert overrides_between(recipe.complete(), recipe.complete()) == []


WORTH = {
    "better than": ({"ridge": 1e6}, {"ridge": 1e-3}, "stitch.ridge=0.001"),
    "not distinguishable from": ({"pairs": 29}, {"pairs": None}, "stitch.pairs=null"),
}


@pytest.mark.parametrize(("worth", "case"), WORTH.items())
def test_a_better_value_on_validation_is_told_with_what_it_is_worth(tmp_path: Path, worth: str, case: tuple) -> None:
    own, other, words = case
    content = vectors(tmp_path)
    content["data"] |= {"validation": content["data"]["fit"], "test": content["data"]["fit"]}
    content |= {"neighborhoods": {"kind": "none"}, "compare": [{"name": "other", "stitch": other}]}
    report = fit({**content, "stitch": {"method": "affine", **own}}, device="cpu")[1]
    assert report.chosen == {"method": "other", "split": "validation", "measure": "output_mse"}
    (told,) = (note for note in report.notes if note.startswith("on validation"))
    assert told.startswith(f"on validation other is {worth} the recipe's affine")
    assert f"`hf-stitch fit` with {words} saves the other" in told
