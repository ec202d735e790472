"""Linear centred kernel alignment (CKA; Kornblith et al. 2019) from the unbiased HSIC of Song et al. (2012), streamed.

With K = X X' and L = Y Y', the diagonals of both set to 0, of n rows

    HSIC(K, L) = [tr(K L) + 1'K1 1'L1 / ((n - 1)(n - 2)) - 2 1'K L1 / (n - 2)] / (n (n - 3)),
    CKA = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)).

Each HSIC is unbiased, where the plain estimator's excess grows with the widths over n. Their ratio is not quite
unbiased, but clouds that have nothing in common lie around 0, on both sides of it: nothing is clamped. HSIC(K, L) is an
inner product of the kernels after U-centring (Szekely and Rizzo 2014), so HSIC(K, K) is 0 or more and |CKA| at most 1.

Nguyen et al. (2021) average HSIC over minibatches, which gives another number for other batches. With linear kernels
all terms are made of sums over rows, so here batches add up to the value of all rows at once, in float64 and in memory
of m^2 + m'^2 + m m' numbers for widths m and m', whatever n.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from hf_stitch.geometry.similarity.base import Group, Similarity

FEWEST = 4  # rows: the estimator divides by n - 3
ROUNDING = 1e-12  # HSIC of a cloud with itself, as a share of the mean fourth power of lengths, that is rounding


class LinearCKA(Similarity):
    """CKA of rows x (n, m) and y (n, m'), in [-1, 1]: invariant under translations, rotations and one scale for all.

    A scale for each feature and other linear maps change it, since no feature is normalised.
    """

    invariant: ClassVar = frozenset({Group.TRANSLATION, Group.SCALING, Group.PERMUTATION, Group.ORTHOGONAL})

    def __init__(self) -> None:
        super().__init__()
        self._both, self._first, self._second = _Hsic(), _Hsic(), _Hsic()

    def _take(self, x: Tensor, y: Tensor) -> None:
        self._both.add(x, y)
        self._first.add(x, x)
        self._second.add(y, y)

    def value(self) -> float:
        if self.trouble() is not None:
            return float("nan")
        return self._both.value() / (self._first.value() * self._second.value()) ** 0.5

    def trouble(self) -> str | None:
        if self.n < FEWEST:
            return f"unbiased CKA takes at least {FEWEST} rows, received {self.n}: give more rows"
        for name, own in (("first", self._first), ("second", self._second)):
            if own.value() <= ROUNDING * own.fourth():
                what = f"HSIC of the {name} cloud with itself is not above 0 on {self.n} rows"
                return f"the unbiased {what}: they are all alike, or too few; give other or more rows"
        return None


class _Hsic:
    """Unbiased HSIC of linear kernels, from sums over rows.

    Rows are taken relative to the mean of the first batch, which changes nothing but rounding: translations add
    something to whole rows and columns of a kernel, and the estimator leaves that out.
    """

    def __init__(self) -> None:
        self.n = 0
        self._origins: tuple[Tensor, Tensor] | None = None
        self._sums: tuple[Tensor, ...] = ()

    def add(self, a: Tensor, b: Tensor) -> None:
        if self._origins is None:
            self._origins = a.mean(0), b.mean(0)
        a, b = a - self._origins[0], b - self._origins[1]
        long, wide = a.square().sum(1), b.square().sum(1)  # the kernels' diagonals
        parts = (a.T @ b, a.sum(0), b.sum(0), a.T @ wide, b.T @ long, long.sum(), wide.sum(), long @ wide)
        self._sums = tuple(old + new for old, new in zip(self._sums, parts)) if self.n else parts
        self.n += len(a)

    def value(self) -> float:
        n = self.n
        products, a, b, a_wide, b_long, long, wide, both = self._sums
        trace = products.square().sum() - both
        totals = (a @ a - long) * (b @ b - wide)
        middle = a @ products @ b - a @ a_wide - b @ b_long + both
        return float((trace + totals / ((n - 1) * (n - 2)) - 2 * middle / (n - 2)) / (n * (n - 3)))

    def fourth(self) -> float:
        """Mean product of both squared lengths."""
        return float(self._sums[-1]) / self.n
