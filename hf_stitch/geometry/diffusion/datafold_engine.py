"""The thesis's own parts: datafold's diffusion maps and geometric harmonics, SciPy's spline and rotation.

Imported only where it is asked for: it needs the extra `datafold`. The results are put into our own modules, so that a
fitted layer is saved as any other and runs without these packages.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import scipy.linalg
import scipy.sparse as sparse
import torch
from datafold.dynfold import DiffusionMaps, GeometricHarmonicsInterpolator
from datafold.pcfold.kernels import GaussianKernel, PCManifoldKernel
from scipy.interpolate import RBFInterpolator
from torch import Tensor

from hf_stitch.errors import FitError
from hf_stitch.geometry.alignment.orthogonal import Alignment, checked, finished
from hf_stitch.geometry.diffusion.kernel import Kernel, SparseKernel
from hf_stitch.geometry.diffusion.markov import Eigenpairs, density_normalised
from hf_stitch.geometry.diffusion.spectrum import signs
from hf_stitch.geometry.interpolation.fit_interpolator import interpolator
from hf_stitch.geometry.interpolation.geometric_harmonics import GeometricHarmonics
from hf_stitch.geometry.interpolation.interpolator import Interpolator, merge_duplicates
from hf_stitch.geometry.interpolation.thin_plate import DENSE_LIMIT, ThinPlate

Matrix: TypeAlias = np.ndarray | sparse.csr_matrix


class GivenKernel(PCManifoldKernel):
    """A kernel matrix that is known already; datafold overwrites what it is given, so it gets copies."""

    def __init__(self, matrix: Matrix) -> None:
        super().__init__(is_symmetric=True)
        self.matrix = matrix

    def __call__(self, X: np.ndarray, Y: np.ndarray | None = None, **keywords: Any) -> Matrix:
        if Y is not None:
            raise ValueError("the kernel is known between the fitted rows only")
        return self.matrix.copy()

    def evaluate(self, distance_matrix: Matrix) -> Matrix:
        raise ValueError("the kernel was made from its distances already")


class DatafoldEngine:
    """The engine `datafold`; see `Engine`."""

    name = "datafold"

    def eigenpairs(self, kernel: Kernel, count: int) -> Eigenpairs:
        """As ours; where there are several processes the first one solves for all."""
        density, degree, _ = density_normalised(kernel)
        share = (degree / degree.sum())[:, None]
        whole = kernel.matrix if isinstance(kernel, SparseKernel) else kernel.whole()
        spectrum, functions = kernel.rows.by_first(lambda: _diffusion_map(whole, count, share))
        return Eigenpairs(spectrum, functions, density, self.name)

    def interpolator(self, kind: str, points: Tensor, values: Tensor, smoothing: float = 0.0) -> Interpolator:
        """`thin_plate` by SciPy, `harmonics` by datafold; the others have nothing to be solved."""
        if kind == "thin_plate":
            return _thin_plate(points.double(), values.double(), smoothing)
        if kind == "harmonics":
            return _harmonics(points.double(), values.double(), smoothing)
        return interpolator(kind).fit(points, values, smoothing)

    def procrustes(self, a: Tensor, b: Tensor) -> Alignment:
        a, b = checked(a, b)
        rotation, _ = scipy.linalg.orthogonal_procrustes(a.cpu().numpy(), b.cpu().numpy())
        return finished(a, b, torch.from_numpy(rotation).to(a.device), "procrustes")


def _diffusion_map(matrix: Matrix, count: int, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues (l,) and functions (n, l) of datafold's map, the constant one out; `share` (n, 1): stationary."""
    rows = np.arange(len(share), dtype=np.float64)[:, None]  # datafold wants points; the kernel is of the rows
    found = DiffusionMaps(GivenKernel(matrix), n_eigenpairs=count + 1, alpha=1, is_stochastic=True).fit(rows)
    order = np.argsort(-found.eigenvalues_, kind="stable")
    values, functions = found.eigenvalues_[order], np.asarray(found.eigenvectors_)[:, order]
    functions = functions / np.sqrt((share * functions**2).sum(0))
    means = (share * functions).sum(0)
    others = np.delete(np.arange(count + 1), np.abs(means).argmax())
    functions = functions[:, others] - means[others]
    functions = functions / np.sqrt((share * functions**2).sum(0))
    return values[others], functions * signs(functions * np.sqrt(share))


def _thin_plate(points: Tensor, values: Tensor, smoothing: float) -> ThinPlate:
    """SciPy's spline on our scale, its coefficients in our module."""
    centres, wanted, shift, scale = ThinPlate.scaled(points, values, smoothing)
    if len(centres) > DENSE_LIMIT:
        raise FitError(
            f"engine: datafold solves splines of at most {DENSE_LIMIT} rows, got {len(centres)}: set landmarks, or use "
            "engine: torch"
        )
    try:
        spline = RBFInterpolator(
            centres.cpu().numpy(), wanted.cpu().numpy(), kernel="thin_plate_spline", smoothing=smoothing
        )
    except np.linalg.LinAlgError as error:
        raise FitError(
            f"SciPy cannot solve this spline ({error}): leave out features that are constant or depend linearly on "
            "others, or use engine: torch, which takes them"
        ) from None
    # Public attributes do not hold the coefficients; the extra fixes SciPy's version, and a test compares predictions.
    powers, coefficients = spline.powers, spline._coeffs
    slopes = powers.T @ coefficients[len(centres) :] / spline._scale[:, None]
    constant = coefficients[len(centres) :][powers.sum(1) == 0] - spline._shift @ slopes
    polynomial = torch.from_numpy(np.concatenate([constant, slopes])).to(points.device)
    weights = torch.from_numpy(coefficients[: len(centres)].copy()).to(points.device)
    return ThinPlate({"centres": centres, "weights": weights, "polynomial": polynomial, "shift": shift, "scale": scale})


def _harmonics(points: Tensor, values: Tensor, smoothing: float) -> GeometricHarmonics:
    """datafold's geometric harmonics with our bandwidth, as many as are above our condition."""
    points, values = merge_duplicates(points, values)
    bandwidth = GeometricHarmonics.bandwidth_of(points)
    rows = points.cpu().numpy()
    kernel = GaussianKernel(epsilon=float(bandwidth))
    spectrum = np.linalg.eigvalsh(kernel(rows))
    kept = int((spectrum > max(GeometricHarmonics.CONDITION, smoothing) * spectrum[-1]).sum())
    shift = values.mean(0)
    wanted = (values - shift).cpu().numpy()
    # datafold takes one eigenpair less than there are rows; the least of well-conditioned ones matters little.
    found = GeometricHarmonicsInterpolator(kernel, n_eigenpairs=min(kept, len(rows) - 1)).fit(rows, wanted)
    weights = found.eigenvectors_ @ ((found.eigenvectors_.T @ wanted) / found.eigenvalues_[:, None])
    tensors = {"points": points, "weights": torch.from_numpy(weights).to(points.device)}
    return GeometricHarmonics(tensors | {"shift": shift, "bandwidth": bandwidth})
