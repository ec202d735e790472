"""Cameras: two that watch a rotating solid, and an autoencoder for each."""

from __future__ import annotations

from pathlib import Path

from hf_stitch.zoo.cameras import cameras
from hf_stitch.zoo.families import REGISTER, Progress, Shipped

ORDER = 30
MODELS = tuple(cameras.network_names())
DATA: tuple[str, ...] = ()
RENDERED = ("cameras",)
CARDS: dict[str, tuple[str | None, str]] = {
    "camera": (
        None,
        "A convolutional autoencoder with a code of six numbers, which takes noise from pictures (32 x 32) of a "
        "rotating solid that one of two cameras sees, from `above` or from `below` (after Bertalan et al. 2021, "
        "section 4.4). It was trained on views five degrees apart; its errors on angles between them stand beside what "
        f"a copy of the nearest view errs, of as many views and of more. {REGISTER}",
    ),
}


def train(name: str, folder: Path, progress: Progress) -> tuple[int, dict[str, float]]:
    return cameras.SEEDS[name], cameras.train_network(name, folder, progress)


def figures(name: str, folder: Path, shipped: Shipped) -> dict[str, float]:
    return cameras.network_figures(name, folder)


def write_data(name: str, folder: Path, progress: Progress) -> None:
    cameras.write_data(folder)


def stamp(name: str) -> str:
    return cameras.stamp()


def speaks(name: str) -> bool:
    return False
