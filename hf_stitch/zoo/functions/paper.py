"""Small networks and data of Bertalan et al. (2021), sections 4.1 to 4.3, in double precision.

- `fold-narrow`, `fold-wide` learned y = x^2 on [-1, 0] alone; beyond it the wide one's output folds back.
- `warped-a-K`, `warped-b-K` learned the same function on [0, 1] and on [2, 4]; S carries one domain to the other.
- `field-a`, `field-b` learned two vector fields on the square [-1.5, 1.5]^2.
- `identity-2` gives its two inputs back, so that a recipe can ask for a network's input.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hf_stitch.zoo.training_loop import Progress, seeded

if TYPE_CHECKING:
    import torch

# Numbers of training points, points, neighbours and layers are those of table 1 there, the square that of section 4.3;
# the others are by hand.
WARPED_PAIRS = 10
WARPED_POINTS, WARPED_NEIGHBOURS, WARPED_RADIUS = 990, 11, 0.01
FOLD_POINTS = 512
HALF, LEVELS = 1.5, 2**14  # the square is [-HALF, HALF]^2; its points lie on LEVELS^2 places, which packs them well
SQUARE_POINTS, SQUARE_TEST, INTERIOR = 100_000, 1000, 1.2
BEND, SHEAR = 20.0, 10.0


class Course(NamedTuple):
    """What one network learns: its layers, seed, inputs (n, d) by their number, and the function of them."""

    sizes: tuple[int, ...]
    seed: int
    inputs: Callable[[int], torch.Tensor]
    function: Callable[[torch.Tensor], torch.Tensor]
    points: int = 512
    adam_steps: int = 1000
    lbfgs_steps: int = 30


def network_names() -> list[str]:
    """Return the names of all networks of this module."""
    warped = [f"warped-{side}-{pair}" for pair in range(WARPED_PAIRS) for side in "ab"]
    return ["fold-narrow", "fold-wide", *warped, "field-a", "field-b", "identity-2"]


def course(name: str) -> Course:
    """Return what the network called `name` learns."""
    if name.startswith("fold"):
        sizes, seed = ((1, 1, 1), 200) if name == "fold-narrow" else ((1, 8, 8, 8, 1), 202)
        return Course(sizes, seed, _line(-1, 0), lambda x: x**2)
    if name.startswith("warped"):
        _, side, pair = name.split("-")
        ends = (0, 1) if side == "a" else (2, 4)
        seed = 300 + 2 * int(pair) + "ab".index(side)
        return Course((1, 3, 1), seed, _line(*ends), lambda x: -((x - 0.25) ** 2) - 1, points=900)
    if name == "identity-2":
        return Course((2, 2), 0, _square, lambda x: x, points=900, adam_steps=0, lbfgs_steps=0)
    field, seed = (vector_field, 402) if name == "field-a" else (bent_field, 401)
    return Course((2, 5, 5, 5, 5, 2), seed, _square, field, points=3600, adam_steps=1500, lbfgs_steps=80)


def train_network(name: str, folder: Path, progress: Progress, plan: Course | None = None) -> dict[str, float]:
    """Train by full-batch Adam, then L-BFGS; save to `folder`, return the steps and the loss."""
    import torch

    from hf_stitch.zoo.functions.parabola import fit_network
    from hf_stitch.zoo.networks.tanh import TanhNetworkConfig, TanhNetworkModel

    plan = plan or course(name)
    with seeded(plan.seed):
        model = TanhNetworkModel(TanhNetworkConfig(plan.sizes)).double()
        if len(plan.sizes) == 2:
            with torch.no_grad():
                model.layers[0].weight.copy_(torch.eye(plan.sizes[0]))
                model.layers[0].bias.zero_()
        x = plan.inputs(plan.points)
        loss = fit_network(model, x, plan.function(x), plan.adam_steps, plan.lbfgs_steps)
    progress(f"mean squared error {loss:.1e}")
    model.eval()
    model.config.dtype = torch.float64
    model.save_pretrained(folder)
    return {"points": plan.points, "adam_steps": plan.adam_steps, "lbfgs_steps": plan.lbfgs_steps, "loss": loss}


def network_figures(name: str, folder: Path) -> dict[str, float]:
    """Return the mean squared error on a denser grid than the training's."""
    import torch

    from hf_stitch.zoo.networks.tanh import TanhNetworkModel

    plan, model = course(name), TanhNetworkModel.from_pretrained(folder)
    x = plan.inputs(4 * plan.points)
    with torch.inference_mode():
        return {"mean squared error": model(x, labels=plan.function(x)).loss.item()}


def warp(x: float) -> float:
    """Carry [0, 1] to [2, 4]: S(x) = 2 + 2x + sin(4 pi x) / (3 pi), section 4.2."""
    return 2 + 2 * x + math.sin(4 * math.pi * x) / (3 * math.pi)


def vector_field(x: torch.Tensor) -> torch.Tensor:
    """Return the field of section 4.3 at points (n, 2): a limit cycle on the unit circle."""
    import torch

    inward = 1 - x.square().sum(1)
    return torch.stack([-x[:, 1] + x[:, 0] * inward, x[:, 0] + x[:, 1] * inward], 1)


