"""Controls and answer kinds: found in their folder, each where it applies, as the kind reads answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from local_metrics import vectors
from pico_recipes import observations, reading

from hf_stitch.activations.ragged import Ragged
from hf_stitch.evaluation import controls as folder
from hf_stitch.evaluation.answer_kinds.base import References, Scope
from hf_stitch.evaluation.answer_kinds.classes import Classes
from hf_stitch.evaluation.answer_kinds.kind_of import kind_of
from hf_stitch.evaluation.answer_kinds.numbers import Numbers
from hf_stitch.evaluation.controls.context import controls
from hf_stitch.evaluation.references import make_references
from hf_stitch.recipe.recipe import Recipe

COUNT = 6


def test_every_file_of_the_folder_is_a_control_with_a_place_of_its_own() -> None:
    found = controls()
    files = {path.stem for path in Path(folder.__path__[0]).glob("[!_]*.py")} - {"context"}
    assert {one.__name__.rpartition(".")[2] for one in found} == files
    assert len(found) == len({one.ORDER for one in found}) == COUNT
    assert [one.ORDER for one in found] == sorted(one.ORDER for one in found)


def test_a_classifier_is_compared_with_no_other_sample(pico_roberta: Path, pico_xlnet: Path, written: Path) -> None:
    content = reading(pico_roberta, pico_xlnet, written)
    seen = observations(content, "fit", "test").collect()
    found = make_references(Recipe.parse(content), seen, "test")
    assert isinstance(found.kind, Classes)
    assert found.own.tolist() == seen.frames["test"].output.argmax(-1).tolist()
    assert dict(found.controls) == {}, "the commonest class of each group is told without a row of answers"
    assert found.truth.tolist() == seen.samples["test"].labels


def test_numbers_are_compared_with_the_mean_and_with_the_nearest_input(tmp_path: Path) -> None:
    content = vectors(tmp_path)
    rows = (tmp_path / "fit.jsonl").read_text().splitlines()
    (tmp_path / "fit.jsonl").write_text("\n".join(row.replace("}", f', "y": {k}}}') for k, row in enumerate(rows)))
    content["data"]["fit"]["columns"]["target_answer"] = "y"
    content["data"]["test"] = content["data"]["fit"]
    content["stitch"] = {"pairs": 2}
    recipe, seen = Recipe.parse(content), observations(content, "fit", "test").collect()
    found = make_references(recipe, seen, "test")
    assert isinstance(found.kind, Numbers)
    assert list(found.controls) == ["majority", "nearest", "nearest-pair"]
    assert found.controls["nearest"].ravel().tolist() == list(range(30)), "each test sample is a fit sample"
    assert set(found.controls["nearest-pair"].ravel().tolist()) == {0, 29}, "only two answers are known"
    np.testing.assert_allclose(found.controls["majority"], np.broadcast_to(found.own.mean(0), found.own.shape))
    assert kind_of(seen.target) == found.kind or isinstance(kind_of(seen.target), Numbers)


def test_kinds_tell_errors_in_their_own_measure() -> None:
    logits = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 1.0]])
    assert Classes().errors(logits, logits.flip(1)).tolist() == [True, True, True]
    assert Classes().errors(logits, 3 * logits).tolist() == [False, False, False]
    assert Numbers().errors(logits, logits + 2).tolist() == pytest.approx([4, 4, 4])
    assert (Classes.error, Numbers.error) == ("agreement", "output_mse")


def test_only_classes_and_texts_are_plainly_wrong() -> None:
    own = np.array([0, 1, 1])
    references = References(Classes({0: "no", 1: "yes"}), own)
    assert references.kind.wrong(np.array([0, 0, 1]), references).tolist() == [False, True, False]
    assert {name: rows.tolist() for name, rows in references.kind.groups(references).items()} == {
        "no": [True, False, False],
        "yes": [False, True, True],
    }
    assert Numbers().wrong(own, References(Numbers(), own)) is None


def test_a_scope_splits_by_group() -> None:
    parts = Scope("test", "forward", 0, ["b", "a", "b"]).parts(3)
    assert [(name, rows.tolist()) for name, rows in parts] == [("test", [0, 1, 2]), ("test/a", [1]), ("test/b", [0, 2])]


def test_texts_are_read_by_what_the_target_skips() -> None:
    from types import SimpleNamespace

    from hf_stitch.activations.text_output import TextOutput
    from hf_stitch.evaluation.answer_kinds.texts import Texts

    spelled = SimpleNamespace(decode=lambda row, skip_special_tokens: " ".join(map(chr, row)))
    kind = Texts(TextOutput("encoder", (0,)), spelled)
    given, own = (
        Ragged.pack([torch.tensor([ord(c) for c in text]) for text in row]) for row in (("ab", "c"), ("ab", "d"))
    )
    assert kind.read(given).texts == ["a b", "c"]
    assert kind.errors(given, own).tolist() == [0, 1]
    assert kind.wrong(kind.read(given), References(kind, kind.read(own))).tolist() == [False, True]
    assert kind.chance(kind.read(own), None).texts == ["a b", "a b"]
