"""How far an input lies from what a stitched model was fitted on, as one share that means something.

Each ingredient is a distance of a mapped row that a fitted row has too; a sample has the root mean square over its
rows. The score is a conformal p-value (Vovk, Gammerman & Shafer 2005): the share of calibration samples, which the fit
did not see or which were left out of it one at a time, that lie at least as far out. A fitted kind of input has scores
spread evenly over [0, 1]; `trust < 0.02` refuses 2 % of those, and nearly all of what is of another kind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from hf_stitch.activations.activation_set import RowSet, rows_at_once
from hf_stitch.errors import ArtifactError, FitError, RecipeError, nearest
from hf_stitch.geometry.distances import squared_euclidean
from hf_stitch.geometry.local_metrics.local_metric import LocalMetric
from hf_stitch.geometry.subsets import evenly_spaced
from hf_stitch.runtime.sharding import BLOCK
from hf_stitch.stitching.keep_dtype import keep_dtype
from hf_stitch.stitching.layers.layer import StitchingLayer
from hf_stitch.stitching.trust.reference_set import (
    LeaveOneOut,
    Owners,
    distinct,
    kept,
    nonconformity,
    p_value,
    pooled,
    way_back,
    without_own,
)

TrustMethod = Literal["none", "distance", "cycle"]
_POOLED = ("source_points", "scale", "factors")
NEEDS: dict[str, tuple[str, ...]] = {
    "distance": _POOLED,
    "local": (*_POOLED, "local_scale", "local_factors"),
    "extension": _POOLED,
    "image": ("target_points",),
    "cycle": (*_POOLED, "back_weight", "back_bias"),
}
"""The tensors of each ingredient; see `TrustGauge`."""
INGREDIENTS = tuple(NEEDS)
ROWS = 1024  # fitted rows kept of either side; by hand, some megabytes of a saved model
ENTRIES = 1 << 21  # numbers kept for local metrics (8 MB in float32): they bound the rows where these are wide; by hand
CANDIDATES = 8  # nearest rows of which the local metrics are asked; by hand


@dataclass(frozen=True)
class Trust:
    """What a gauge says about a batch of b samples.

    Attributes:
        score: (b,) float64 in (0, 1]: share of calibration samples that lie at least as far out.
        parts: (b,) such a share by ingredient, each by itself.
        distances: (b,) the ingredients themselves; infinite for a sample of which no row was mapped.
    """

    score: Tensor
    parts: dict[str, Tensor]
    distances: dict[str, Tensor]


class TrustGauge(nn.Module):
    """Reference rows of both sides and the distances of the calibration samples; persistent buffers only.

    Ingredients:
        distance: of a source row to the nearest fitted one, Mahalanobis with the pooled covariance.
        local: the same under the local metric of the fitted row (a method that needs them, with neighbourhoods).
        extension: from its coordinates to those of the nearest fitted row (a layer that has coordinates).
        image: of the mapped row, before landing, to the nearest target activation that was seen.
        cycle: of the row to its image carried back by a ridge regression, under the pooled covariance.
    """

    def __init__(self, tensors: Mapping[str, Tensor], spec: Mapping[str, Any]) -> None:
        super().__init__()
        self.method, self.ingredients = str(spec["method"]), tuple(spec["ingredients"])
        self.sign: Literal[-1, 1] = -1 if spec.get("local_sign", 1) < 0 else 1
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor)

    _apply = keep_dtype

    @classmethod
    def fit(
        cls,
        method: TrustMethod,
        layer: StitchingLayer,
        source: RowSet,
        target: RowSet,
        kept_rows: int = ROWS,
    ) -> Uncalibrated:
        """Take in the paired rows on which a layer was fitted; `Uncalibrated.calibrated` makes a gauge of them.

        Args:
            kept_rows: at most so many fitted rows of either side are kept, and as many samples of the calibration.

        Raises:
            RecipeError: an unknown method, or `none`.
            FitError: source rows without any spread.
        """
        if method not in get_args(TrustMethod) or method == "none":
            raise RecipeError(f"trust: no gauge is called {method!r}; {nearest(str(method), ('distance', 'cycle'))}")
        most = rows_at_once(source, target)
        near, seen = source.spread(most), target.spread(most)
        local = near.metric if layer.facts.needs_metric else None
        rows = near.values.detach()
        places = kept(rows, kept_rows if local is None else min(kept_rows, ENTRIES // max(local.factors[0].numel(), 1)))
        tensors = {"source_points": rows[places].clone(), **pooled(rows)}
        # What `predict` gives: `image` compares before landing and fill, which would hide how far off a row is.
        wanted = (seen.outputs if layer.fill == "predict" else seen.values).detach()
        tensors["target_points"], target_owners = distinct(wanted, seen.keys[:, 0], kept_rows)
        ingredients = ["distance", "image"]
        spec: dict[str, Any] = {"method": method}
        if "source" in layer.coordinate_sides:
            ingredients.append("extension")
        if local is not None:
            ingredients.append("local")
            tensors |= {"local_scale": local.scale[places].clone(), "local_factors": local.factors[places].clone()}
            spec["local_sign"] = local.sign
        if method == "cycle":
            ingredients.append("cycle")
            tensors |= way_back(source, target)
        spec["ingredients"] = sorted(ingredients, key=INGREDIENTS.index)
        return Uncalibrated(cls(tensors, spec), near.keys[places, 0], target_owners, kept_rows)

    def distances(
        self, layer: StitchingLayer, rows: Tensor, used: Tensor, left_out: LeaveOneOut | None = None
    ) -> Tensor:
        """(b, ingredients) distances of samples with rows (b, r, m), of which those `used` (b, r) bool count."""
        b, r, _ = rows.shape
        found = rows.new_zeros(b, r, len(self.ingredients), dtype=torch.float64)
        if bool(used.any()):
            chosen = rows[used].double()
            owners = None if left_out is None else left_out.of(used)
            squares = torch.cat([self._rows(layer, *part) for part in self._blocks(chosen, owners)])
            found[used] = squares
        count = used.sum(1, keepdim=True)
        # Root mean square over rows: a sample's score must not depend on how long it is.
        mean = found.sum(1) / count.clamp(min=1)
        # A sample of which nothing was mapped was not understood at all: it gets the lowest score.
        return torch.where(count > 0, mean.sqrt(), torch.inf)

    def forward(self, layer: StitchingLayer, rows: Tensor, used: Tensor) -> Trust:
        """Score samples; see `distances`. ArtifactError when the gauge was not calibrated."""
        known = self._buffers.get("calibration")
        if known is None:
            raise ArtifactError("this trust gauge was never calibrated; expected one that a fit made: fit again")
        with torch.no_grad(), torch.autocast(rows.device.type, enabled=False):
            found = self.distances(layer, rows.detach(), used)
        score = p_value(nonconformity(found, known), nonconformity(known, known))
        return Trust(
            score,
            {name: p_value(found[:, k], known[:, k]) for k, name in enumerate(self.ingredients)},
            {name: found[:, k] for k, name in enumerate(self.ingredients)},
        )

    @property
    def smallest(self) -> float:
        """The lowest score that it gives."""
        return 1 / (len(self.get_buffer("calibration")) + 1)

    @property
    def spec(self) -> dict[str, Any]:
        """The gauge without its numbers, as JSON-able data: what `from_spec` needs."""
        tensors = {
            name: {"shape": list(tensor.shape), "dtype": str(tensor.dtype).removeprefix("torch.")}
            for name, tensor in self.named_buffers()
        }
        return {
            "method": self.method,
            "ingredients": list(self.ingredients),
            "local_sign": self.sign,
            "tensors": tensors,
        }

    @staticmethod
    def from_spec(spec: Mapping[str, Any]) -> TrustGauge:
        """An empty gauge to be filled by `load_state_dict`.

        Raises:
            ArtifactError: a damaged spec, or one of another version, with ingredients that this one has not.
        """
        try:
            tensors = {
                name: torch.empty(tuple(one["shape"]), dtype=getattr(torch, one["dtype"]))
                for name, one in spec["tensors"].items()
            }
            made = TrustGauge(tensors, spec)
            odd = set(made.ingredients) - set(NEEDS)
            lost = {"calibration", *(name for one in made.ingredients for name in NEEDS.get(one, ()))} - set(tensors)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ArtifactError(f"the saved trust gauge is damaged ({error!r}): fit it again") from None
        if odd or lost:
            what = f"has ingredients {sorted(odd)}" if odd else f"holds no {min(lost)}"
            raise ArtifactError(
                f"the saved trust gauge {what}, this hf_stitch knows {', '.join(INGREDIENTS)}: fit it again, or "
                "install the version that made it"
            )
        return made

    def _blocks(self, rows: Tensor, owners: Owners | None) -> list[tuple[Tensor, Owners | None]]:
        size = max(1, BLOCK // max(len(self.get_buffer("source_points")), len(self.get_buffer("target_points"))))
        parts = rows.split(size)
        if owners is None:
            return [(part, None) for part in parts]
        return [(part, Owners(own, owners.source, owners.target)) for part, own in zip(parts, owners.rows.split(size))]

    def _rows(self, layer: StitchingLayer, rows: Tensor, owners: Owners | None) -> Tensor:
        """(n, ingredients) squared distances of rows (n, m)."""
        # Kept in the activations' dtype, which halves the gauge of float32 models; compared in float64.
        points = self.get_buffer("source_points").double()
        squared = self._between(rows, points)
        if owners is not None:
            squared = without_own(squared, owners.rows, owners.source)
        near = squared.topk(min(CANDIDATES, len(points)), dim=1, largest=False)
        compute: dict[str, Callable[[], Tensor]] = {
            "distance": lambda: near.values[:, 0],
            "local": lambda: self._local(rows, points, near.indices, near.values),
            "extension": lambda: _gap(layer, rows, points[near.indices[:, 0]]),
            "image": lambda: self._image(layer, rows, owners),
            "cycle": lambda: self._cycle(layer, rows),
        }
        return torch.stack([compute[name]() for name in self.ingredients], 1)

    def _between(self, rows: Tensor, points: Tensor) -> Tensor:
        """(n, k) squared pooled Mahalanobis distances."""
        shift = points.mean(0)
        scale, factors = self.get_buffer("scale").double(), self.get_buffer("factors").double()
        rows, points = rows - shift, points - shift
        # Of shifted rows: |a|^2 + |b|^2 - 2 a b loses its digits where both lie far from 0. Rounding may go below 0.
        plain = squared_euclidean(rows, points).clamp_min_(0)
        return (plain * scale - squared_euclidean(rows @ factors.T, points @ factors.T)).clamp_min_(0)

    def _local(self, rows: Tensor, points: Tensor, near: Tensor, squared: Tensor) -> Tensor:
        metric = LocalMetric(self.get_buffer("local_scale"), self.get_buffer("local_factors"), self.sign)
        differences = points[near] - rows[:, None]
        n, k, m = differences.shape
        found = metric.distances(near.reshape(-1), differences.reshape(n * k, 1, m)).view(n, k)
        # Rows of the sample itself were put infinitely far away, and stay there.
        return found.where(squared.isfinite(), torch.inf).amin(1)

    def _image(self, layer: StitchingLayer, rows: Tensor, owners: Owners | None) -> Tensor:
        points = self.get_buffer("target_points").double()
        shift = points.mean(0)
        squared = squared_euclidean(layer.predict(rows).double() - shift, points - shift).clamp_min(0)
        if owners is not None:
            squared = without_own(squared, owners.rows, owners.target)
        return squared.amin(1)

    def _cycle(self, layer: StitchingLayer, rows: Tensor) -> Tensor:
        back = torch.addmm(self.get_buffer("back_bias"), layer(rows).double(), self.get_buffer("back_weight"))
        gap = rows - back
        images = gap @ self.get_buffer("factors").double().T
        return (gap.square().sum(1) * self.get_buffer("scale").double() - images.square().sum(1)).clamp_min(0)


@dataclass(frozen=True)
class Uncalibrated:
    """A gauge without calibration, and the samples (k,) to which its reference rows belong.

    Attributes:
        most: samples of a calibration that are kept.
    """

    gauge: TrustGauge
    source_owners: Tensor
    target_owners: Tensor
    most: int = ROWS

    def left_out(self, samples: Tensor) -> LeaveOneOut:
        """Leave a batch's own samples (b,), numbers of the fit split, out of what it is compared with."""
        return LeaveOneOut(samples, self.source_owners.to(samples.device), self.target_owners.to(samples.device))

    def calibrated(self, distances: Tensor) -> TrustGauge:
        """The gauge that compares with these samples (c, ingredients); at most `most`, evenly spread, are kept.

        Raises:
            FitError: no sample has a finite distance.
        """
        if not bool(distances.isfinite().all(1).any()):
            raise FitError(f"trust: none of {len(distances)} samples can be compared with others: give more, or none")
        place = evenly_spaced(len(distances), min(len(distances), self.most))
        self.gauge.register_buffer("calibration", distances[place.to(distances.device)].double())
        return self.gauge


def _gap(layer: StitchingLayer, rows: Tensor, points: Tensor) -> Tensor:
    return (layer.coordinates(rows) - layer.coordinates(points)).double().square().sum(1)
