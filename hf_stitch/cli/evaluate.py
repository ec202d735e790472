"""`hf-stitch evaluate`."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer

from hf_stitch.cli.terminal import Device, Quiet

EXAMPLE = "hf-stitch evaluate stitched/speech_sentiment dataset=calls.csv columns.target=words columns.label=mood"

MODEL = r"(?P<side>source|target)\.model="


def run(
    name: Annotated[str, typer.Argument(metavar="DIR", help="Folder that `fit` wrote, or a Hub id.")],
    changes: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Changes of the recipe's data.test, such as samples=64."),
    ] = None,
    device: Device = None,
    quiet: Quiet = False,
) -> None:
    """Measure a stitched model again.

    It runs on its recipe's test data, or on other data named by KEY=VALUE. Those must have the inputs of both models;
    of the recipe's other columns only what is there is measured. source.model=FOLDER and target.model=FOLDER say where
    the two models are, if no longer where they were fitted.
    """
    from hf_stitch.cli.terminal import silence_libraries, tell
    from hf_stitch.errors import ArtifactError
    from hf_stitch.models.hub.repository import local
    from hf_stitch.runtime.progress_bars import progress

    folder = local(name)
    # Before the imports that take seconds: a wrong folder is told at once.
    if not (folder / "config.json").is_file():
        raise ArtifactError(f"{folder}: no stitched model; expected a folder that `hf-stitch fit` wrote")
    models = models_of(changes or [])
    data = asked([word for word in changes or [] if not re.match(MODEL, word)])
    from hf_stitch.experiments.evaluate import evaluate

    silence_libraries()
    tell(evaluate(folder, data or None, models=models, device=device, progress=progress(quiet)))


def asked(changes: list[str]) -> dict[str, Any]:
    """The `data.test` part that the words change; another data set does not take over split and size of the old one."""
    from hf_stitch.recipe.overrides import apply_overrides

    data = apply_overrides({}, [word.removeprefix("data.test.") for word in changes])
    return {"split": None, "samples": None, "revision": None, **data} if "dataset" in data else data


def models_of(changes: list[str]) -> dict[str, str]:
    """Where the words say that the two models are, by side."""
    named = (re.match(MODEL, word) for word in changes)
    return {found["side"]: found.string[found.end() :] for found in named if found}
