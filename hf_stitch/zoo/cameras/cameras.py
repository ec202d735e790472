"""Two cameras that watch a rotating solid, and an autoencoder for each: Bertalan et al. (2021), section 4.4.

The pictures are rendered where they are needed, the networks ship. Few angles are seen: the networks, a map and its
neighbourhoods know the same views and no other. Of 3,600 angles every tenth, always between two of those, is held out.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_stitch.zoo.training_loop import Progress, learning_rate, seeded

if TYPE_CHECKING:
    import torch

ANGLES, VIEWS, HELD_OUT = 3600, 72, 10
NEAR = 7  # views in a neighbourhood at most, the middle one included
STRIDE = 19  # the fit's order: any first n views are spread about evenly, the last is nearly square to the first
COPIED = (72, 90, 120, 180, 360)  # views of which the nearest is copied, for comparison
SEEDS = {"camera-above": 500, "camera-below": 501}
STEPS, BATCH, PEAK = 8000, 32, 3e-3
NOISE = 0.1  # standard deviation before the absolute value is taken
CODE_NOISE = 0.05  # in the codes' standard deviations, less as the rate falls: keeps bends of the curve apart


def network_names() -> list[str]:
    """Return the names of both autoencoders."""
    return list(SEEDS)


def numbers() -> tuple[list[int], list[int]]:
    """Return the numbers of the angles: of the fit, in its order, and of the test."""
    return [i * STRIDE % VIEWS * (ANGLES // VIEWS) for i in range(VIEWS)], list(range(HELD_OUT // 2, ANGLES, HELD_OUT))


def views(camera: str, chosen: list[int]) -> torch.Tensor:
    """Return what a camera (`above` or `below`) sees at the numbered angles: (n, pixels) in [0, 1]."""
    import torch

    from hf_stitch.zoo.cameras.solid import CAMERAS, render

    order = sorted(range(len(chosen)), key=chosen.__getitem__)  # neighbouring angles are quick together
    angles = torch.tensor([chosen[i] for i in order]) * (2 * math.pi / ANGLES)
    found = render(angles, CAMERAS[camera]).flatten(1)
    return found[torch.tensor(order).argsort()]


def train_network(name: str, folder: Path, progress: Progress, steps: int = STEPS) -> dict[str, float]:
    """Train to take noise away, on pictures half of which have none and on codes that all have some.

    Saves to `folder`, returns what was done.
    """
    import torch

    from hf_stitch.zoo.networks.autoencoder import ConvAutoencoderConfig, ConvAutoencoderModel

    clean = views(name.removeprefix("camera-"), sorted(numbers()[0]))
    with seeded(SEEDS[name]):
        model = ConvAutoencoderModel(ConvAutoencoderConfig())
        optimizer = torch.optim.Adam(model.parameters(), lr=PEAK, betas=(0.9, 0.99))
        for step in range(steps):
            rate = learning_rate(step, steps, PEAK)
            optimizer.param_groups[0]["lr"] = rate
            wanted = clean[torch.randint(len(clean), (BATCH,))]
            given = wanted.clone()
            noise = NOISE * torch.randn(BATCH // 2, clean.shape[1]).abs()
            given[: BATCH // 2] = (given[: BATCH // 2] + noise).clamp(0, 1)
            code = model.encoder(given)
            code = code + CODE_NOISE * rate / PEAK * code.detach().std(0) * torch.randn_like(code)
            loss = torch.nn.functional.mse_loss(model.decoder(code), wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if (step + 1) % max(1, steps // 10) == 0:
                progress(f"step {step + 1} of {steps}, mean squared error {loss.item():.1e}")
    model.eval()
    model.config.dtype = torch.float32
    model.save_pretrained(folder)
    return {"pictures": len(clean), "steps": steps, "batch": BATCH}


def network_figures(name: str, folder: Path) -> dict[str, float]:
    """Return the errors on held-out angles, without and with noise, and of copies of the nearest of some views."""
    import torch

    from hf_stitch.zoo.networks.autoencoder import ConvAutoencoderModel

    model = ConvAutoencoderModel.from_pretrained(folder).eval()
    camera = name.removeprefix("camera-")
    clean = views(camera, numbers()[1])
    with seeded(SEEDS[name]), torch.inference_mode():
        noisy = (clean + NOISE * torch.randn_like(clean).abs()).clamp(0, 1)
        plain, denoised = model(clean, labels=clean).loss, model(noisy, labels=clean).loss
    variance = (clean - clean.mean(0)).square().mean()
    return {
        "mean squared error, held-out angles": plain.item(),
        "R2, held-out angles": 1 - (plain / variance).item(),
        "mean squared error, held-out angles with noise": denoised.item(),
    } | {f"mean squared error, the nearest of {count} views copied": _copied(camera, clean, count) for count in COPIED}


def _copied(camera: str, clean: torch.Tensor, count: int) -> float:
    import torch

    known = views(camera, list(range(0, ANGLES, ANGLES // count)))
    return torch.cdist(clean, known).square().min(1).values.mean().item() / clean.shape[1]


def stamp() -> str:
    """Return a stamp of what the pictures depend on."""
    sources = [Path(__file__), Path(__file__).with_name("solid.py")]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:24]


def write_data(folder: Path) -> None:
    """Render the splits `fit` and `test` as parquet files.

    Columns: `angle` (its number, the id), `turn` in radians, `above` and `below` (pixels), and in the fit `near`: the
    numbers of the 7 nearest angles of the fit, the nearest first.
    """
    folder.mkdir(parents=True, exist_ok=True)
    fit, test = numbers()
    seen = sorted(fit)
    place = {number: i for i, number in enumerate(seen)}
    steps = sorted(range(-(NEAR // 2), NEAR // 2 + 1), key=lambda step: (abs(step), step))
    near = [[seen[(place[number] + step) % len(seen)] for step in steps] for number in fit]
    _write(folder / "fit.parquet", fit, {"near": near})
    _write(folder / "test.parquet", test, {})


def _write(path: Path, chosen: list[int], more: dict[str, Any]) -> None:
    import numpy as np
    import pyarrow
    import pyarrow.parquet
    from datasets import Features, List, Value

    from hf_stitch.zoo.cameras.solid import CAMERAS

    columns: dict[str, Any] = {"angle": chosen, "turn": [number * 2 * math.pi / ANGLES for number in chosen]}
    kinds: dict[str, Any] = {"angle": Value("int32"), "turn": Value("float64")}
    for camera in CAMERAS:
        pixels = views(camera, chosen).numpy()
        ends = np.arange(len(pixels) + 1, dtype=np.int32) * pixels.shape[1]
        columns[camera] = pyarrow.ListArray.from_arrays(ends, pixels.reshape(-1))
        kinds[camera] = List(Value("float32"))
    kinds |= {key: List(Value("int32")) for key in more}
    schema = Features(kinds).arrow_schema
    pyarrow.parquet.write_table(pyarrow.table(columns | more, schema=schema), path, compression="zstd")