def bend(x: torch.Tensor) -> torch.Tensor:
    """Return s(x) = (x1 + x1^2 / 20 + x2 / 10, x2 + x1^2 / 20).

    The paper prints x1 / 20 and x2 / 10 in place of x1 and x2; read so, the square's inverse image reaches |x| = 75 and
    the pushed field 10^5. Here its numbers bend the plane, so that both fields live on one square.
    """
    import torch

    square = x[:, 0] ** 2 / BEND
    return torch.stack([x[:, 0] + square + x[:, 1] / SHEAR, x[:, 1] + square], 1)


def unbend(y: torch.Tensor) -> torch.Tensor:
    """Return the inverse of `bend` at points (n, 2) of the square."""
    import torch

    curve = (1 - 1 / SHEAR) / BEND
    first = ((1 + 4 * curve * (y[:, 0] - y[:, 1] / SHEAR)).sqrt() - 1) / (2 * curve)
    return torch.stack([first, y[:, 1] - first**2 / BEND], 1)


def bent_field(y: torch.Tensor) -> torch.Tensor:
    """Return the first field pushed forward by `bend`: J(x) field(x) at x = unbend(y)."""
    import torch

    x = unbend(y)
    field, slope = vector_field(x), 2 * x[:, 0] / BEND
    return torch.stack([(1 + slope) * field[:, 0] + field[:, 1] / SHEAR, slope * field[:, 0] + field[:, 1]], 1)


def _line(low: float, high: float) -> Callable[[int], torch.Tensor]:
    def points(count: int) -> torch.Tensor:
        import torch

        return torch.linspace(low, high, count, dtype=torch.float64)[:, None]

    return points


def _square(count: int) -> torch.Tensor:
    """Return a grid over the square of about `count` points."""
    import torch

    axis = torch.linspace(-HALF, HALF, round(count**0.5), dtype=torch.float64)
    return torch.cartesian_prod(axis, axis)


def data_rows(name: str) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of each split of the data set `fold`, `square` or `warped`."""
    return {"fold": _fold_rows, "square": _square_rows, "warped": _warped_rows}[name]()


def _fold_rows() -> dict[str, list[dict[str, Any]]]:
    """`fit` and `test` lie in [-1, 0], where the networks were trained; `whole_fit` and `whole_test` in [-1, 1]."""
    found = {}
    for prefix, high in (("", 0.0), ("whole_", 1.0)):
        width = high + 1
        fit = [-1 + width * i / (FOLD_POINTS - 1) for i in range(FOLD_POINTS)]
        test = [-1 + width * (i + 0.5) / (FOLD_POINTS - 1) for i in range(FOLD_POINTS - 1)]
        for split, points in ((f"{prefix}fit", fit), (f"{prefix}test", test)):
            group = ["trained" if x <= 0 else "beyond" for x in points]
            found[split] = [
                {"x": [x], "group": g, "id": f"{split}-{i:04d}"} for i, (x, g) in enumerate(zip(points, group))
            ]
    return found


def _warped_rows() -> dict[str, list[dict[str, Any]]]:
    """Points x of [0, 1] and s = S(x); the fit points have neighbours of x, spread evenly, and what S makes of them."""
    steps = [WARPED_RADIUS * (2 * j / (WARPED_NEIGHBOURS - 1) - 1) for j in range(WARPED_NEIGHBOURS)]
    fit, test = [], []
    for i in range(WARPED_POINTS):
        x = i / (WARPED_POINTS - 1)
        near = [x + step for step in steps]
        row: dict[str, Any] = {"x": [x], "s": [warp(x)], "id": f"fit-{i:04d}"}
        fit.append(row | {"near_x": [[y] for y in near], "near_s": [[warp(y)] for y in near]})
        if i % 2 == 0 and i < WARPED_POINTS - 1:
            x = (i + 0.5) / (WARPED_POINTS - 1)
            test.append({"x": [x], "s": [warp(x)], "id": f"test-{i:04d}"})
    return {"fit": fit, "test": test}


def _square_rows() -> dict[str, list[dict[str, Any]]]:
    """Points drawn evenly from the square, no two alike; any first n of them are such a sample too."""
    import numpy as np

    generator, wanted = np.random.default_rng(43), SQUARE_POINTS + SQUARE_TEST
    drawn = generator.integers(0, LEVELS, (wanted + wanted // 50, 2))
    _, first = np.unique(drawn, axis=0, return_index=True)
    points = HALF * (2 * drawn[np.sort(first)][:wanted] / (LEVELS - 1) - 1)
    group = np.where(np.abs(points).max(1) <= INTERIOR, "interior", "edge")
    rows = [{"x": x, "group": str(g)} for x, g in zip(points.tolist(), group)]
    return {"test": rows[:SQUARE_TEST], "fit": rows[SQUARE_TEST:]}


def write_data(name: str, folder: Path) -> None:
    """Write the splits of one data set as parquet files."""
    from datasets import Features, List, Value

    from hf_stitch.zoo.parquet import write_rows

    folder.mkdir(parents=True, exist_ok=True)
    number, text = Value("float64"), Value("string")
    known = {"x": List(number), "s": List(number), "near_x": List(List(number)), "near_s": List(List(number)),
             "group": text, "id": text}  # fmt: skip
    for split, rows in data_rows(name).items():
        write_rows(rows, Features({key: known[key] for key in rows[0]}), folder / f"{split}.parquet")
