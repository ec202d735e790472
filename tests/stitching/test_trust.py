"""Trust: calibrated, falling with distance, blind to padding, saved bit by bit, and honest where it cannot judge."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from clouds import normal, rows
from pico_recipes import listening, reading
from pico_speech import RATE, say
from saved_models import SOUNDS, TEXTS, inputs_of, load
from torch import Tensor

from hf_stitch import StitchedModel
from hf_stitch.activations.activation_set import ActivationSet
from hf_stitch.errors import ArtifactError, FitError, RecipeError
from hf_stitch.experiments.fit import fit
from hf_stitch.geometry.local_metrics.local_metric import LocalMetric
from hf_stitch.models.predictor import Predictor
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.stitching.layers.fit_layer import fit_layer
from hf_stitch.stitching.layers.layer import StitchingLayer
from hf_stitch.stitching.trust.gauge import ROWS, TrustGauge, Uncalibrated
from hf_stitch.stitching.trust.reference_set import LeaveOneOut


def bent(x: Tensor) -> Tensor:
    return torch.cat([x, x[:, :1] ** 2, x[:, 1:2] * x[:, :1]], 1)


def draft_of(
    x: Tensor, method: str = "distance", layer: str = "rbf", kept_rows: int = ROWS, **options: Any
) -> tuple[Uncalibrated, StitchingLayer]:
    source, target = rows(x), rows(bent(x))
    if layer == "diffusion":
        metric = LocalMetric.euclidean(*x.shape)
        source = ActivationSet(source.values, source.keys, metric)
    made = fit_layer(layer, source, target, options=options)
    return TrustGauge.fit(method, made, source, target, kept_rows), made


def distances(draft: Uncalibrated, layer: StitchingLayer, x: Tensor, left_out: LeaveOneOut | None = None) -> Tensor:
    return draft.gauge.distances(layer, x, all_used(x), left_out)


def all_used(x: Tensor) -> Tensor:
    return torch.ones(x.shape[:2], dtype=torch.bool)


def calibrated(x: Tensor, held: Tensor | None, **keywords: Any) -> tuple[TrustGauge, StitchingLayer]:
    """A gauge for samples of one row, calibrated on held-out ones, or on the fit's own, each left out."""
    draft, layer = draft_of(x, **keywords)
    shown = (x if held is None else held)[:, None]
    left_out = draft.left_out(torch.arange(len(x))) if held is None else None
    return draft.calibrated(distances(draft, layer, shown, left_out)), layer


def score(gauge: TrustGauge, layer: StitchingLayer, x: Tensor) -> Tensor:
    return gauge(layer, x[:, None], all_used(x[:, None])).score


@pytest.mark.parametrize(("method", "held"), [("distance", False), ("distance", True), ("cycle", True)])
@pytest.mark.parametrize("layer", ["affine", "rbf", "diffusion"])
def test_new_draws_of_the_same_cloud_have_even_scores(method: str, layer: str, held: bool) -> None:
    options = {"coordinates": 20, "neighbours": "all"} if layer == "diffusion" else {}
    x, new = normal(300, 3), normal(600, 3, seed=1)
    known = normal(300, 3, seed=2) if held else None
    found = score(*calibrated(x, known, method=method, layer=layer, **options), new)
    assert float(found.min()) > 0
    assert float(found.max()) <= 1
    for share in (0.05, 0.2, 0.5, 0.8):
        # three standard errors of 600 new and 300 known samples; leaving out one at a time costs a little more
        room = 3 * (share * (1 - share) * (1 / 600 + 1 / 300)) ** 0.5 + (0 if held else 0.05)
        assert abs(float((found <= share).double().mean()) - share) <= room, (share, found)


@pytest.mark.parametrize("layer", ["affine", "rbf", "diffusion"])
def test_fitted_points_are_trusted_and_far_ones_are_not(layer: str) -> None:
    options = {"coordinates": 20, "neighbours": "all"} if layer == "diffusion" else {}
    x = normal(200, 3)
    gauge, made = calibrated(x, normal(200, 3, seed=2), layer=layer, **options)
    if layer != "affine":  # an affine map misses a bent target even where it was fitted
        assert float(score(gauge, made, x).median()) > 0.9
    assert torch.equal(score(gauge, made, 30 + normal(20, 3, seed=3)), torch.full((20,), 1 / 201, dtype=torch.float64))


