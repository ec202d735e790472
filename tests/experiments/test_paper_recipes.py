"""The recipes of the paper's experiments show what they claim; neighbours from data, folded hooks, few pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paper_claims
import pytest
import torch
from benchmarks.square import NETWORKS, inputs, observed
from paper_claims import PAPER
from scipy.spatial import cKDTree

from hf_stitch.activations.activation_set import ActivationSet
from hf_stitch.activations.observations import Observations
from hf_stitch.errors import DataError, FitError, RecipeError
from hf_stitch.experiments.fit import fit
from hf_stitch.geometry.diffusion.diffusion_map import DiffusionMap
from hf_stitch.geometry.invertibility.folds import folded
from hf_stitch.geometry.local_metrics.local_metric import LocalMetric
from hf_stitch.geometry.neighbours.graphs import recall
from hf_stitch.loading.samples import load_samples
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.recipe.side import SIDES
from hf_stitch.report.rendering.card import slim
from hf_stitch.report.rendering.page import page_for
from hf_stitch.report.rendering.sections.geometry import spectrum_tables
from hf_stitch.report.report import Report
from hf_stitch.runtime.runtime import Runtime
from hf_stitch.runtime.timings import Timings
from hf_stitch.stitching.correspondence import Correspondence
from hf_stitch.stitching.layers.fit_layer import fit_layer


def run(name: str, *overrides: str) -> Report:
    return fit(f"paper/{name}", overrides=overrides, device="cpu")[1]


# --- section 4.1 ---
@pytest.fixture(scope="module")
def fold() -> Report:
    return run("output_fold", "neighborhoods.size=64")


def test_outputs_can_be_mapped_inside_the_training_range_both_ways(fold: Report) -> None:
    assert fold.verdict.code == "regression-holds"
    for direction in ("forward", "backward"):
        assert fold.value("output_mse", direction=direction) <= 1e-6
        assert fold.value("map_mse", direction=direction) <= 1e-4


def test_outputs_on_the_whole_range_are_refused_with_the_reason(fold: Report) -> None:
    [note] = [note for note in fold.notes if "could not be fitted" in note]
    assert note.startswith("output on [-1, 1] could not be fitted: the source hook folds its input")
    assert "Whitney's theorem asks for 3" in note
    assert not [m for m in fold.measures if m.method == "output on [-1, 1]"]
    whole = ["data.fit.split=whole_fit", "data.test.split=whole_test", "neighborhoods.size=64"]
    with pytest.raises(FitError, match="source hook folds"):
        run("output_fold", "compare=[]", *whole)
    backward = ["source={model: 'zoo:fold-narrow', hook: layers.1}", "target={model: 'zoo:fold-wide', hook: layers.3}"]
    with pytest.raises(FitError, match="target hook folds"):
        run("output_fold", "compare=[]", *whole, *backward)


def test_inner_neurons_can_be_mapped_on_the_whole_range(fold: Report) -> None:
    for direction in ("forward", "backward"):
        for split in ("test", "test/beyond", "test/trained"):
            assert fold.value("output_mse", "neurons on [-1, 1]", split, direction) <= 1e-5


def test_two_pairs_are_enough_for_the_maps_of_the_parabola() -> None:
    report = run("parabola", "neighborhoods.size=64", "data.fit.samples=512")
    assert report.verdict.code == "regression-holds"
    few = report.value("relative_error", "diffusion from 2 pairs")
    assert few <= 0.005
    for method in ("affine", "orthogonal"):
        errors = [report.value("relative_error", f"{method} from {n} pairs") for n in (2, 8, 32, 512)]
        assert min(error for error in errors if error is not None) >= 4 * few
    assert "Few pairs: relative error" in page_for(report)


# --- section 4.2 ---
def test_mahalanobis_maps_agree_up_to_a_sign_and_euclidean_maps_do_not() -> None:
    report = run("warped_inputs", "data.fit.samples=990")
    paper_claims.mahalanobis_maps_agree_up_to_a_sign_and_euclidean_maps_do_not(report)


def test_given_neighbours_are_what_jacobians_say() -> None:
    content = Recipe.load("paper/warped_inputs", ["compare=[]", "data.fit.samples=40", "directions=both"])
    observations = Observations.open(content, Runtime.start("cpu"), Timings(), ("fit",)).collect()
    rows = Correspondence(observations, content)
    exact = content.model_copy(update={"neighborhoods": content.neighborhoods.model_copy(update={"kind": "jacobian"})})
    given, _ = rows.metric("source")
    jacobian, _ = Correspondence(observations, exact, rows.shared).metric("source")
    torch.testing.assert_close(given.factors.abs(), jacobian.factors.abs(), rtol=0.01, atol=0)
    assert observations.swapped().samples["fit"].near == ("near_s", "near_x")


def test_given_neighbours_must_be_there() -> None:
    with pytest.raises(RecipeError, match=r"needs data\.fit\.columns\.target_neighbours"):
        Recipe.load("paper/warped_inputs", ["data.fit.columns.target_neighbours=null"])
    with pytest.raises(DataError, match="no column 'near_y'"):
        run("warped_inputs", "data.fit.columns.target_neighbours=near_y")
    with pytest.raises(DataError, match="list of neighbours"):
        run("warped_inputs", "compare=[]", "data.fit.columns.target_neighbours=id")


def test_all_samples_have_the_same_number_of_neighbours(tmp_path: Path) -> None:
    rows = [f'{{"x": [{k / 9}], "near": {[[k / 9 + 0.01]] * (1 + k % 2)}}}' for k in range(10)]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    columns = "{source: x, source_neighbours: near, target_neighbours: near}"
    data = f"data.fit={{dataset: {tmp_path / 'rows.jsonl'}, split: null, columns: {columns}}}"
    ids = ["data.fit.columns.id=null", "data.fit.columns.target=null"]
    with pytest.raises(DataError, match="have 1 to 2 neighbours in column 'near'"):
        run("warped_inputs", "compare=[]", data, *ids)


def test_neighbours_are_of_numbers_only() -> None:
    recipe = Recipe.load("paper/warped_inputs")
    observations = Observations.open(recipe, Runtime.start("cpu"), Timings(), ("test",))
    with pytest.raises(DataError, match="given needs a column"):
        observations.samples["test"].neighbours(0, 0)
    again = load_samples(recipe.data.fit, observations.source.preparer, observations.target.preparer, "fit")
    assert [len(again.neighbours(3, side)) for side in (0, 1)] == [11, 11]


# --- section 4.3 ---
def test_maps_of_two_vector_fields_are_those_of_one_square() -> None:
    report = run("vector_fields", "compare=[]", "data.fit.samples=1500")
    paper_claims.maps_of_two_vector_fields_are_those_of_one_square(report, 0.03)


def test_grown_neighbours_are_the_true_ones_and_both_spectra_that_of_the_square() -> None:
    x = inputs(20_000)
    true = cKDTree(x.numpy()).query(x.numpy(), 11)[1][:, 1:]
    maps = [DiffusionMap.fit(*observed(network, x), 5) for network in NETWORKS]
    for one in maps:
        assert recall(true, one.joined) >= 0.999
        ratios = one.laplace / one.laplace[0]
        torch.testing.assert_close(ratios, torch.tensor([1.0, 1, 2, 4, 4]).double(), rtol=0.04, atol=0)
    torch.testing.assert_close(maps[0].laplace, maps[1].laplace, rtol=0.005, atol=0)


@pytest.mark.parametrize("name", PAPER)
def test_every_experiment_asks_how_many_pairs_it_needs(name: str) -> None:
    recipe = Recipe.load(f"paper/{name}")
    numbers: dict[str, set[int]] = {}
    for _, variant in recipe.variants():
        if (pairs := variant.stitch.get("pairs")) is not None:
            numbers.setdefault(variant.stitch.method, set()).add(pairs)
    every = numbers["diffusion"]
    assert set(numbers) == {"diffusion", "affine", "orthogonal"}
    assert all({2**k for k in range(1, max(every).bit_length())} <= found for found in numbers.values())
    assert all(max(found) == max(every) >= (recipe.data.fit.samples or 512) for found in numbers.values())


def test_page_draws_both_geometries_over_the_square_and_names_false_neighbours() -> None:
    report = run("vector_fields", "compare=[{name: all pairs, stitch: {neighbours: all}}]", "data.fit.samples=600")
    [table] = spectrum_tables(report)
    rows = {row[0]: [float(cell) for cell in row[1:]] for row in table.rows}
    box = np.array(rows["a box of the inputs' lengths"])
    np.testing.assert_allclose(box, [1, 1, 2, 4, 4], rtol=0.05)
    ours, false = (np.array([rows[f"{label}, {side}"] for side in SIDES]) for label in ("diffusion", "all pairs"))
    assert 2 * np.abs(ours / box - 1).max() < np.abs(false / box - 1).max()
    page = page_for(report)
    for label in ("diffusion", "all pairs"):
        for side in SIDES:
            assert f"{label}: coordinate 2 of the {side} over the inputs" in page
    few = [row for row in spectrum_tables(slim(report))[0].rows if row[0].startswith("a box")]
    assert few == [], "single points do not belong into the repository"


def test_page_draws_the_first_coordinate_over_inputs_of_one_number() -> None:
    others = "compare=[{name: euclidean, neighborhoods: {kind: none}}]"
    report = run("warped_inputs", others, "data.fit.samples=400")
    page = page_for(report)
    for label in ("diffusion", "euclidean"):
        assert page.count(f"<figcaption>{label}: first coordinate against the source") == 1
    inputs = np.array(report.diagnostics.fits["diffusion"]["target"]["inputs"])
    assert inputs.shape == (400, 1)
    assert inputs.min() >= 2 - 1e-6, "the target's own inputs lie in [2, 4]"


# --- partial observations ---
def test_five_neurons_hold_the_input_and_the_output() -> None:
    report = run("partial_observations", "data.fit.samples=400")
    paper_claims.five_neurons_hold_the_input_and_the_output(report)


# --- folded ---
def test_only_dense_clouds_that_lie_on_themselves_count_as_folded() -> None:
    x = torch.linspace(-1, 1, 400, dtype=torch.float64)[:, None]
    share, (one, other) = folded(x**2, x)
    assert share > 0.8
    assert abs(float(x[one] + x[other])) < 0.02
    assert folded(x**2, x.cos())[0] == 0, "folded alike: still one to one"
    for cloud in (x, x**3, torch.cat([x**2, x + x**3], 1)):
        assert folded(cloud, x)[0] == 0
    sparse = torch.randn(30, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert folded(sparse, x[:30])[0] == 0, "nothing is near, so nothing is shown"
    assert folded(x[:3], x[:3]) == (0.0, (0, 0))


def test_a_fold_is_refused_only_below_whitneys_bound() -> None:
    x = torch.linspace(-1, 1, 300, dtype=torch.float64)[:, None]
    keys = torch.stack([torch.arange(300), torch.zeros(300, dtype=torch.long)], 1)
    slope = torch.cat([2 * x, 3 * x**2, torch.ones_like(x)], 1)[..., None]
    target = ActivationSet(x, keys, LocalMetric.from_jacobian(slope[:, 2:]))
    whole = torch.cat([x**2, x**3, x], 1)
    options = {"neighbours": "all", "coordinates": 1, "sides": "source"}
    fit_layer("diffusion", ActivationSet(whole, keys, LocalMetric.from_jacobian(slope)), target, options=options)
    source = ActivationSet(whole[:, :1].contiguous(), keys, LocalMetric.from_jacobian(slope[:, :1] + 1e-3))
    with pytest.raises(FitError, match="source hook folds its input"):
        fit_layer("diffusion", source, target, options=options)


# --- many flat samples ---
def test_flat_samples_pair_as_any_others_do() -> None:
    recipe = Recipe.load("paper/vector_fields", ["compare=[]", "data.fit.samples=5000", "directions=both"])
    observations = Observations.open(recipe, Runtime.start("cpu"), Timings(), ("fit",)).collect()
    frames, known = observations.frames["fit"], Correspondence(observations, recipe)
    whole = [[[[0, 1]]]] * 5000  # one row a sample: all of its one timestep, on either side
    assert known.fitted.keys.tolist() == [[i, 0] for i in range(5000)]
    assert [pairs.source.tolist() for pairs in known.fitted.pairs] == whole
    assert [pairs.target.tolist() for pairs in known.fitted.pairs] == whole
    for rows, seen in zip(known.rows("fit"), (frames.source, frames.target)):
        assert torch.equal(rows.keys, known.fitted.keys)
        assert torch.equal(rows.whole().values, torch.cat([seen[i] for i in range(5000)]))
    samples = observations.samples["fit"]
    assert len(frames.buckets) == 3
    inputs = torch.tensor(np.stack(samples.batch(range(5000), 0)))
    assert inputs[4321].tolist() == samples.source(4321).tolist()
    with torch.no_grad():
        torch.testing.assert_close(observations.source.model(inputs).logits, frames.source_output)


def test_a_bad_sample_among_many_is_named(tmp_path: Path) -> None:
    for bad, message in (("[1, null]", "NaN or infinite"), ("[1, NaN]", "NaN or infinite"), ("null", "is empty")):
        (tmp_path / "rows.jsonl").write_text(f'{{"x": [1, 2], "k": "good"}}\n{{"x": {bad}, "k": "bad"}}\n')
        data = {"fit": {"dataset": str(tmp_path / "rows.jsonl"), "columns": {"source": "x", "id": "k"}}}
        recipe = Recipe.parse({**Recipe.load("paper/vector_fields", ["compare=[]"]).plain(), "data": data})
        with pytest.raises(DataError, match=f"fit sample 'bad': .*{message}"):
            Observations.open(recipe, Runtime.start("cpu"), Timings(), ("fit",)).collect()


# --- few pairs ---
@pytest.mark.parametrize("method", ["affine", "orthogonal"])
def test_few_pairs_are_the_spread_rows(method: str) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(41, 3, generator=generator, dtype=torch.float64)
    y = torch.randn(41, 3, generator=generator, dtype=torch.float64)

    def layer(rows: slice, **options: Any) -> torch.Tensor:
        keys = torch.stack([torch.arange(41)[rows], torch.zeros(41, dtype=torch.long)[rows]], 1)
        sets = (ActivationSet(values[rows], keys, None) for values in (x, y))
        return fit_layer(method, *sets, options=options)(x)

    torch.testing.assert_close(layer(slice(None), pairs=5), layer(slice(None, None, 10)))
    with pytest.raises(FitError, match="expected 1 to 41"):
        layer(slice(None), pairs=42)
