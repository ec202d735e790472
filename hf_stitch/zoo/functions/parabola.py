"""Pairs of small networks that learn the same parabola from different starts, in double precision."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from hf_stitch.zoo.training_loop import Progress, seeded

if TYPE_CHECKING:
    import torch

    from hf_stitch.zoo.networks.tanh import TanhNetworkModel

TRAINING_POINTS = 512  # in full batches; by hand: Bertalan et al., section 4.1, draw 10,240 at random
# By hand.
ADAM_STEPS, LBFGS_STEPS = 1000, 60  # an L-BFGS step is up to 25 inner iterations
ADAM_RATE = 1e-2
FIT_POINTS, TEST_POINTS = 512, 1024  # Bertalan et al., table 1; Stroescu, experiment 1
INTERIOR = 0.9  # |x| up to which a test point counts as interior


def seed_of(name: str) -> int:
    """Return the seed of `parabola-a-3` and the like: both sides of all pairs differ."""
    _, side, pair = name.split("-")
    return 100 + 2 * int(pair) + "ab".index(side)


def train_network(
    name: str, folder: Path, progress: Progress, adam_steps: int = ADAM_STEPS, lbfgs_steps: int = LBFGS_STEPS
) -> dict[str, float]:
    """Fit y = x^2 on [-1, 1] by full-batch Adam, then L-BFGS; save to `folder`, return the steps and the loss."""
    import torch

    from hf_stitch.zoo.networks.tanh import TanhNetworkConfig, TanhNetworkModel

    with seeded(seed_of(name)):
        model = TanhNetworkModel(TanhNetworkConfig()).double()
        x = torch.linspace(-1, 1, TRAINING_POINTS, dtype=torch.float64)[:, None]
        loss = fit_network(model, x, x**2, adam_steps, lbfgs_steps)
    progress(f"mean squared error {loss:.1e}")
    model.eval()
    model.config.dtype = torch.float64
    model.save_pretrained(folder)
    return {"adam_steps": adam_steps, "lbfgs_steps": lbfgs_steps, "loss": loss}


def fit_network(model: TanhNetworkModel, x: torch.Tensor, y: torch.Tensor, adam_steps: int, lbfgs_steps: int) -> float:
    """Fit y (n, d_out) at x (n, d_in) in place; return the final mean squared error."""
    _adam(model, x, y, adam_steps)
    return _lbfgs(model, x, y, lbfgs_steps)


def _adam(model: TanhNetworkModel, x: torch.Tensor, y: torch.Tensor, steps: int) -> None:
    import torch

    optimizer = torch.optim.Adam(model.parameters(), lr=ADAM_RATE)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = ADAM_RATE * 0.5 * (1 + math.cos(math.pi * step / steps))
        optimizer.zero_grad()
        model(x, labels=y).loss.backward()
        optimizer.step()


def _lbfgs(model: TanhNetworkModel, x: torch.Tensor, y: torch.Tensor, steps: int) -> float:
    import torch

    optimizer = torch.optim.LBFGS(
        model.parameters(), max_iter=25, history_size=50, line_search_fn="strong_wolfe",
        tolerance_grad=1e-12, tolerance_change=1e-16,
    )  # fmt: skip

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = model(x, labels=y).loss
        loss.backward()
        return loss

    for _ in range(steps):
        optimizer.step(closure)
    return closure().item()


def fit_points() -> list[float]:
    """Return FIT_POINTS points from -1 to 1."""
    return [2 * i / (FIT_POINTS - 1) - 1 for i in range(FIT_POINTS)]


def held_out_points() -> list[float]:
    """Return TEST_POINTS points inside (-1, 1), none of them a fit point."""
    return [2 * (i + 0.5) / TEST_POINTS - 1 for i in range(TEST_POINTS)]


def write_data(folder: Path) -> None:
    """Write fit points (all of [-1, 1]) and test points (shifted between them) with their parabola values."""
    from datasets import Features, List, Value

    from hf_stitch.zoo.parquet import write_rows

    number = Value("float64")
    features = Features({"x": List(number), "y": List(number), "id": Value("string"), "group": Value("string")})

    folder.mkdir(parents=True, exist_ok=True)
    for part, points in (("fit", fit_points()), ("test", held_out_points())):
        rows = [
            {"x": [x], "y": [x * x], "id": f"{part}-{i:04d}", "group": "interior" if abs(x) <= INTERIOR else "edge"}
            for i, x in enumerate(points)
        ]
        write_rows(rows, features, folder / f"{part}.parquet")


def parabola_figures(folder: Path) -> dict[str, float]:
    """Return the mean squared error at points between the training points."""
    import torch

    from hf_stitch.zoo.functions.parabola import held_out_points
    from hf_stitch.zoo.networks.tanh import TanhNetworkModel

    model = TanhNetworkModel.from_pretrained(folder)
    x = torch.tensor(held_out_points(), dtype=torch.float64)[:, None]
    with torch.inference_mode():
        return {"mean squared error": model(x, labels=x**2).loss.item()}
