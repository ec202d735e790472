"""The stitching layer through diffusion coordinates: Bertalan et al. (2021), Algorithm 2."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

from torch import Tensor

from hf_stitch.activations.activation_set import ActivationSet, RowSet
from hf_stitch.errors import FitError, ManifoldError
from hf_stitch.geometry.diffusion.diffusion_map import DiffusionMap, PiecesError
from hf_stitch.geometry.diffusion.engine import Engine
from hf_stitch.geometry.diffusion.engine import engine as engine_of
from hf_stitch.geometry.diffusion.harmonics import harmonic_residuals, new_coordinates
from hf_stitch.geometry.interpolation.fit_interpolator import fit_interpolator, interpolator
from hf_stitch.geometry.interpolation.interpolator import Interpolator
from hf_stitch.geometry.invertibility.folds import TOLERATED, folded
from hf_stitch.geometry.local_metrics.dimension import whitney
from hf_stitch.geometry.local_metrics.local_metric import LocalMetric
from hf_stitch.geometry.neighbours.neighbour_rules import ALL_ROWS, Rule
from hf_stitch.geometry.subsets import evenly_spaced, shown
from hf_stitch.recipe.side import SIDES, Role
from hf_stitch.recipe.stitch import Diffusion
from hf_stitch.runtime.sharding import ALONE, Rows
from hf_stitch.runtime.timings import Timings
from hf_stitch.stitching.layers.diffusion_alignment import Aligned, align
from hf_stitch.stitching.layers.layer import StitchingLayer, under

COORDINATES = 256  # default, where there are at least twice as many rows; by hand


class DiffusionLayer(StitchingLayer):
    """y = psi^-1(R phi(x)): into source coordinates, across, and back into activations.

    phi and psi are diffusion maps of the two clouds, extended by interpolation; R is orthogonal. With `sides: source`
    there is no psi, and the target activations are regressed on phi directly.
    """

    method = "diffusion"
    learned = ("rotation",)
    shared = True
    PARTS: ClassVar[tuple[str, ...]] = ("extension", "inverse", "target_extension")

    def place(self, tensors: Mapping[str, Tensor]) -> None:
        kinds = self.options["kinds"]
        for part in self.PARTS:
            if part in kinds:
                self.add_module(part, interpolator(kinds[part])(under(tensors, part)))
        super().place({name: tensor for name, tensor in tensors.items() if name.split(".")[0] not in kinds})

    @classmethod
    def fit(cls, source: RowSet, target: RowSet, options: Diffusion, rows: Rows = ALONE) -> DiffusionLayer:
        """Fit on paired rows with local metrics (Euclidean where a set has none).

        Args:
            options: `neighbours` and `bandwidth` are those of `DiffusionMap.fit`, `alignment` that of `align`. The
                way back is learned from the rotated source coordinates and the paired target activations (`inverse:
                aligned`), or from the target's own coordinates and activations (`target`); `smoothing` is of it (on
                the diagonal, in units of one global standard deviation). What `landmarks` lose is in the diagnostics.
            rows: how the rows of the maps are shared out over processes; all get the same layer.

        Raises:
            FitError: a side of too few features folds the input, so that there is no one-to-one map.
            FitError, ManifoldError: see the parts; every message says which side it is about.
        """
        source, target = source.whole(), target.whole()  # a map has coordinates of every row
        settings = options.resolved()
        sides, inverse, pairs, landmarks = (settings[name] for name in ("sides", "inverse", "pairs", "landmarks"))
        coordinates, smoothing, interpolation = (
            settings[name] for name in ("coordinates", "smoothing", "interpolation")
        )
        if inverse == "target" and sides == "source":
            raise FitError("inverse: target is learned from a map of the target: use sides: both, or inverse: aligned")
        _check_alignment(settings["alignment"], sides, inverse, pairs)
        by = engine_of(settings["engine"])
        count = coordinates if coordinates is not None else max(1, min(COORDINATES, len(source) // 2))
        _check_unfolded("source", source, target)
        if sides == "both":
            _check_unfolded("target", target, source)
        chosen = evenly_spaced(len(source), pairs).to(source.values.device)
        asked = (count, settings["neighbours"], settings["bandwidth"], settings["harmonics"], by)
        first, first_notes = _mapped("source", source, rows, *asked)
        second, second_notes = _mapped("target", target, rows, *asked) if sides == "both" else (None, {})
        found, aligned = first.coordinates, None
        if second is not None:
            aligned = align(first, second, chosen, settings["alignment"], pairs is not None)
            found = aligned.coordinates
        kinds = _kinds(interpolation, source.values.shape[1], target.values.shape[1], second is not None)
        if inverse == "target" and second is not None:
            known, wanted = second.coordinates[:, : found.shape[1]], target.outputs
        else:
            known, wanted = found[chosen], target.outputs[chosen]
        parts: dict[str, Interpolator] = {
            "extension": first.extension(kinds["extension"], landmarks=landmarks),
            "inverse": _way_back(kinds["inverse"], known, wanted, smoothing, landmarks, by),
        }
        if second is not None:
            parts["target_extension"] = second.extension(kinds["target_extension"], landmarks=landmarks)
        kinds = {part: module.kind for part, module in parts.items()}
        tensors = {f"{part}.{name}": one for part, module in parts.items() for name, one in module.state_dict().items()}
        if aligned is not None:
            tensors["rotation"] = aligned.alignment.rotation
        kept = settings | {"coordinates": found.shape[1], "neighbours": first_notes["neighbours"], "kinds": kinds}
        kept |= {"alignment": None if aligned is None else aligned.alignment.kind}
        layer = cls(tensors, source.values.shape[1], wanted.shape[1], kept)
        layer.diagnostics = _diagnostics(first_notes, second_notes, aligned, len(known), smoothing)
        if landmarks is not None:
            loss = {part: module.loss or 0.0 for part, module in parts.items()}
            layer.diagnostics |= {
                "landmarks": {"rows": len(source), "loss": loss},
                "centres": min(landmarks, len(known)),
            }
        return layer

    @property
    def coordinate_sides(self) -> tuple[Role, ...]:
        return SIDES if self.options.get("sides") == "both" else ("source",)

    def coordinates(self, x: Tensor) -> Tensor:
        """Source coordinates (..., l) of activations (..., m), rotated into the target's where there are two maps."""
        # float64: kernels of near points are differences of large squares.
        found = self.get_submodule("extension")(x.reshape(-1, x.shape[-1]).double())
        rotation = self._parameters.get("rotation")
        if rotation is not None:
            found = found[:, : len(rotation)] @ rotation
        return found.reshape(*x.shape[:-1], found.shape[1])

    def target_coordinates(self, y: Tensor) -> Tensor:
        """The target map's own coordinates (..., l) of target activations (..., m') on its selected features.

        Raises:
            FitError: the layer was fitted with sides: source and has no map of the target.
        """
        if "target_extension" not in self._modules:
            raise FitError("this layer has no map of the target: fit it with sides: both")
        found = self.get_submodule("target_extension")(y.reshape(-1, y.shape[-1]).double())
        count = self.options["coordinates"]
        return found[:, :count].reshape(*y.shape[:-1], count)

    def predict(self, rows: Tensor) -> Tensor:
        return self.get_submodule("inverse")(self.coordinates(rows))


