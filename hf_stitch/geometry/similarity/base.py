"""What a similarity measure is: an accumulator over batches of paired rows, and the group it is invariant under."""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import Enum
from typing import ClassVar, Self

from torch import Tensor

from hf_stitch.errors import ActivationError


class Group(Enum):
    """Maps of the rows x of one cloud that a measure may not see."""

    TRANSLATION = "x + c"
    SCALING = "a x, a > 0"
    PERMUTATION = "features in another order"
    CHANNEL_SCALES = "each feature times a positive number of its own"
    ORTHOGONAL = "x Q, Q orthogonal: permutations, signs and rotations"
    LINEAR = "x A, A any invertible matrix"


class Similarity(ABC):
    """One comparison of two clouds, fed in batches; 1 for equal clouds.

    Attributes:
        invariant: what either cloud as a whole may be changed by without a change of the value, those of `Group` inside
            it included; under all others the value changes.
        n: rows so far.
    """

    invariant: ClassVar[frozenset[Group]]

    def __init__(self) -> None:
        self.n = 0
        self._widths: tuple[int, int] | None = None

    @classmethod
    def of(cls, x: Tensor, y: Tensor) -> Self:
        """The comparison of whole clouds (n, m) and (n, m')."""
        found = cls()
        found.add(x, y)
        return found

    def add(self, x: Tensor, y: Tensor) -> None:
        """Take rows x (b, m) and y (b, m') of any float dtype into account; row i of one belongs to row i of the other.

        Raises:
            ActivationError: shapes that do not fit together or to those before, or numbers that are not finite.
        """
        if x.ndim != 2 or y.ndim != 2 or len(x) != len(y):
            raise ActivationError(
                f"similarity: expected rows (b, m) and (b, m'), received shapes {tuple(x.shape)} and "
                f"{tuple(y.shape)}; pair the rows first"
            )
        widths = x.shape[1], y.shape[1]
        if self._widths not in (None, widths):
            raise ActivationError(f"similarity: expected widths {self._widths} as before, received {widths}")
        if not bool(x.isfinite().all() and y.isfinite().all()):
            raise ActivationError("similarity: some activations are NaN or infinite; leave out their samples")
        self._widths = widths
        self.n += len(x)
        if len(x):
            self._take(x.detach().double(), y.detach().double())

    @abstractmethod
    def _take(self, x: Tensor, y: Tensor) -> None:
        """Add float64 rows (b, m) and (b, m'), b > 0, that have been checked."""

    @abstractmethod
    def value(self) -> float:
        """The similarity of all rows so far; nan where `trouble` says why there is none."""

    @abstractmethod
    def trouble(self) -> str | None:
        """Why these rows have no value, and what to do; None where they have one."""
