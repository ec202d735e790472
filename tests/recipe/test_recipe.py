from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hf_stitch.errors import RecipeError
from hf_stitch.recipe import recipe as recipe_module
from hf_stitch.recipe import shipped as shipped_module
from hf_stitch.recipe.digest import digest
from hf_stitch.recipe.keys import methods_table, recipe_keys
from hf_stitch.recipe.overrides import apply_overrides, merge
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.recipe.shipped import find, shipped
from hf_stitch.recipe.stitch import METHODS

SHIPPED, REPORTED = 23, 14
CARDS = Path(__file__).parents[2] / "model_cards"
TEXT = """
# a comment
source: {model: "zoo:a", hook: layers.1, features: {every: 2}}
target: {model: "zoo:b", class: RobertaModel, hook: layers.2, output: last_hidden_state}
data:
  fit: {dataset: pairs.jsonl, samples: 64, columns: {source: audio, target: text}}
stitch: {method: rbf, smoothing: 1.0}
compare: [affine, rbf+nearest, {name: trim, sequence: {length: trim}, stitch: {smoothing: 0}}]
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "small.yaml").write_text(TEXT)
    return tmp_path / "small.yaml"


def changed(**changes: object) -> dict:
    return merge(yaml.safe_load(TEXT), changes)


def refused(content: dict) -> str:
    with pytest.raises(RecipeError) as caught:
        Recipe.parse(content)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_shipped_recipe_is_one(tmp_path: Path) -> None:
    names = shipped()
    assert len(names) == SHIPPED
    for name, file in names.items():
        recipe = Recipe.load(name)
        assert recipe == Recipe.load(file)
        assert recipe.description, f"{name} does not say what it shows"
        assert file.read_text().startswith("#"), f"{name} has no header"
        assert f"hf-stitch fit recipes/{name}.yaml" in file.read_text(), f"{name} does not say how it is run"
        assert Recipe.parse({"name": recipe.name, **yaml.safe_load(recipe.dump())}) == recipe


def test_load_takes_a_path_or_a_shipped_name(path: Path) -> None:
    recipe = Recipe.load(path)
    assert recipe.name == "small"
    assert recipe.target.class_ == "RobertaModel"
    assert recipe.source.features.every == 2  # type: ignore[union-attr]
    assert find(next(iter(shipped()))).suffix == ".yaml"
    with pytest.raises(RecipeError, match="did you mean"):
        Recipe.load(next(iter(shipped())) + "x")


def test_dump_and_parse_are_inverse(path: Path) -> None:
    recipe = Recipe.load(path)
    assert Recipe.parse(yaml.safe_load(recipe.dump())) == recipe
    assert "seed" not in recipe.dump(), "defaults are left out"


def test_the_fingerprint_is_of_what_is_computed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe.load(path)
    spelt_otherwise = changed(seed=0, name="other", description="words", directions="forward")
    reordered = dict(reversed(spelt_otherwise.items()))
    assert Recipe.parse(reordered).fingerprint() == recipe.fingerprint()
    for override in ("seed=1", "data.fit.samples=63", "stitch.smoothing=2", "compare=[]", "source.hook=layers.0"):
        assert Recipe.load(path, [override]).fingerprint() != recipe.fingerprint(), override
    stamp = recipe.fingerprint()
    monkeypatch.setattr(recipe_module, "FORMAT", 99)
    assert recipe.fingerprint() != stamp


UNKNOWN = {
    "stitch": ({"stitch": {"method": "rbf", "smothing": 1}}, "unknown key `stitch.smothing`; did you mean 'smoothing'"),
    "top": ({"sitch": {}}, "unknown key `sitch`; did you mean 'stitch'"),
    "deep": ({"data": {"fit": {"columns": {"labels": "x"}}}}, "`data.fit.columns.labels`; did you mean 'label'"),
    "options": (
        {"stitch": {"method": "rbf", "ridge": 1}},
        "method rbf has no option 'ridge'; known: landmarks, smoothing",
    ),
    "no method": ({"stitch": {"method": None}}, "`stitch.method`: unknown value None; known: affine, "),
    "no part": ({"stitch": 3}, "`stitch`: expected a mapping of keys; got 3"),
    "value": ({"stitch": {"smoothing": -1}}, "`stitch.smoothing`: input should be greater than or equal to 0; got -1"),
    "method": ({"stitch": {"method": "rfb"}}, "`stitch.method`: unknown value 'rfb'; did you mean 'rbf'"),
    "rule": ({"sequence": {"length": "trimm"}}, "did you mean 'trim'"),
    "type": ({"seed": "x"}, "`seed`: input should be a valid integer"),
    "zero": ({"data": {"fit": {"samples": 0}}}, "`data.fit.samples`: input should be greater than 0; got 0"),
    "ctc": (
        {"sequence": {"target_length": "ctc"}},
        "target_length: ctc with length: trim, which takes ratio, constant, predicted, oracle",
    ),
    "pool": (
        {"sequence": {"length": "pool", "target_length": "ratio"}},
        "target_length: ratio with length: pool, which finds the length itself: leave it out",
    ),
    "slice": (
        {"sequence": {"length": "ctc", "slice": 2}},
        "sequence.slice: 2 needs length trim or resample",
    ),
    "parts": ({"sequence": {"parts": 2}}, "sequence.parts: 2 needs length pool or ctc or spans"),
    "strided": ({"sequence": {"slicing": "strided"}}, "sequence.slicing: strided needs `slice`"),
    "fill": ({"sequence": {"fill": "mean"}}, "fill: mean fills target features that were not selected"),
    "no neighbours": (
        {"stitch": {"method": "diffusion"}, "neighborhoods": {"kind": "given"}},
        "needs data.fit.columns.source_neighbours",
    ),
    "no metric": ({"stitch": {"method": "diffusion"}, "neighborhoods": {"kind": "none"}}, "gaussian or jacobian"),
}


@pytest.mark.parametrize(("changes", "message"), UNKNOWN.values(), ids=UNKNOWN.keys())
def test_what_is_no_recipe_is_explained(changes: dict, message: str) -> None:
    assert message in refused(changed(**changes))


def test_all_offenders_are_told_at_once() -> None:
    content = changed(sitch={}, seed="x")
    del content["source"]
    content["stitch"] = {"method": "rfb", "smothing": 1}
    message = refused(content)
    assert "unknown value 'rfb'" in message
    assert "unknown key `stitch.smothing`; did you mean 'smoothing'" in message, "where the method is unknown too"
    assert all(part in message for part in ("`sitch`", "`seed`", "`source` is missing"))


def test_features_of_each_kind() -> None:
    for features in ("all", {"every": 3}, [0, 4]):
        content = changed()
        content["source"]["features"] = features
        assert Recipe.parse(content).plain()["source"].get("features", "all") == features
    content["source"]["features"] = {"each": 2}
    assert "every" in refused(content)


@pytest.mark.parametrize(
    ("text", "message"), [("a: [", "is not YAML"), ("- a", "expected a mapping"), ("", "expected a mapping")]
)
def test_files_that_are_no_recipe(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(RecipeError, match=message):
        Recipe.load(tmp_path / "bad.yaml")


def test_overrides_reach_every_key_as_yaml(path: Path) -> None:
    words = ["seed=3", "data.fit.samples=null", "source.features=[1, 2]", "data.test.dataset=x", "compare=[]"]
    recipe = Recipe.load(path, [*words, "data.test.columns.source=a=b", "stitch.landing=nearest"])
    assert recipe.seed == 3
    assert recipe.data.fit.samples is None
    assert recipe.source.features == [1, 2]
    assert recipe.data.test is not None
    assert recipe.data.test.columns.source == "a=b"
    assert recipe.label == "rbf+nearest"


@pytest.mark.parametrize("word", ["seed", "=3", "", "seed=[", " =1"])
def test_words_that_are_no_override(path: Path, word: str) -> None:
    with pytest.raises(RecipeError, match="override"):
        Recipe.load(path, [word])


def test_an_unknown_override_names_the_nearest(path: Path) -> None:
    with pytest.raises(RecipeError, match=r"unknown key `stitch.methd`; did you mean 'method'"):
        Recipe.load(path, ["stitch.methd=rbf"])


@given(st.dictionaries(st.sampled_from("abc"), st.integers()), st.dictionaries(st.sampled_from("bcd"), st.integers()))
def test_merge_keeps_what_is_not_changed_and_changes_nothing_in_place(base: dict, changes: dict) -> None:
    before = dict(base)
    assert merge({"k": base}, {"k": changes}) == {"k": {**base, **changes}}
    assert base == before
    words = [f"k.{key}={value}" for key, value in changes.items()]
    assert apply_overrides({"k": base}, words) == {"k": {**base, **changes}}


def test_variants_are_the_recipe_and_what_it_is_compared_with(path: Path) -> None:
    found = Recipe.load(path).variants()
    assert [label for label, _ in found] == ["rbf", "affine", "rbf+nearest", "trim"]
    recipes = dict(found)
    assert all(not recipe.compare for recipe in recipes.values())
    assert recipes["rbf"].stitch.smoothing == 1
    assert recipes["affine"].stitch.options() == {}, "options of one method mean nothing to another"
    assert recipes["rbf+nearest"].stitch.landing == "nearest"
    assert recipes["trim"].stitch.smoothing == 0


def test_the_true_length_shows_in_the_label(path: Path) -> None:
    oracle = "sequence={length: trim, target_length: oracle}"
    assert Recipe.load(path, [oracle, "compare=[]"]).label == "rbf@oracle"
    entry = "compare=[{name: known, sequence: {target_length: oracle}}]"
    assert [label for label, _ in Recipe.load(path, [entry]).variants()] == ["rbf", "known@oracle"]


BAD_COMPARE = {
    "twice": ("[affine, affine]", "affine occurs more than once"),
    "unknown": ("[afine]", "unknown method 'afine'; did you mean 'affine'"),
    "landing": ("[rbf+close]", "unknown method"),
    "nameless": ("[{stitch: {method: affine}}]", "with `name:`"),
    "key": (
        "[{name: x, sequence: {lenght: trim}}]",
        "compare: x: unknown key `sequence.lenght`; did you mean 'length'",
    ),
}


def test_the_recipes_own_method_among_its_comparisons_is_no_other(path: Path) -> None:
    """An override such as stitch.method=affine must not clash with `compare: [affine]`."""
    assert [label for label, _ in Recipe.load(path, ["compare=[rbf, affine]"]).variants()] == ["rbf", "affine"]


@pytest.mark.parametrize(("entry", "message"), BAD_COMPARE.values(), ids=BAD_COMPARE.keys())
def test_wrong_comparisons_are_refused_before_the_fit(path: Path, entry: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message.replace("+", r"\+")):
        Recipe.load(path, [f"compare={entry}"])


def test_options_are_those_given(path: Path) -> None:
    assert Recipe.load(path).stitch.options() == {"smoothing": 1.0}
    words = ["stitch.method=affine", "compare=[]"]
    assert Recipe.load(path, words).stitch.options() == {}


def test_digest_follows_the_content_and_not_the_order() -> None:
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1}) != digest({"a": 1, "b": [3]})


def test_shipped_recipes_are_found_inside_an_installed_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "shipped_recipes" / "paper"
    folder.mkdir(parents=True)
    (folder / "one.yaml").write_text(TEXT)
    monkeypatch.setattr(shipped_module, "__file__", str(tmp_path / "recipe" / "shipped.py"))
    assert list(shipped()) == ["paper/one"]
    assert Recipe.load("paper/one").name == "one"


def test_every_key_is_explained() -> None:
    rows = recipe_keys()
    assert len(rows) >= 50
    assert [key for key, values, _, meaning in rows if not values or not meaning] == []
    known = {key for key, *_ in rows}
    assert {"source.hook", "data.fit.columns.label", "neighborhoods.eta", "sequence.parts", "stitch.landing"} <= known
    assert len(known) == len(rows)


def test_every_option_of_every_method_is_among_the_keys() -> None:
    rows = {key: rest for key, *rest in recipe_keys()}
    for method, one in METHODS.items():
        for name in one.option_names():
            takers, _, _ = rows[f"stitch.{name}"][2].partition(": ")
            assert method in takers.split(", "), name
        assert one.summary in rows["stitch.method"][2]
    assert rows["stitch.smoothing"][1] == "diffusion: 0.0, rbf: 1.0"
    assert rows["stitch.method"][:2] == [" | ".join(METHODS), "affine"]


def test_the_table_of_methods_says_what_each_needs() -> None:
    lines = dict(zip(METHODS, methods_table().splitlines()[2:], strict=True))
    for method, one in METHODS.items():
        assert lines[method].startswith(f"| `{method}`")
        assert ("more rows than source features" in lines[method]) == one.keeps_rows
        assert ("local metrics" in lines[method]) == one.needs_metric
    assert "`affine` (default)" in lines["affine"]


@pytest.mark.parametrize("method", METHODS)
def test_a_default_is_a_value_that_could_be_given_and_changes_no_fingerprint(method: str) -> None:
    asked = changed(stitch={"method": method, "smoothing": None}, compare=[])
    absent = Recipe.parse(asked)
    assert absent.plain().get("stitch", {}) == ({} if method == "affine" else {"method": method})
    assert absent.stitch.options() == {}
    assert absent.stitch.resolved() == dict.fromkeys(METHODS[method].option_names()) | METHODS[method].defaults
    given = Recipe.parse(merge(asked, {"stitch": METHODS[method].defaults}))
    assert given.stitch.resolved() == absent.stitch.resolved()
    assert given.stitch.options() == METHODS[method].defaults
    assert Recipe.parse(given.plain()) == given


def test_a_comparison_may_be_left_with_options_of_another_method(path: Path) -> None:
    """As in the example of `hf-stitch fit --help`: the fit notes it in the report and goes on with the others."""
    entry = "compare=[affine, {name: other, stitch: {smoothing: 2}}]"
    recipe = Recipe.load(path, ["stitch.method=affine", "stitch.ridge=1", entry])
    assert Recipe.parse(recipe.plain()) == recipe
    other = dict(recipe.variants())["other"]
    assert other.plain()["stitch"] == {"ridge": 1, "smoothing": 2}
    assert other.fingerprint() != dict(recipe.variants())["affine"].fingerprint()
    with pytest.raises(RecipeError, match="method affine has no option 'smoothing'; known: pairs, ridge"):
        other.stitch.refuse_foreign()


def test_null_is_an_absent_option_of_any_method() -> None:
    """An override can take back what the file says, whichever method it then asks for."""
    asked = changed(stitch={"method": "affine", "smoothing": None, "coordinates": None}, compare=[])
    assert Recipe.parse(asked) == Recipe.parse({**changed(compare=[]), "stitch": {}})
    assert "unknown key `stitch.smothing`" in refused(changed(stitch={"smothing": None}))


REPORTS = [path for path in sorted(CARDS.rglob("*.json")) if "fingerprint" in json.loads(path.read_text())]


def test_the_committed_reports_keep_their_fingerprints() -> None:
    assert len(REPORTS) == REPORTED
    for path in REPORTS:
        report = json.loads(path.read_text())
        recipe = Recipe.parse(report["recipe"])
        if "local:" not in json.dumps(report["recipe"]):  # of places that are not told
            assert recipe.fingerprint() == report["fingerprint"], path
        assert recipe.plain() == report["recipe"], path
