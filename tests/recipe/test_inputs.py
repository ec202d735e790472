"""The part `inputs` at a side of a recipe."""

from __future__ import annotations

from typing import Any

import pytest

from hf_stitch.errors import RecipeError
from hf_stitch.recipe.inputs import axis
from hf_stitch.recipe.recipe import Recipe

BASE: dict[str, Any] = {
    "source": {"model": "a", "hook": "x"},
    "target": {"model": "b", "hook": "y"},
    "data": {"fit": {"dataset": "d", "columns": {"source": "s"}}},
}


def recipe(inputs: Any) -> Recipe:
    return Recipe.parse({**BASE, "target": {**BASE["target"], "inputs": inputs}})


@pytest.mark.parametrize(
    ("word", "numbers"),
    [
        (3, 3), ("3", 3), ("b", [1, 0, 1]), ("b*4", [1, 0, 4]), ("t", [0, 1, 0]), ("2t+1", [0, 2, 1]),
        ("2 * t - 1", [0, 2, -1]), ("b*t", [1, 1, 0]), ("b*(2t+1)", [1, 2, 1]), ("(t+1)//2", [0, 1, 1, 2]),
        ("t//4", [0, 1, 0, 4]), (0, None), (-1, None), ("", None), ("q", None), ("t*t", None), ("t//0", None),
    ],
)  # fmt: skip
def test_axes_are_numbers_or_formulas(word: Any, numbers: Any) -> None:
    assert axis(word) == numbers


def test_what_is_not_said_follows_from_what_is() -> None:
    asked = {
        "bbox": {"shape": ["b", "t", 4], "value": [0, 0, 9, 9]},
        "visual_feats": {"shape": ["b", 3, 8]},
        "language_ids": {"shape": ["b", "t"]},
        "keep": {"shape": ["b"], "value": True},
        "return_loss": {"value": False},
        "kind_ids": {"shape": ["b"], "below": 7},
    }
    made = recipe(asked)
    found = {name: one.plain(name, 60) for name, one in made.target.inputs.items()}
    kinds = {name: (one["dtype"], one["below"]) for name, one in found.items() if name != "return_loss"}
    assert kinds == {
        "bbox": ("int64", 2), "visual_feats": ("float32", 2), "language_ids": ("int64", 60), "keep": ("bool", 2),
        "kind_ids": ("int64", 7),
    }  # fmt: skip
    assert Recipe.parse(made.plain()) == made
    assert made.plain()["target"]["inputs"] == asked
    assert found["bbox"]["shape"] == [[1, 0, 1], [0, 1, 0], 4]


WRONG = {
    "bbox: {shpe: [b]}": r"unknown key `target.inputs.bbox.shpe`; did you mean 'shape'\?",
    "bbox: {shape: [q]}": r"`inputs.bbox.shape`: each axis is a number, or a formula.*; got 'q'",
    "bbox: {}": r"`inputs.bbox`: expected a `shape`, or a `value`",
    "bbox: {shape: [b, t, 4], value: [0, 1]}": r"`inputs.bbox.value`: a list has the last axes of the shape",
    "bbox: {shape: [b, t, 4], value: [[0, 1], [1]]}": r"`inputs.bbox.value`: a list has the last axes of the shape",
    "bbox: {shape: [b], value: red}": r"`inputs.bbox.value`: a tensor holds numbers; got 'red'",
    "bbox: {value: 3, dtype: int64}": r"`inputs.bbox`: dtype and below are of tensors; give its `shape` too",
    "bbox: {shape: [b], dtype: int}": r"`target.inputs.bbox.dtype`: unknown value 'int'; did you mean 'int64'",
    "bbox: {shape: [b], below: 0}": r"`target.inputs.bbox.below`: input should be greater than 0",
    "bbox: 3": r"`target.inputs.bbox`: expected a mapping of keys; got 3",
    "[1]": r"`target.inputs`: input should be a valid dictionary",
}


@pytest.mark.parametrize("inputs", WRONG)
def test_what_cannot_be_made_is_refused(inputs: str) -> None:
    from hf_stitch.recipe.plain import read_yaml

    with pytest.raises(RecipeError, match=WRONG[inputs]) as caught:
        recipe(read_yaml(inputs))
    assert "\n" not in str(caught.value)


def test_recipes_without_inputs_have_the_fingerprint_that_they_had() -> None:
    assert Recipe.parse(BASE).fingerprint() == recipe({}).fingerprint() == "32119bb3d758b082e5b654d4"
    assert recipe({"bbox": {"value": 1}}).fingerprint() != Recipe.parse(BASE).fingerprint()
    override = "target.inputs.bbox={shape: [b, t, 4], value: 0}"
    assert Recipe.parse(BASE, [override]).target.inputs["bbox"].shape == ["b", "t", 4]
