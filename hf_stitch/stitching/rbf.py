"""The thin-plate spline straight from source to target activations."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from hf_stitch.activation_set import ActivationSet
from hf_stitch.manifold.interpolation import ThinPlate
from hf_stitch.stitching.layer import StitchingLayer, outputs, under


class RBFLayer(StitchingLayer):
    """A thin-plate spline (r^2 log r) with a centre at every fitted row, in float64."""

    method = "rbf"

    def place(self, tensors: Mapping[str, Tensor]) -> None:
        self.spline = ThinPlate(under(tensors, "spline"))
        super().place({name: tensor for name, tensor in tensors.items() if not name.startswith("spline.")})

    @classmethod
    def fit(cls, source: ActivationSet, target: ActivationSet, *, smoothing: float = 1.0) -> RBFLayer:
        """Fit on paired rows.

        Args:
            smoothing: added to the diagonal, with the source features divided by one global standard deviation; 0
                interpolates.

        Raises:
            FitError: fewer than m + 1 rows for m source features, no spread, or rows too close for smoothing 0.
        """
        y = outputs(target)
        spline = ThinPlate.fit(source.values, y, smoothing)
        tensors = {f"spline.{name}": tensor for name, tensor in spline.state_dict().items()}
        layer = cls(tensors, source.values.shape[1], y.shape[1], {"smoothing": smoothing})
        layer.diagnostics = {"centres": len(spline.centres), "smoothing": smoothing, "warnings": []}
        return layer

    def predict(self, rows: Tensor) -> Tensor:
        return self.spline(rows)
