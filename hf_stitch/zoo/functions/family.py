"""Functions: small tanh networks that learned them, and points to try them on."""

from __future__ import annotations

from pathlib import Path

from hf_stitch.zoo.families import REGISTER, Progress, Shipped
from hf_stitch.zoo.functions import paper, parabola

ORDER = 20
PARABOLA_PAIRS = 5  # by hand
PARABOLAS = tuple(f"parabola-{side}-{pair}" for pair in range(PARABOLA_PAIRS) for side in "ab")
MODELS = (*PARABOLAS, *paper.network_names())
DATA = ("parabola", "fold", "square", "warped")
RENDERED: tuple[str, ...] = ()
CARDS: dict[str, tuple[str | None, str]] = {
    "parabola": (
        None,
        "A network of 1-8-8-8-1 neurons with tanh, in double precision, that has learned y = x^2 on [-1, 1]. Ten of "
        f"them ship, in pairs `a` and `b`, each with its own initial weights. {REGISTER}",
    ),
    "fold": (
        None,
        "A tanh network (`fold-narrow` of 1-1-1 neurons, `fold-wide` of 1-8-8-8-1), in double precision, that has "
        "learned y = x^2 on [-1, 0] alone. Beyond it the wide one's output folds back, the narrow one's does not "
        f"(Bertalan et al. 2021, section 4.1). {REGISTER}",
    ),
    "warped": (
        None,
        "A tanh network of 1-3-1 neurons, in double precision, that has learned y = -(x - 0.25)^2 - 1: those called "
        f"`a` on [0, 1], those called `b` on [2, 4] (Bertalan et al. 2021, section 4.2). {REGISTER}",
    ),
    "field": (
        None,
        "A tanh network of 2-5-5-5-5-2 neurons, in double precision, that has learned a vector field on "
        "[-1.5, 1.5]^2: `a` one with a limit cycle, `b` the same pushed forward by a bend of the plane "
        f"(after Bertalan et al. 2021, section 4.3). {REGISTER}",
    ),
    "identity": (
        None,
        "A network without hidden neurons that gives its input back, in double precision. Nothing was trained. "
        f"{REGISTER}",
    ),
}


def train(name: str, folder: Path, progress: Progress) -> tuple[int, dict[str, float]]:
    if name in PARABOLAS:
        return parabola.seed_of(name), parabola.train_network(name, folder, progress)
    return paper.course(name).seed, paper.train_network(name, folder, progress)


def figures(name: str, folder: Path, shipped: Shipped) -> dict[str, float]:
    return parabola.parabola_figures(folder) if name in PARABOLAS else paper.network_figures(name, folder)


def write_data(name: str, folder: Path, progress: Progress) -> None:
    if name == "parabola":
        parabola.write_data(folder)
    else:
        paper.write_data(name, folder)


def stamp(name: str) -> str:
    raise KeyError(name)  # nothing here is rendered


def speaks(name: str) -> bool:
    return False