def _check_alignment(alignment: str | None, sides: str, inverse: str, pairs: int | None) -> None:
    if alignment is not None and sides == "source":
        raise FitError(f"alignment: {alignment} is of two maps, but sides: source makes one: use sides: both")
    if alignment == "closest_points" and inverse == "target" and pairs is not None:
        raise FitError(f"alignment: closest_points uses no pairs, nor does inverse: target: leave out pairs: {pairs}")


def _kinds(interpolation: str, source_features: int, target_features: int, both: bool) -> dict[str, str]:
    """Interpolation of each part: `linear` is of one variable, and only a kernel map can be extended by `nystroem`."""
    interpolator(interpolation)

    def into(features: int) -> str:
        return "thin_plate" if interpolation == "linear" and features > 1 else interpolation

    back = "thin_plate" if interpolation == "nystroem" else interpolation
    kinds = {"extension": into(source_features), "inverse": back}
    return kinds | {"target_extension": into(target_features)} if both else kinds


def _check_unfolded(side: str, rows: ActivationSet, others: ActivationSet) -> None:
    """Refuse a side of fewer features than Whitney's theorem asks for, if its rows show that it is folded."""
    dimension = None if rows.metric is None else rows.metric.dimension
    if dimension is None or whitney(dimension[0], rows.values.shape[1]) is None:
        return
    share, (one, other) = folded(rows.values, others.values)
    if share > TOLERATED:
        partner = "target" if side == "source" else "source"
        raise FitError(
            f"the {side} hook folds its input: for {100 * share:.0f} % of {len(rows)} rows another row is near by "
            f"there while their {partner} activations are far apart (such as rows {one} and {other}), so the hooks are "
            f"not one to one; {whitney(dimension[0], rows.values.shape[1])}, of an inner layer, or take samples from "
            "the part of the inputs where the hook is one to one"
        )


