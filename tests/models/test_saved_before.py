"""Folders that 0.1.0 saved, before its files were moved: they load here and answer as they did there.

`tests/fixtures/saved_by_0.1.0` was written by that version: `full` by `hf-stitch fit parabola` on 60 samples, `map` by
`hf-stitch fit text_sentiment stitch.method=affine save=map` on 40; `expected.json` holds its answers to some inputs.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from hf_stitch import Report, StitchedModel
from hf_stitch.errors import StitchError
from hf_stitch.experiments.output_folder import check_output_folder
from hf_stitch.models.predictor import Predictor
from hf_stitch.recipe.recipe import Recipe

FOLDER = Path(__file__).parents[1] / "fixtures" / "saved_by_0.1.0"
FORMS = ("full", "map")


def expected(form: str) -> dict[str, Any]:
    return json.loads((FOLDER / form / "expected.json").read_text(encoding="utf-8"))


def test_a_whole_model_answers_and_is_trusted_as_it_was() -> None:
    known = expected("full")
    model = StitchedModel.from_pretrained(FOLDER / "full")
    found = model(inputs=torch.tensor(known["inputs"], dtype=torch.float64), return_trust=True)
    torch.testing.assert_close(found.logits, torch.tensor(known["logits"], dtype=torch.float64), rtol=1e-6, atol=1e-9)
    assert found.trust.tolist() == pytest.approx(known["trust"])


def test_the_map_alone_finds_its_halves_and_answers_as_it_did() -> None:
    known = expected("map")
    one = Predictor(FOLDER / "map", device="cpu")
    assert one.model.config.save == "map"
    found = one.model(**one.preparer.batch(known["texts"]))
    torch.testing.assert_close(found.logits, torch.tensor(known["logits"]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_a_finished_folder_is_known_as_finished(form: str) -> None:
    """Recipe and report are read, and their fingerprints are those that this version gives."""
    recipe = Recipe.load(FOLDER / form / "recipe.yaml")
    report = Report.load(FOLDER / form / "report.json")
    assert recipe.fingerprint() == report.fingerprint
    assert report.method == recipe.label
    if form == "full":
        assert check_output_folder(FOLDER / form, recipe)


def test_what_is_saved_again_is_the_same(tmp_path: Path) -> None:
    StitchedModel.from_pretrained(FOLDER / "full").save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == (FOLDER / "full" / "model.safetensors").read_bytes()


WRONG = (None, "x", [], {}, 7, -1, True, 2.5)


def fields(content: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Places of a configuration, however deep; of lists the first entry."""
    if above:
        yield above
    if isinstance(content, dict):
        for key in content:
            yield from fields(content[key], (*above, key))
    elif isinstance(content, list) and content:
        yield from fields(content[0], (*above, 0))


CONFIG = json.loads((FOLDER / "full" / "config.json").read_text(encoding="utf-8"))
PLACES = [place for place in fields(CONFIG) if place[0] != "recipe"]


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_a_field_of_a_wrong_type_is_told_where_it_keeps_a_model_from_loading(wrong: Any, tmp_path: Path) -> None:
    """One field at a time; any error that is not ours would be a traceback for whoever loads the model."""
    shutil.copytree(FOLDER / "full", tmp_path / "saved")
    told = []
    for place in random.Random(0).sample(PLACES, 100):
        content = json.loads(json.dumps(CONFIG))
        holder = content
        for key in place[:-1]:
            holder = holder[key]
        holder[place[-1]] = wrong
        (tmp_path / "saved" / "config.json").write_text(json.dumps(content), encoding="utf-8")
        try:
            StitchedModel.from_pretrained(tmp_path / "saved")
        except StitchError as error:
            told.append(str(error))
    assert len(told) > 10
    assert all(text.strip() for text in told)


def test_what_the_caller_asked_for_stays_his_error() -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever transformers raises for it
        StitchedModel.from_pretrained(FOLDER / "full", dtype="no such dtype")
    assert "damaged" not in str(caught.value)