def test_trust_falls_with_distance() -> None:
    gauge, layer = calibrated(normal(200, 3), normal(200, 3, seed=2), method="cycle")
    direction = torch.tensor([1.0, 2.0, -1.0], dtype=torch.float64)
    path = torch.linspace(2, 20, 40, dtype=torch.float64)[:, None] * direction
    trust = gauge(layer, path[:, None], all_used(path[:, None]))
    for part in (trust.score, *trust.parts.values()):
        assert bool((part.diff() <= 0).all())
    assert bool((trust.distances["distance"].diff() > 0).all())
    assert set(trust.parts) == {"distance", "image", "cycle"}


def test_the_pooled_distance_is_that_of_mahalanobis() -> None:
    x = normal(500, 4) @ normal(4, 4, seed=5)
    draft, layer = draft_of(x)
    new = 3 * normal(7, 4, seed=6)
    covariance = (x - x.mean(0)).T @ (x - x.mean(0)) / len(x)
    whole = torch.linalg.inv(covariance + 0.1 * covariance.trace() / 4 * torch.eye(4, dtype=torch.float64))
    gaps = new[:, None] - x
    wanted = torch.einsum("bnm,mk,bnk->bn", gaps, whole, gaps).amin(1).sqrt()
    found = distances(draft, layer, new[:, None])[:, 0]
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=0)


def test_local_metrics_and_coordinates_have_a_say() -> None:
    """A curve in the plane: the local metric sees along it, the coordinates away from it."""
    t = torch.linspace(0, 3, 200, dtype=torch.float64)[:, None]
    curve, tangents = torch.cat([t.cos(), t.sin()], 1), torch.cat([-t.sin(), t.cos()], 1)
    metric = LocalMetric.from_jacobian(tangents[:, :, None], 0.01)
    places = torch.stack([torch.arange(200), torch.zeros(200, dtype=torch.long)], 1)
    source, target = ActivationSet(curve, places, metric), ActivationSet(bent(curve), places)
    layer = fit_layer("diffusion", source, target, options={"sides": "source", "coordinates": 4})
    draft = TrustGauge.fit("distance", layer, source, target)
    assert draft.gauge.ingredients == ("distance", "local", "extension", "image")
    beyond = torch.tensor([[3.2]], dtype=torch.float64)
    ahead, aside = torch.cat([beyond.cos(), beyond.sin()], 1), 1.2 * curve[100:101]
    found = dict(zip(draft.gauge.ingredients, distances(draft, layer, torch.cat([ahead, aside])[:, None]).T))
    assert float(found["local"][0]) == pytest.approx(20, rel=0.05), "0.2 of an angle in steps of 0.01"
    assert float(found["local"][1]) < 1
    usual = distances(draft, layer, curve[:, None], draft.left_out(torch.arange(200))).T
    usual = dict(zip(draft.gauge.ingredients, usual))
    assert float(found["extension"].amin()) > float(usual["extension"].quantile(0.95))


def test_more_rows_than_are_kept() -> None:
    x, new = normal(400, 2), normal(300, 2, seed=1)
    gauge, layer = calibrated(x, None, kept_rows=64)
    sizes = {name: len(one) for name, one in gauge.named_buffers() if name.endswith("points") or name == "calibration"}
    assert sizes == {"source_points": 64, "target_points": 64, "calibration": 64}
    assert float((score(gauge, layer, new) <= 0.2).double().mean()) == pytest.approx(0.2, abs=0.15)
    assert float(score(gauge, layer, 20 + new).max()) == 1 / 65


def test_rows_that_are_not_used_do_not_count() -> None:
    gauge, layer = calibrated(normal(100, 3), normal(100, 3, seed=2), method="cycle")
    batch = normal(4, 5, 3, seed=4)
    used = torch.tensor([[1, 1, 1, 0, 0], [1, 0, 0, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]]).bool()
    together = gauge(layer, torch.where(used[..., None], batch, torch.nan), used)
    for i, count in enumerate(used.sum(1).tolist()[:3]):
        alone = gauge(layer, batch[i : i + 1, :count], all_used(batch[i : i + 1, :count]))
        torch.testing.assert_close(together.score[i], alone.score[0], rtol=0, atol=0)
        torch.testing.assert_close(together.distances["cycle"][i], alone.distances["cycle"][0])
    assert float(together.score[3]) == 1 / 101
    assert bool(torch.isinf(together.distances["distance"][3])), "nothing was mapped: nothing can be trusted"
    empty = gauge(layer, batch[:2, :0], used[:2, :0])
    assert empty.score.tolist() == [1 / 101, 1 / 101]


