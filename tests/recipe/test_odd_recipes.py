"""Whatever stands in a recipe's file: a recipe, or one line that says what is wrong, and at once."""

from __future__ import annotations

import copy
import os
import random
import time
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, note, seed, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from hf_stitch.cli.main import main
from hf_stitch.errors import RecipeError
from hf_stitch.experiments.fit import fit
from hf_stitch.experiments.rehearsal.rehearse import rehearse
from hf_stitch.recipe.explain import members, model_in
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.recipe.shipped import shipped

SEED = int(os.environ.get("HF_STITCH_FUZZ_SEED", "20261"))
EXAMPLES = 300
SLOW = 2.0  # seconds: reading any recipe takes a hundredth

GOOD = """
source: {model: "zoo:a", hook: layers.1}
target: {model: "zoo:b", hook: layers.2}
data:
  fit: {dataset: pairs.jsonl, columns: {source: audio}}
"""
BOMB = "a: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"b{i}: &a{i + 1} [{', '.join([f'*a{i}'] * 10)}]\n" for i in range(12)
)
MERGES = "m0: &m0 {x: 1, y: 2}\n" + "".join(
    f"m{i + 1}: &m{i + 1} {{<<: [{', '.join([f'*m{i}'] * 10)}]}}\n" for i in range(12)
)
ODD = {
    "another case": (GOOD + "SEED: 1", "unknown key `SEED`; did you mean 'seed'"),
    "another case inside": (GOOD.replace("hook: layers.1", "HOOK: layers.1"), "unknown key `source.HOOK`"),
    "a union's word": (GOOD.replace("hook: layers.1", "hook: layers.1, features: {Every: 2}"), "features"),
    "a type's name": (GOOD + "int: 1", "unknown key `int`"),
    "an empty key": (GOOD + "'': 1", "unknown key"),
    "an empty key inside": (GOOD.replace("hook: layers.1", "hook: layers.1, '': 3"), "unknown key `source.`"),
    "no text as a key": (GOOD + "1: 1", "`1`"),
    "true as a key": (GOOD + "true: 1", "expected a key in letters"),
    "null as a key": (GOOD + "~: 1", "`None`"),
    "a list as a key": (GOOD + "? [a]\n: 1", "unhashable"),
    "an impossible date": (GOOD + "seed: 2026-02-30", "`seed`: input should be a valid integer.*got '2026-02-30'"),
    "an impossible date said so": (GOOD + "seed: !!timestamp 2026-02-30", "quote it as text"),
    "a date that is none": (GOOD + "seed: !!timestamp x", "quote it as text"),
    "a tag that does not fit": (GOOD + "seed: !!int x", "quote it as text"),
    "a tag of Python": (GOOD + "seed: !!python/object:os.system x", "not YAML: line 6: could not determine"),
    "a number without end": (GOOD + f"seed: {'9' * 5000}", "quote it as text"),
    "a hexadecimal without end": (GOOD + f"seed: 0x{'f' * 5000}", "a number has 20000 bits"),
    "a negative seed": (GOOD + "seed: -1", "`seed`: input should be greater than or equal to 0; got -1"),
    "a seed above all": (GOOD + f"seed: {2**64}", "`seed`: input should be less than"),
    "no number": (GOOD + "neighborhoods: {delta: .nan}", "`neighborhoods.delta`: input should be"),
    "infinity": (GOOD + "stitch: {ridge: .inf}", "`stitch.ridge`.* finite number"),
    "a key twice": (GOOD + "seed: 1\nname: x\nseed: 2", "key 'seed' is given twice, in lines 6 and 8"),
    "a key twice inside": (
        GOOD.replace("hook: layers.2", "hook: layers.2, hook: layers.3"),
        "key 'hook' is given twice",
    ),
    "a circle": (GOOD + "compare: &a [*a]", "holds itself"),
    "a circle through a mapping": (GOOD + "compare: [&a {name: x, stitch: *a}]", "holds itself"),
    "a circle of merges": (GOOD + "stitch: &a {<<: *a}", "holds itself"),
    "deep lists": (GOOD + "compare: " + "[" * 5000, "more than 40 levels"),
    "deep mappings": (GOOD + "compare: [" + "{a: " * 500, "more than 40 levels"),
    "deep indentation": (GOOD + "stitch:\n" + "".join(f"{' ' * i}a:\n" for i in range(1, 300)), "more than 40 levels"),
    "a bomb of anchors": (BOMB, "anchors repeat"),
    "a bomb of merges": (MERGES, "anchors repeat"),
    "a null": (GOOD + 'name: "a\\0b"', "no file can hold"),
    "half a character": (GOOD + 'name: "\\ud800"', "no file can hold"),
    "half a character in a comparison": (GOOD + 'compare: [{name: "\\udfff"}]', "no file can hold"),
    "a long value": (GOOD + f"seed: {'x' * 100_000}", "got 'x+...x+"),
    "a long key": (GOOD + f"? {'x' * 100_000}\n: 1", "unknown key `x+"),
    "many offenders": (GOOD.replace("hook: layers.1", f"hook: a, features: {['x'] * 3000}"), "and [0-9]+ more"),
    "bytes": (GOOD + "seed: !!binary aGVsbG8=", "`seed`"),
    "a rule that is a list": (GOOD + "sequence: {length: [a]}", r"`sequence.length`: unknown value \['a'\]"),
    "a rule that is a mapping": (GOOD + "sequence: {length: {a: 1}}", "`sequence.length`: unknown value"),
    "a rule of a comparison": (GOOD + "compare: [{name: x, sequence: {length: [a]}}]", "compare: x: `sequence.length`"),
    "a method that is a list": (GOOD + "stitch: {method: [a]}", "`stitch.method`: unknown value"),
    "two documents": (GOOD + "---\nseed: 1", "not YAML: line"),
    "a tab": (GOOD + "\tseed: 1", "not YAML: line"),
}