def _mapped(
    side: str,
    rows: ActivationSet,
    shared: Rows,
    count: int,
    neighbours: Rule | None,
    bandwidth: float | None,
    harmonics: str,
    by: Engine,
) -> tuple[DiffusionMap, dict[str, Any]]:
    """The diffusion map of one side and what the report says about it."""
    n, m = rows.values.shape
    metric = rows.metric if rows.metric is not None else LocalMetric.euclidean(n, m)
    clock = Timings()
    try:
        with clock.stage("map"):
            fit = partial(DiffusionMap.fit, rows.values, metric, count, bandwidth=bandwidth, rows=shared, engine=by)
            found, used, pieces = _joined(fit, neighbours, n)
    except ManifoldError as error:
        raise ManifoldError(f"{side} activations: {error}") from None
    residuals = harmonic_residuals(found.coordinates)
    if harmonics == "drop":
        found = found.take(new_coordinates(residuals, count).to(found.points.device))
    dimension = list(metric.dimension) if metric.dimension is not None else None
    rows_shown = shown(n)
    notes = {
        "eigenvalues": found.eigenvalues.tolist(),
        "laplace": found.laplace.tolist(),
        "bandwidth": found.bandwidth,
        "rank": metric.rank,
        "dimension": dimension,
        "whitney": whitney(dimension[0], m) if dimension else None,
        "components": 1,
        "neighbours": used,
        "pieces": pieces,
        "residuals": residuals.tolist(),
        "coordinates": found.coordinates[rows_shown.to(found.points.device), :3].tolist(),
        "solver": found.solver,
        "seconds": clock["map"],
        "rounds": found.rounds,
        "metric": "euclidean" if rows.metric is None else ("regularised" if metric.sign < 0 else "truncated"),
    }
    return found, notes


def _joined(fit: Callable[..., DiffusionMap], asked: Rule | None, n: int) -> tuple[DiffusionMap, Rule, int]:
    """The map by the rule that was asked for, the rule, and into how many pieces grown neighbours leave the cloud.

    Without one: grown neighbours, since all pairs join false ones on a curved cloud; all where the cloud is in pieces.
    """
    if asked is not None:
        return fit(neighbours=asked), asked, 1
    try:
        return fit(neighbours="grown"), "grown", 1
    except PiecesError as error:
        if n > ALL_ROWS:
            raise
        return fit(neighbours="all"), "all", error.pieces


def _way_back(
    kind: str, known: Tensor, wanted: Tensor, smoothing: float, landmarks: int | None, by: Engine
) -> Interpolator:
    try:
        return fit_interpolator(kind, known, wanted, smoothing, landmarks, by.interpolator)
    except FitError as error:
        raise FitError(f"from {known.shape[1]} coordinates back to activations: {error}") from None


def _diagnostics(
    source: dict[str, Any],
    target: dict[str, Any],
    aligned: Aligned | None,
    centres: int,
    smoothing: float,
) -> dict[str, Any]:
    sides = {"source": source} | ({"target": target} if target else {})
    warnings = [f"{side}: {notes['whitney']}" for side, notes in sides.items() if notes["whitney"]]
    warnings += [
        f"{side}: no local metrics, plain Euclidean distances were used"
        for side, notes in sides.items()
        if notes["metric"] == "euclidean"
    ]
    warnings += [
        f"{side}: grown neighbours leave the cloud in {notes['pieces']} pieces, so all pairs are joined "
        "(neighbours: all), which also joins false ones where the cloud is curved"
        for side, notes in sides.items()
        if notes["pieces"] > 1
    ]
    found: dict[str, Any] = {**sides, "centres": centres, "smoothing": smoothing, "warnings": warnings}
    if aligned is not None:
        found["alignment"] = aligned.notes
        warnings += aligned.warnings
    return found
