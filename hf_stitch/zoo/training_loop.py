"""What the zoo's trainings share: a seeded loop of a fixed number of steps, and the record that is kept of it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

Progress = Callable[[str], None]
WARM_UP = 0.08  # of all steps; by hand
RECORD = "training.json"


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Return the rate at `step` of `steps`: linear warm-up, then a cosine down to a fiftieth of the peak."""
    progress = (step + 1) / steps
    if progress < WARM_UP:
        return peak * progress / WARM_UP
    return peak * (0.02 + 0.49 * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP))))


@contextmanager
def seeded(seed: int, threads: int = 1) -> Iterator[None]:
    """Seed torch inside the block, on a fixed number of threads (sums depend on it), and restore both afterwards."""
    import torch

    before, state = torch.get_num_threads(), torch.get_rng_state()
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.set_rng_state(state)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the libraries' progress bars inside the block; the builder reports its own progress."""
    import datasets
    from transformers.utils import logging

    datasets_on, transformers_on = not datasets.are_progress_bars_disabled(), logging.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if datasets_on:
            datasets.enable_progress_bars()
        if transformers_on:
            logging.enable_progress_bar()


def train(
    model: torch.nn.Module,
    batches: Iterator[Any],
    loss: Callable[[Any], torch.Tensor],
    steps: int,
    peak: float,
    progress: Progress,
) -> float:
    """Take `steps` AdamW steps on `loss(next(batches))` in place; return the smoothed final loss."""
    import torch

    # biases and norms are not decayed
    groups = [{"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": 0.01},
              {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0.0}]  # fmt: skip
    optimizer = torch.optim.AdamW(groups, lr=peak, betas=(0.9, 0.98))
    model.train()
    smooth = math.nan
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, peak)
        optimizer.zero_grad(set_to_none=True)
        value = loss(next(batches))
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        smooth = value.item() if math.isnan(smooth) else 0.95 * smooth + 0.05 * value.item()
        if (step + 1) % max(1, steps // 10) == 0:
            progress(f"step {step + 1} of {steps}, loss {smooth:.4f}")
    model.eval()
    return smooth


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Write `record` beside the model as training.json; figures are rounded to six significant digits."""
    rounded = json.loads(json.dumps(record), parse_float=lambda text: float(f"{float(text):.6g}"))
    (folder / RECORD).write_text(json.dumps(rounded, indent=2) + "\n", encoding="utf-8")
