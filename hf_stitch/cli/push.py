"""`hf-stitch push`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

EXAMPLE = "hf-stitch push stitched/speech_sentiment me/speech-sentiment --private"
FORMS = ("full", "map")


def run(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that `fit` wrote.")],
    repo: Annotated[str, typer.Argument(metavar="REPO", help="NAME/MODEL on the Hub; made if it is not there.")],
    form: Annotated[
        str | None,
        typer.Option(help="full: all that runs; map: the map alone, the halves stay where they are."),
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    revision: Annotated[str | None, typer.Option(help="Branch to push to; made if it is not there.")] = None,
    message: Annotated[str | None, typer.Option(help="Of the commit.")] = None,
    max_shard_size: Annotated[str | None, typer.Option(help="Such as 2GB: split the weights into files.")] = None,
) -> None:
    """Push a stitched model to the Hub.

    Model, processors, recipe, report and card go there in one commit, weights in safetensors only. The token is the one
    of `hf auth login`, or HF_TOKEN.
    """
    from hf_stitch.cli.terminal import silence_libraries
    from hf_stitch.errors import RecipeError, nearest
    from hf_stitch.models.hub.map_only import FULL, MAP_ONLY, pin_revisions
    from hf_stitch.models.hub.publishing import left_out, push_folder, push_model
    from hf_stitch.runtime.visible import visible

    silence_libraries()
    if form not in (None, *FORMS):
        raise RecipeError(f"--form {form!r} is unknown; {nearest(str(form), FORMS)}")
    options: dict[str, Any] = {"private": private or None, "revision": revision}
    if form is None and max_shard_size is None:
        where = push_folder(folder, repo, message=message, **options)
    else:
        from hf_stitch.models.modeling_stitched import StitchedModel

        model = StitchedModel.from_pretrained(folder)
        if form == MAP_ONLY and model.config.save != MAP_ONLY:
            pin_revisions(model.config, model.prefix, model.suffix)
            model.complete()  # the checkpoints must still give the halves that were saved
        elif form == FULL:
            model.config.save = FULL
        where = push_model(model, repo, commit_message=message, max_shard_size=max_shard_size or "5GB", **options)
    for name in left_out(folder):
        typer.echo(f"note: {visible(name)} was left out: not a file of a stitched model", err=True)
    typer.echo(where)