def test_what_cannot_be_gauged_is_refused() -> None:
    x = normal(50, 3)
    layer = fit_layer("affine", rows(x), rows(x))
    for method in ("none", "distances"):
        with pytest.raises(RecipeError, match=f"no gauge is called '{method}'; .*distance"):
            TrustGauge.fit(method, layer, rows(x), rows(x))  # type: ignore[arg-type]
    with pytest.raises(FitError, match="all 50 source rows are identical"):
        TrustGauge.fit("distance", layer, rows(x[:1].expand(50, 3)), rows(x))
    draft = TrustGauge.fit("distance", layer, rows(x), rows(x))
    with pytest.raises(ArtifactError, match="never calibrated"):
        draft.gauge(layer, x[:, None], all_used(x[:, None]))
    with pytest.raises(FitError, match="none of 2 samples can be compared"):
        draft.calibrated(torch.full((2, 2), torch.inf))
    with pytest.raises(ArtifactError, match="trust gauge is damaged"):
        TrustGauge.from_spec({"method": "distance"})
    spec = calibrated(x, x)[0].spec
    assert TrustGauge.from_spec(spec).spec == spec
    with pytest.raises(ArtifactError, match=r"has ingredients \['entropy'\], this hf_stitch knows distance, .*install"):
        TrustGauge.from_spec(spec | {"ingredients": ["distance", "entropy"]})
    for lost in ("calibration", "target_points"):
        kept = {name: one for name, one in spec["tensors"].items() if name != lost}
        with pytest.raises(ArtifactError, match=f"trust gauge holds no {lost}"):
            TrustGauge.from_spec(spec | {"tensors": kept})


# in a stitched model


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory, pico_listener: Path, pico_xlnet: Path, spoken: Path) -> Path:
    stitch = {"method": "rbf", "smoothing": 1.0, "landing": "nearest"}
    folder = tmp_path_factory.mktemp("heard") / "listener"
    content = listening(pico_listener, pico_xlnet, spoken, stitch=stitch, trust="cycle")
    with pytest.raises(RecipeError, match=r"trust: cycle needs data.validation"):
        Recipe.parse(content)
    content["data"]["validation"] = content["data"]["test"]
    _, report = fit(Recipe.parse(content), folder, device="cpu")
    assert report.diagnostics.trust["calibrated_on"] == "validation"
    assert report.diagnostics.trust["smallest"] == 1 / 15
    return folder


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory, pico_roberta: Path, pico_xlnet: Path, written: Path) -> Path:
    stitch = {"method": "diffusion", "sides": "both", "coordinates": 8}
    content = reading(pico_roberta, pico_xlnet, written, stitch=stitch, data={"fit": {"samples": 20}})
    folder = tmp_path_factory.mktemp("read") / "reader"
    fit(Recipe.parse(content | {"sequence": {"length": "resample"}}), folder, device="cpu")
    return folder


def trusts(model: StitchedModel, inputs: dict[str, Tensor]) -> Tensor:
    with torch.no_grad():
        output = model(**inputs, return_trust=True)
    return torch.stack([output.trust, *output.trust_parts.values()], 1)