@pytest.mark.parametrize(("text", "message"), ODD.values(), ids=ODD.keys())
def test_odd_content_is_told_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "odd.yaml").write_text(text)
    begin = time.perf_counter()
    with pytest.raises(RecipeError, match=message) as caught:
        Recipe.load(tmp_path / "odd.yaml")
    assert time.perf_counter() - begin < SLOW
    assert len(str(caught.value)) < 8000
    assert "\n" not in str(caught.value).strip()


WORDS = {
    "a rule that is a list": ("sequence.length=[a]", "`sequence.length`: unknown value"),
    "another case": ("SEED=1", "unknown key `SEED`; did you mean 'seed'"),
    "no key between dots": ("stitch..method=rbf", "expected key=value"),
    "no key at the end": ("stitch.=rbf", "expected key=value"),
    "a key twice": ("stitch={method: rbf, method: affine}", "given twice"),
    "a circle": ("compare=&a [*a]", "holds itself"),
    "deep": ("a" + ".a" * 5000 + "=1", "expected key=value"),
    "deep value": ("compare=" + "[" * 5000, "more than 40 levels"),
    "an impossible date": ("seed=2026-02-30", "`seed`: input should be"),
}


@pytest.mark.parametrize(("word", "message"), WORDS.values(), ids=WORDS.keys())
def test_odd_overrides_are_told_in_one_line(tmp_path: Path, word: str, message: str) -> None:
    (tmp_path / "good.yaml").write_text(GOOD)
    with pytest.raises(RecipeError, match=message) as caught:
        Recipe.load(tmp_path / "good.yaml", [word, word])
    assert len(str(caught.value)) < 8000


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "a/" * 3000, "."])
def test_odd_names_of_recipes(name: str) -> None:
    with pytest.raises(RecipeError, match="no recipe"):
        Recipe.load(name)


def test_what_is_new_to_refuse_leaves_what_is_right(tmp_path: Path) -> None:
    """Anchors, merges that give a key again, and names that look like dates."""
    more = "  test: {<<: *fit, dataset: other.jsonl}\nname: 2026-01-02\n"
    (tmp_path / "good.yaml").write_text(GOOD.replace("fit: {", "fit: &fit {") + more)
    recipe = Recipe.load(tmp_path / "good.yaml")
    assert recipe.name == "2026-01-02"
    assert recipe.data.test is not None
    assert (recipe.data.test.dataset, recipe.data.test.columns.source) == ("other.jsonl", "audio")
    assert Recipe.parse(yaml.safe_load(recipe.dump())) == recipe
    content = yaml.safe_load(GOOD)
    content["source"]["features"] = [0, 1] * 100_000  # equal numbers are no anchors
    assert Recipe.parse(content).source.features == content["source"]["features"]


@pytest.mark.parametrize("given", [None, 3, [GOOD], b"parabola", yaml])
def test_what_stands_for_no_recipe(given: Any) -> None:
    with pytest.raises(RecipeError, match="a recipe is a Recipe, a mapping, a path or a shipped name; got"):
        Recipe.of(given)


