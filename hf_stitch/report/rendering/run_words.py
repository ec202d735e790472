"""Names of what a run took, in `report.json`, as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hf_stitch.recipe.side import SIDES
from hf_stitch.report.plain_json import part

STAGES = {
    "load.models": "loading the models",
    "load.data": "loading the data",
    "pairing": "pairing corresponding rows",
    "cut": "cutting the models in halves",
    "fit.trust": "calibrating trust",
    "evaluate.cascade": "running the cascade",
    "evaluate.jacobian": "measuring where it can be inverted",
    "evaluate.trust": "measuring trust",
}
KINDS = {
    "activations": "activations of the {} samples",
    "neighbourhoods": "neighbourhoods of the {}",
    "diffusion_map": "diffusion map of the {}",
    "fit": "fitting {}",
    "evaluate": "measuring {}",
    "load": "loading {}",
    "collect": "activations of the {}",
}
PARTS = {
    "prefix": "first half of the source",
    "layer": "stitching layer",
    "suffix": "second half of the target",
    "total": "stitched model",
    "trust": "trust gauge beside it",
    "source_whole": "whole source",
    "target_whole": "whole target",
}
TRAINABLE = "layer_parameters"  # of the layer's numbers those that training would move
COUNTED = ("source_positions", "target_positions")


def stage_words(name: str) -> str:
    """A stage of the run in words; one of no known kind by its own name."""
    kind, dot, what = name.partition(".")
    if name in STAGES or kind not in KINDS or not dot:
        return STAGES.get(name, path_words(name))
    return KINDS[kind].format(what)


def grouped(count: Any) -> str:
    """A whole number by thousands, with a narrow blank, which never breaks: commas part decimals in some countries."""
    return f"{count:,}".replace(",", "\u202f") if isinstance(count, int) and not isinstance(count, bool) else ""


def size_rows(parameters: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(part, numbers that it holds, multiply-adds of one input) of every part that is known."""
    adds = part(parameters, "multiply_adds")
    return [
        (words, grouped(parameters.get(name)), grouped(adds.get(name)))
        for name, words in PARTS.items()
        if grouped(parameters.get(name)) or grouped(adds.get(name))
    ]


def size_notes(parameters: Mapping[str, Any]) -> list[str]:
    """What else is known of the sizes, in sentences."""
    notes, adds = [], part(parameters, "multiply_adds")
    if trainable := grouped(parameters.get(TRAINABLE)):
        notes.append(f"{trainable} numbers of the stitching layer are parameters, which training moves.")
    counts = [(side, grouped(adds.get(name))) for side, name in zip(SIDES, COUNTED)]
    if known := " and ".join(f"{count} positions of the {side}" for side, count in counts if count):
        notes.append(f"Multiply-adds are of one input of {known}.")
    return notes


def other_sizes(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What a report of another version holds beside these."""
    adds = _unknown(part(parameters, "multiply_adds"), {*PARTS, *COUNTED})
    rest = {name: value for name, value in parameters.items() if name != "multiply_adds"}
    return _unknown(rest, {*PARTS, TRAINABLE}) | ({"multiply_adds": adds} if adds else {})


def _unknown(sizes: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in sizes.items() if name not in names or not grouped(value)}


def path_words(path: str) -> str:
    """A path of nested names as words."""
    return path.replace("_", " ").replace(".", ", ")
