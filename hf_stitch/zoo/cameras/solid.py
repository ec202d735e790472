"""A rotating solid seen from two cameras: an animal of ellipsoids on a turntable, rendered by ray casting.

It takes the place of the model horse of Bertalan et al. (2021), section 4.4. No two angles look alike from either side:
one foreleg is lifted, and a bag hangs on one flank.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

SIDE = 32  # pixels
CAMERAS = {"above": math.radians(35), "below": math.radians(-35)}  # elevation
SUPERSAMPLED = 2
LIGHT = (0.3, -0.7, 0.65)
AMBIENT = 0.25
REACH = 1.3  # the picture's half width, in the solid's units
LEVELS = 255


class Ellipsoid(NamedTuple):
    """Centre and radii along the solid's own axes (x ahead, z up), and brightness."""

    centre: tuple[float, float, float]
    radii: tuple[float, float, float]
    brightness: float


ANIMAL = (
    Ellipsoid((0.0, 0.0, 0.0), (0.72, 0.32, 0.30), 0.75),  # trunk
    Ellipsoid((0.68, 0.0, 0.34), (0.20, 0.16, 0.42), 0.75),  # neck
    Ellipsoid((0.90, 0.0, 0.66), (0.30, 0.15, 0.16), 0.90),  # head
    Ellipsoid((0.72, 0.10, 0.86), (0.08, 0.07, 0.14), 1.00),  # ears
    Ellipsoid((0.72, -0.10, 0.86), (0.08, 0.07, 0.14), 1.00),
    Ellipsoid((0.70, 0.20, -0.24), (0.36, 0.13, 0.14), 0.65),  # lifted foreleg
    Ellipsoid((0.46, -0.18, -0.50), (0.15, 0.13, 0.44), 0.65),
    Ellipsoid((-0.50, 0.18, -0.50), (0.15, 0.13, 0.44), 0.65),
    Ellipsoid((-0.50, -0.18, -0.50), (0.15, 0.13, 0.44), 0.65),
    Ellipsoid((-0.86, 0.0, -0.02), (0.24, 0.13, 0.32), 0.55),  # tail
    Ellipsoid((-0.08, 0.34, 0.02), (0.26, 0.14, 0.20), 1.00),  # bag on the left flank
)


def render(angles: Tensor, elevation: float, side: int = SIDE) -> Tensor:
    """Return views (n, side, side) in [0, 1], multiples of 1 / 255, of the solid turned by `angles` (n,) radians.

    Parallel rays meet the solid on the side of the camera, which looks down by `elevation`; Lambert's shading; each
    pixel is the mean of sixteen rays, some of them its neighbours' too.
    """
    return torch.cat([_views(part, elevation, side) for part in angles.double().split(128)])


def _views(angles: Tensor, elevation: float, side: int) -> Tensor:
    count = SUPERSAMPLED * side
    line = REACH * (2 * (torch.arange(count) + 0.5) / count - 1)
    v, u = (one.reshape(-1) for one in torch.meshgrid(-line, line, indexing="ij"))
    # The solid turns by `angles`, so camera and light turn by the opposite in its own axes.
    ahead, right, up = (_turned(axis, angles) for axis in _camera(elevation))
    light = _turned(torch.tensor(LIGHT, dtype=torch.float64), angles)
    light = light / light.norm(dim=1, keepdim=True)
    grid = torch.stack([torch.ones_like(u), u, v, u * u, u * v, v * v]).float()
    depth = torch.full((len(angles), count * count), math.inf)
    shade = torch.zeros_like(depth)
    for part in ANIMAL:
        _draw(part, ahead, right, up, light, grid, depth, shade)
    # a pixel sees a little of its neighbours: an edge then moves through it smoothly
    picture = torch.nn.functional.avg_pool2d(shade.view(-1, 1, count, count), 2 * SUPERSAMPLED, SUPERSAMPLED, 1)[:, 0]
    return (picture * LEVELS).round().clamp(0, LEVELS) / LEVELS


def _camera(elevation: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return the unit vectors along the rays, to the right and upwards in the picture."""
    c, s = math.cos(elevation), math.sin(elevation)
    rows = ((0.0, c, -s), (1.0, 0.0, 0.0), (0.0, s, c))
    ahead, right, up = (torch.tensor(row, dtype=torch.float64) for row in rows)
    return ahead, right, up


def _turned(axis: Tensor, angles: Tensor) -> Tensor:
    """Return the vector (3,) turned by -angles about the vertical: (n, 3)."""
    c, s = angles.cos(), angles.sin()
    return torch.stack([c * axis[0] + s * axis[1], c * axis[1] - s * axis[0], axis[2].expand_as(c)], 1)


def _draw(
    part: Ellipsoid, ahead: Tensor, right: Tensor, up: Tensor, light: Tensor, grid: Tensor, depth: Tensor, shade: Tensor
) -> None:
    """Draw one ellipsoid into `depth` and `shade` (n, rays) where it is nearest; n angles, rays at u, v of `grid`."""
    centre, radii = (torch.tensor(one, dtype=torch.float64) for one in (part.centre, part.radii))
    rays = _near(grid[1], right @ centre, (right * radii).norm(dim=1))
    rays = (rays & _near(grid[2], up @ centre, (up * radii).norm(dim=1))).nonzero()[:, 0]
    grid, before = grid[:, rays], depth[:, rays]
    start = -centre / radii
    a, r, w = ahead / radii, right / radii, up / radii  # in units in which the ellipsoid is the unit sphere
    # A point start + u r + v w + t a on the sphere: qa t^2 + 2 qb t + qc = 0, with qb and qc polynomials of u and v.
    qa = (a * a).sum(1, keepdim=True)
    qb = torch.stack([a @ start, (a * r).sum(1), (a * w).sum(1)], 1)
    qc = torch.stack([(start @ start - 1).expand(len(a)), 2 * r @ start, 2 * w @ start, (r * r).sum(1),
                      2 * (r * w).sum(1), (w * w).sum(1)], 1)  # fmt: skip
    b0, b1, b2 = qb.unbind(1)
    square = torch.stack([b0 * b0, 2 * b0 * b1, 2 * b0 * b2, b1 * b1, 2 * b1 * b2, b2 * b2], 1)
    inside = (square - qa * qc).float() @ grid
    t = -(qb.float() @ grid[:3] + inside.clamp_min(0).sqrt()) / qa.float()
    view, ray = ((inside > 0) & (t < before)).nonzero(as_tuple=True)
    hit, u, v = t[view, ray], grid[1, ray], grid[2, ray]
    # The normal is the point of the unit sphere divided by the radii.
    point = start.float() + u[:, None] * r.float()[view] + v[:, None] * w.float()[view] + hit[:, None] * a.float()[view]
    normal = torch.nn.functional.normalize(point / radii.float(), dim=1)
    bright = AMBIENT + (1 - AMBIENT) * (normal * light.float()[view]).sum(1).clamp_min(0)
    depth[view, rays[ray]] = hit
    shade[view, rays[ray]] = part.brightness * bright


def _near(places: Tensor, middle: Tensor, reach: Tensor) -> Tensor:
    """Return which places lie within `reach` of `middle` at one of the angles (n,) at least."""
    return (places >= float((middle - reach).min())) & (places <= float((middle + reach).max()))