def test_fit_and_rehearse_take_a_mapping() -> None:
    for run in (fit, rehearse):
        with pytest.raises(RecipeError, match="unknown key `sitch`"):
            run({**yaml.safe_load(GOOD), "sitch": 1})  # type: ignore[operator]
        with pytest.raises(RecipeError, match="unknown key `sitch`"):
            run(Recipe.parse(yaml.safe_load(GOOD)), overrides=["sitch=1"])  # type: ignore[operator]


def test_whatever_stands_for_a_recipe_takes_overrides(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(GOOD)
    content = {"name": "good", **yaml.safe_load(GOOD)}
    given = [tmp_path / "good.yaml", str(tmp_path / "good.yaml"), content, MappingProxyType(content)]
    found = [Recipe.of(one, ["stitch.method=rbf", "seed=4"]) for one in (*given, Recipe.parse(content))]
    assert {(one.stitch.method, one.seed, one.name, one.fingerprint()) for one in found} == {
        ("rbf", 4, "good", found[0].fingerprint())
    }
    assert Recipe.of(found[0]) is found[0]
    assert content == {"name": "good", **yaml.safe_load(GOOD)}, "what was given is as it was"
    content["stitch"] = {"method": "rbf", "smoothing": 2}
    assert Recipe.of(content, ["stitch.method=affine"]).stitch.options() == {}, "as from a file"


def test_python_data_that_hold_themselves() -> None:
    content: dict[str, Any] = yaml.safe_load(GOOD)
    content["compare"] = [content]
    with pytest.raises(RecipeError, match="holds itself"):
        Recipe.parse(content)


def _keys(part: type[BaseModel], above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The path of every key that the schema knows."""
    found = []
    for name, field in part.model_fields.items():
        here = (*above, field.alias or name)
        found.append(here)
        inside = model_in(field.annotation)
        for one in members(field).values() or ([inside] if inside else []):
            found += _keys(one, here)
    return list(dict.fromkeys(found))


KEYS = _keys(Recipe)
TEXTS = [path.read_text(encoding="utf-8") for path in shipped().values()]
CONTENTS = [yaml.safe_load(text) for text in TEXTS]
Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12), st.dates(), st.binary(max_size=6),
    st.sampled_from(["rbf", "trim", "ctc", "oracle", "all", "given", "cycle", "both", "rbf+nearest", "@oracle", 2**70]),
)  # fmt: skip
ANY_KEY = st.one_of(st.text(max_size=5), st.integers(), st.sampled_from([key[-1] for key in KEYS]))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(ANY_KEY, inner, max_size=3),
    ),
    max_leaves=5,
)
SNIPPETS = [*":{}[]?#~\\\t\0\"'", "- ", "&a ", "*a", "<<: ", "!!int ", "!!set "]


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A shipped recipe with values put at keys of the schema, or with its text cut, doubled and salted."""
    which = draw(st.integers(0, len(TEXTS) - 1))
    text = TEXTS[which]
    if draw(st.booleans()):
        content = copy.deepcopy(CONTENTS[which])
        for _ in range(draw(st.integers(1, 3))):
            *above, key = draw(st.sampled_from(KEYS))
            place = content
            for name in above:
                place = place.setdefault(name, {}) if isinstance(place, dict) else {}
                place = place if isinstance(place, dict) else {}
            spelt = draw(st.sampled_from([key, key, key, key.upper(), key[:-1], ""]))
            place[spelt] = draw(VALUES)
        return yaml.dump(content, Dumper=Dumper, allow_unicode=True)
    chance = random.Random(draw(st.integers(0, 2**32)))
    for _ in range(draw(st.integers(1, 4))):
        at, until = sorted(chance.choices(range(len(text) + 1), k=2))
        until = min(until, at + 60)
        how = chance.choice(["cut", "double", "salt", "salt"])
        middle = {"cut": "", "double": text[at:until] * 2, "salt": chance.choice(SNIPPETS) + text[at:until]}[how]
        text = text[:at] + middle + text[until:]
    return text


def test_mutations_of_the_shipped_recipes_end_in_a_recipe_or_in_one_line(tmp_path: Path) -> None:
    """As the command line reads them: status 0 or 2, never a traceback, never for long."""
    print(f"HF_STITCH_FUZZ_SEED={SEED}, {EXAMPLES} examples")
    ends = []

    @seed(SEED)
    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=HealthCheck)
    @given(mutated())
    def end(text: str) -> None:
        path = tmp_path / "mutated.yaml"
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        note(text)
        begin = time.perf_counter()
        ends.append(main(["recipes", "check", str(path)]))
        assert ends[-1] in (0, 2)
        assert time.perf_counter() - begin < SLOW

    end()
    assert len(ends) >= EXAMPLES
    assert {0, 2} == set(ends)