@pytest.mark.parametrize("name", ["heard", "read"])
def test_saved_and_loaded_bit_by_bit(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    folder = request.getfixturevalue(name)
    model = load(folder)
    assert model.trust is not None
    model.save_pretrained(tmp_path)
    again, half = StitchedModel.from_pretrained(tmp_path), load(folder, dtype=torch.bfloat16)
    for other in (again, half, load(folder).to(torch.bfloat16)):
        assert other.trust.spec == model.trust.spec
        for key, value in model.trust.state_dict().items():
            assert torch.equal(value, other.trust.state_dict()[key]), key
    inputs = inputs_of(folder)
    assert torch.equal(trusts(model, inputs), trusts(again.eval(), inputs))
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_the_thin_form_keeps_it(tmp_path: Path, pico_roberta: Path, pico_xlnet: Path, written: Path) -> None:
    content = reading(pico_roberta, pico_xlnet, written, save="map", sequence={"length": "resample"})
    model, _ = fit(Recipe.parse(content), tmp_path / "thin", device="cpu")
    again = load(tmp_path / "thin")
    assert again.config.save == "map"
    inputs = inputs_of(tmp_path / "thin")
    assert torch.equal(trusts(model.eval(), inputs), trusts(again, inputs))
    assert "trust" in next(iter(Predictor(tmp_path / "thin", abstain=1.0)(["the film was good"])))


@pytest.mark.parametrize("name", ["heard", "read"])
def test_a_padded_batch_is_trusted_as_its_samples_are_alone(name: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(name)
    model = load(folder)
    raws: list[Any] = SOUNDS if name == "heard" else TEXTS
    together = trusts(model, inputs_of(folder, raws))
    for i, raw in enumerate(raws):
        torch.testing.assert_close(trusts(model, inputs_of(folder, [raw]))[0], together[i], rtol=0, atol=1e-6)


def test_the_answer_is_the_same_with_and_without(read: Path) -> None:
    model, inputs = load(read), inputs_of(read)
    with torch.no_grad():
        plain, told = model(**inputs), model(**inputs, return_trust=True)
    assert torch.equal(plain.logits, told.logits)
    assert "trust" not in plain
    assert told.trust.shape == (3,)
    assert set(told.trust_parts) == {"distance", "local", "extension", "image"}
    assert len(model(**inputs, return_trust=True, return_dict=False)) == len(plain.to_tuple()) + 2


def test_a_model_without_a_gauge_says_so(tmp_path: Path, pico_roberta: Path, pico_xlnet: Path, written: Path) -> None:
    content = reading(pico_roberta, pico_xlnet, written, trust="none")
    model, report = fit(Recipe.parse(content), tmp_path / "out", device="cpu")
    assert model.trust is None
    assert report.diagnostics.trust is None
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["trust"] == {}
    with pytest.raises(ArtifactError, match="no trust gauge: fit it again"):
        model(**inputs_of(tmp_path / "out"), return_trust=True)
    with pytest.raises(
        ArtifactError, match=r"out has no trust gauge to abstain by: fit it again with `trust: distance`"
    ):
        Predictor(tmp_path / "out", abstain=0.02)
    assert "trust" not in next(iter(Predictor(tmp_path / "out")(["the film was good"])))
    config |= {"stitch_format": 1}  # as written before there were gauges
    for later in ("trust", "weights_digest", "files_digest"):
        config.pop(later)
    (tmp_path / "out" / "config.json").write_text(json.dumps(config))
    assert StitchedModel.from_pretrained(tmp_path / "out").trust is None


def test_who_abstains_says_why(heard: Path, tmp_path: Path) -> None:
    import soundfile

    noise = 0.3 * torch.randn(RATE, generator=torch.Generator().manual_seed(0))
    for name, sound in (("noise", noise.numpy()), ("speech", say("so it not a"))):
        soundfile.write(tmp_path / f"{name}.wav", sound, RATE)
    files = [tmp_path / "noise.wav", tmp_path / "speech.wav"]
    always = list(Predictor(heard)(files))
    assert all(answer["label"] and 0 < answer["trust"] <= 1 for answer in always)
    assert always[1]["trust"] > 0.1
    never = list(Predictor(heard, abstain=1.0)(files))
    for answer in never:
        assert answer["label"] is answer["score"] is answer["scores"] is None
        assert "is below 1: it" in answer["abstained"]
        assert set(answer["trust_parts"]) == {"distance", "image", "cycle"}
    with pytest.raises(RecipeError, match=r"abstain: expected a share from 0 to 1, such as 0.02; got 2"):
        Predictor(heard, abstain=2)
    with pytest.raises(RecipeError, match=r"abstain: 0.02 refuses nothing, for no score of this model is below 0.067"):
        Predictor(heard, abstain=0.02)
