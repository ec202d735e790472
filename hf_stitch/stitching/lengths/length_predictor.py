"""The target's length from the source alone: `target_length: predicted`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from hf_stitch.stitching.keep_dtype import keep_dtype

PENALTIES = torch.logspace(-3, 5, 33, dtype=torch.float64)
"""Of the ridge on standardised features, by hand; the largest leave nothing of them but the lengths."""
REACH = 2.0
"""A predicted length is at most so much longer or shorter than any in the fit, or than by the ratio. By hand."""


class LengthPredictor(nn.Module):
    """Target length as an affine function of the source's length and, by ridge, of its mean activation.

    The penalty is the one with the smallest leave-one-out error, which has a closed form. Buffers keep float64 through
    `.to(dtype)`: a length is a whole number, and bfloat16 has three digits.
    """

    line: Tensor
    slope: Tensor
    centre: Tensor

    def __init__(self, spec: dict[str, Any]) -> None:
        super().__init__()
        self.spec = spec
        self.register_buffer("line", torch.zeros(2, dtype=torch.float64))
        self.register_buffer("slope", torch.zeros(spec["features"], dtype=torch.float64))
        self.register_buffer("centre", torch.zeros(spec["features"], dtype=torch.float64))

    @classmethod
    def fit(cls, lengths: Tensor, pooled: Tensor, wanted: Tensor) -> LengthPredictor:
        """Fit from samples.

        Args:
            lengths: (n,) source timesteps; wanted: (n,) target timesteps.
            pooled: (n, features) mean source activation of the same samples.
        """
        x, y = lengths.double(), wanted.double()
        centre, spread = pooled.double().mean(0), pooled.double().std(0, correction=0)
        # Features that never move are scaled to nothing, not to infinity.
        scale = spread.clamp(min=1e-12 * float(spread.max()) + 1e-300)
        z = (pooled.double() - centre) / scale
        base = torch.stack([torch.ones_like(x), x], 1)
        weight, error = _ridge(base, z, y)
        ratio = float((x @ y) / (x @ x))
        spec = {
            "features": pooled.shape[1],
            "ratio": ratio,
            "shortest": int(wanted.min()),
            "longest": int(wanted.max()),
            "error": error,
            "error_of_ratio": float((ratio * x - y).square().mean().sqrt()),
        }
        made = cls(spec)
        # gelsd allows a base of deficient rank: all samples may be of one length.
        made.line.copy_(torch.linalg.lstsq(base, (y - z @ weight)[:, None], driver="gelsd").solution[:, 0])
        made.slope.copy_(weight / scale)
        made.centre.copy_(centre)
        return made

    def forward(self, lengths: Tensor, pooled: Tensor) -> list[int]:
        """Whole target lengths of samples with `lengths` (b,) timesteps and mean activations (b, features)."""
        x = lengths.double().to(self.line.device)
        found = self.line[0] + self.line[1] * x + (pooled.double() - self.centre) @ self.slope
        by_ratio = self.spec["ratio"] * x
        low = torch.clamp(by_ratio, max=self.spec["shortest"]) / REACH
        high = torch.clamp(by_ratio, min=self.spec["longest"]) * REACH
        return [max(1, round(one)) for one in torch.minimum(torch.maximum(found, low), high).tolist()]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> LengthPredictor:
        return keep_dtype(self, fn, recurse)


def _ridge(base: Tensor, z: Tensor, y: Tensor) -> tuple[Tensor, float]:
    """Weights of z (n, m) beside an unpenalised base (n, 2), and their root mean square leave-one-out error."""
    whole = torch.linalg.svd(base, full_matrices=False)
    kept = whole.U[:, whole.S / whole.S[0] > 1e-9]  # all samples may be of one length
    part, rest = z - kept @ (kept.T @ z), y - kept @ (kept.T @ y)
    left, values, right = torch.linalg.svd(part, full_matrices=False)
    own, along, n = kept.square().sum(1), left.T @ rest, len(y)
    errors = []
    for penalty in PENALTIES:
        share = values.square() / (values.square() + penalty * n)
        leverage = own + left.square() @ share
        # Leave-one-out residual: residual / (1 - leverage), so no fit is repeated.
        errors.append(((rest - left @ (share * along)) / (1 - leverage).clamp(min=1e-9)).square().mean().sqrt())
    best = int(torch.stack(errors).argmin())
    return right.T @ (values / (values.square() + PENALTIES[best] * n) * along), float(errors[best])
