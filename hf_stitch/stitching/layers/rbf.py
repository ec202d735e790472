"""The thin-plate spline straight from source to target activations."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from hf_stitch.activations.activation_set import ActivationSet
from hf_stitch.geometry.interpolation.fit_interpolator import fit_interpolator, interpolator
from hf_stitch.recipe.stitch import RBF
from hf_stitch.stitching.layers.layer import StitchingLayer, outputs, under


class RBFLayer(StitchingLayer):
    """A thin-plate spline (r^2 log r) in float64 with a centre at every fitted row or landmark.

    With more centres than one solve takes, each row is predicted from its nearest ones.
    """

    method = "rbf"

    def place(self, tensors: Mapping[str, Tensor]) -> None:
        self.spline = interpolator(self.options.get("kind", "thin_plate"))(under(tensors, "spline"))
        super().place({name: tensor for name, tensor in tensors.items() if not name.startswith("spline.")})

    @classmethod
    def fit(cls, source: ActivationSet, target: ActivationSet, options: RBF) -> RBFLayer:
        """Fit on paired rows.

        `smoothing` is added to the diagonal, with the source features divided by one global standard deviation; what
        `landmarks` lose is in the diagnostics.

        Raises:
            FitError: fewer than m + 1 rows for m source features, no spread, or rows too close for smoothing 0.
        """
        settings = options.resolved()
        smoothing, landmarks = settings["smoothing"], settings["landmarks"]
        y = outputs(target)
        spline = fit_interpolator("thin_plate", source.values, y, smoothing, landmarks)
        tensors = {f"spline.{name}": tensor for name, tensor in spline.state_dict().items()}
        layer = cls(tensors, source.values.shape[1], y.shape[1], {**settings, "kind": spline.kind})
        layer.diagnostics = {"centres": len(spline.get_buffer("centres")), "smoothing": smoothing, "warnings": []}
        if landmarks is not None:
            layer.diagnostics["landmarks"] = {"rows": len(y), "loss": {"spline": spline.loss or 0.0}}
        return layer

    def predict(self, rows: Tensor) -> Tensor:
        return self.spline(rows)
