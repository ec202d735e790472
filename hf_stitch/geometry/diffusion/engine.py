"""The engines that a diffusion map can be computed with: our own, and the thesis's parts (datafold and SciPy).

An engine finds eigenpairs of a kernel, solves interpolations and rotates one map into another. Neighbours, metrics,
kernel and bandwidth are ours in either case, and so are the modules that carry the result: a fitted layer does not need
the engine that made it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

from torch import Tensor

from hf_stitch.errors import FitError, nearest
from hf_stitch.geometry.alignment.orthogonal import Alignment, procrustes
from hf_stitch.geometry.diffusion.kernel import Kernel
from hf_stitch.geometry.diffusion.markov import Eigenpairs, eigenpairs
from hf_stitch.geometry.diffusion.spectrum import LIMITS, SolverLimits
from hf_stitch.geometry.interpolation.fit_interpolator import fitted
from hf_stitch.geometry.interpolation.interpolator import Interpolator

ENGINES = ("torch", "datafold")


class Engine(Protocol):
    """What can be done in more than one way."""

    @property
    def name(self) -> str:
        """As in the recipe's `stitch.engine`."""

    def eigenpairs(self, kernel: Kernel, count: int) -> Eigenpairs:
        """The `count` leading eigenpairs of a symmetric kernel (n, n) after the constant one."""

    def interpolator(self, kind: str, points: Tensor, values: Tensor, smoothing: float = 0.0) -> Interpolator:
        """Interpolation `kind` through points (n, m) with values (n, l), as a module that carries its coefficients."""

    def procrustes(self, a: Tensor, b: Tensor) -> Alignment:
        """The orthogonal map of least squares from rows a (p, l) to b (p, l)."""


@dataclass(frozen=True)
class TorchEngine:
    """Ours: any size, any device; `limits` say which eigensolver suits which size."""

    limits: SolverLimits = LIMITS
    name: ClassVar[str] = "torch"
    interpolator = staticmethod(fitted)
    procrustes = staticmethod(procrustes)

    def eigenpairs(self, kernel: Kernel, count: int) -> Eigenpairs:
        return eigenpairs(kernel, count, self.limits)


TORCH = TorchEngine()


def engine(name: str) -> Engine:
    """The engine of a name; FitError for an unknown one, or one whose packages are missing."""
    if name == "torch":
        return TORCH
    if name not in ENGINES:
        raise FitError(f"unknown engine {name!r}; {nearest(str(name), ENGINES)}")
    try:
        from hf_stitch.geometry.diffusion.datafold_engine import DatafoldEngine
    except ImportError as error:
        raise FitError(
            f"engine: datafold needs packages that cannot be imported here ({error}): install the extra of that name, "
            "pip install 'hf_stitch[datafold]', into a Python 3.11 environment of its own (it takes NumPy below 2), or "
            "use engine: torch"
        ) from None
    return DatafoldEngine()
