"""`hf-stitch fit`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from hf_stitch.cli.terminal import Device, Dtype, Overrides, Quiet

EXAMPLE = "hf-stitch fit parabola --out stitched/parabola stitch.method=rbf"


def run(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A YAML file, or the name of a shipped recipe.")],
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder to write; stitched/NAME, if absent.")] = None,
    device: Device = None,
    dtype: Dtype = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Fit anew whatever result DIR holds.")] = False,
    rehearse: Annotated[
        bool, typer.Option("--rehearse", help="Only try it out: random weights, synthetic data, no download.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Fit a recipe and save the stitched model.

    Collects activations, learns the map, and writes the model with its report and card. The same command again takes
    up where an interrupted one stopped. With --rehearse nothing is fetched: it says what the fit will take.
    """
    from hf_stitch.cli.terminal import console, files_in, silence_libraries, tell
    from hf_stitch.recipe.recipe import Recipe
    from hf_stitch.runtime.progress_bars import progress

    # Before torch is imported: mistakes in the recipe are told at once.
    asked = Recipe.load(recipe, overrides or ())
    folder = out or Path("stitched") / re.sub(r"[^\w.-]+", "-", asked.name)
    if rehearse:
        return _rehearse(asked, folder, device, dtype, quiet)
    from hf_stitch.experiments.fit import fit

    silence_libraries()
    _, report = fit(asked, folder, device=device, dtype=dtype, overwrite=overwrite, progress=progress(quiet))
    tell(report)
    console().print(f"\n{folder}: {files_in(folder)}")
    if report.verdict.code != "comparison-only":
        console().print(f"next: hf-stitch predict {folder} INPUT")


def _rehearse(asked: Any, folder: Path, device: str | None, dtype: str | None, quiet: bool) -> None:
    import json

    from hf_stitch.cli.rehearsal import tell
    from hf_stitch.cli.terminal import console, silence_libraries
    from hf_stitch.experiments.rehearsal.rehearse import rehearse
    from hf_stitch.runtime.progress_bars import progress

    silence_libraries()
    found = rehearse(asked, device=device, dtype=dtype, progress=progress(quiet))
    tell(found)
    path = folder.with_name(f"{folder.name}.rehearsal.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found.content, indent=1) + "\n", encoding="utf-8")
    console().print(f"\n{path}")
