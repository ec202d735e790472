"""The thin-plate spline straight from source to target activations."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from hf_stitch.activations.activation_set import RowSet, rows_at_once
from hf_stitch.geometry.interpolation.fit_interpolator import fit_interpolator, interpolator
from hf_stitch.recipe.stitch import RBF
from hf_stitch.stitching.layers.layer import StitchingLayer, under


class RBFLayer(StitchingLayer):
    """A thin-plate spline (r^2 log r) in float64 with a centre at every fitted row or landmark.

    With more centres than one solve takes, each row is predicted from its nearest ones.
    """

    method = "rbf"

    def place(self, tensors: Mapping[str, Tensor]) -> None:
        self.spline = interpolator(self.options.get("kind", "thin_plate"))(under(tensors, "spline"))
        super().place({name: tensor for name, tensor in tensors.items() if not name.startswith("spline.")})

    @classmethod
    def fit(cls, source: RowSet, target: RowSet, options: RBF) -> RBFLayer:
        """Fit on paired rows.

        `smoothing` is added to the diagonal, with the source features divided by one global standard deviation; what
        `landmarks` lose is in the diagnostics.

        Raises:
            FitError: fewer than m + 1 rows for m source features, no spread, or rows too close for smoothing 0.
        """
        settings = options.resolved()
        smoothing, landmarks = settings["smoothing"], settings["landmarks"]
        # Without landmarks every row is a centre; these are chosen among what one block holds.
        most = len(source) if landmarks is None else max(landmarks, rows_at_once(source, target))
        x, y = (rows.spread(most) for rows in (source, target))
        spline = fit_interpolator("thin_plate", x.values, y.outputs, smoothing, landmarks)
        tensors = {f"spline.{name}": tensor for name, tensor in spline.state_dict().items()}
        layer = cls(tensors, source.width, target.output_width, {**settings, "kind": spline.kind})
        layer.diagnostics = {"centres": len(spline.get_buffer("centres")), "smoothing": smoothing, "warnings": []}
        if landmarks is not None:
            layer.diagnostics["landmarks"] = {"rows": len(source), "loss": {"spline": spline.loss or 0.0}}
            if most < len(source):
                told = f"landmarks: chosen among {most:,} of {len(source):,} rows, evenly spread: memory holds no more"
                layer.diagnostics["warnings"].append(told)
        return layer

    def predict(self, rows: Tensor) -> Tensor:
        return self.spline(rows)
