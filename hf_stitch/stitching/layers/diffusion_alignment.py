"""Which orthogonal map leads from the source's diffusion coordinates to the target's: `stitch.alignment`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from torch import Tensor

from hf_stitch.errors import FitError, RecipeError, nearest
from hf_stitch.geometry.alignment.closest_points import ClosestPoints, closest_points
from hf_stitch.geometry.alignment.orthogonal import Alignment, blocks, clusters, kabsch, sign
from hf_stitch.geometry.diffusion.diffusion_map import DiffusionMap
from hf_stitch.geometry.diffusion.engine import Engine

Kind = Literal["procrustes", "sign", "kabsch", "blocks", "closest_points"]
FEW = 4  # pairs a coordinate below which the coordinates are aligned block by block; by hand
DECIDES = 1.05  # margin of closest points below which the clouds alone do not say which map it is; by hand


@dataclass(frozen=True)
class Aligned:
    """Source coordinates (n, l) of all rows, rotated into the target's; how, and what to beware of."""

    coordinates: Tensor
    alignment: Alignment
    notes: dict[str, Any]
    warnings: list[str]


def align(
    source: DiffusionMap, target: DiffusionMap, chosen: Tensor, kind: Kind | None = None, few: bool = False
) -> Aligned:
    """Align two maps by the paired rows `chosen`; `closest_points` looks at no pair.

    Args:
        kind: absent: Procrustes, block by block where `few` pairs are asked for and they are under 4 l: so few
            fit their noise with the angles between coordinates of different eigenvalues, which are 0.
        few: the pairs are fewer than there could be.

    Raises:
        RecipeError: unknown kind.
        FitError: `kabsch` or `closest_points` on maps of different numbers of coordinates; others take the smaller.
    """
    if kind is not None and kind not in get_args(Kind):
        raise RecipeError(f"alignment: unknown value {kind!r}; {nearest(str(kind), get_args(Kind))}")
    widths = source.coordinates.shape[1], target.coordinates.shape[1]
    if kind in ("kabsch", "closest_points") and widths[0] != widths[1]:
        raise FitError(
            f"alignment: {kind} takes two maps of one number of coordinates; the source has {widths[0]}, the target "
            f"{widths[1]}: use harmonics: keep, or alignment: procrustes, which takes the first {min(widths)}"
        )
    count = min(widths)
    a, b = source.coordinates[:, :count], target.coordinates[:, :count]
    # Relative to the first: the two maps may differ in scale, and only the gaps between eigenvalues count here.
    spectrum = (source.laplace[:count] / source.laplace[0] + target.laplace[:count] / target.laplace[0]) / 2
    used = kind or ("blocks" if few and len(chosen) < FEW * count else "procrustes")
    found = _found(used, a, b, chosen, spectrum, source.engine)
    rotated = a @ found.rotation
    notes = {"residual": found.residual, "coordinates": count, "kind": found.kind}
    notes |= {"pairs": 0 if used == "closest_points" else len(chosen)}
    notes |= {"residual_of_all_pairs": float((rotated - b).norm() / b.norm().clamp_min(1e-300))}
    if isinstance(found, ClosestPoints):
        notes["margin"] = found.margin
    return Aligned(rotated, found, notes, _warnings(used, found, spectrum, len(chosen)))


def _found(kind: str, a: Tensor, b: Tensor, chosen: Tensor, spectrum: Tensor, by: Engine) -> Alignment:
    if kind == "closest_points":
        return closest_points(a, b, spectrum)
    if kind == "blocks":
        return blocks(a[chosen], b[chosen], spectrum)
    return {"procrustes": by.procrustes, "sign": sign, "kabsch": kabsch}[kind](a[chosen], b[chosen])


def _warnings(kind: str, found: Alignment, spectrum: Tensor, pairs: int) -> list[str]:
    near = [group for group in clusters(spectrum) if len(group) > 1]
    if kind == "sign" and near:
        named = ", ".join(f"{group[0] + 1} to {group[-1] + 1}" for group in near[:3])
        return [
            f"alignment: sign turns no coordinates into each other, but those of nearly equal eigenvalues may be "
            f"turned (coordinates {named}): use alignment: blocks or procrustes"
        ]
    if kind in ("procrustes", "kabsch") and pairs < len(spectrum):
        return [f"alignment: {kind} of {len(spectrum)} coordinates is not determined by {pairs} pairs: use blocks"]
    if isinstance(found, ClosestPoints) and found.margin < DECIDES:
        return [
            f"alignment: closest_points found another map that fits nearly as well (margin {found.margin:.3f}): the "
            "clouds alone do not decide; one known pair would (pairs: 1, alignment: blocks)"
        ]
    return []
