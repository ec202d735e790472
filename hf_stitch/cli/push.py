"""`hf-stitch push`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from hf_stitch.cli.terminal import Quiet

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
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would go there; the Hub is not asked.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Push a stitched model to the Hub.

    Model, processors, recipe, report and card go there in one commit, weights in safetensors only. Models and data that
    are folders and files here stand there by name, as `local:NAME`. The token is the one of `hf auth login`, or
    HF_TOKEN.
    """
    from hf_stitch.cli.terminal import silence_libraries
    from hf_stitch.errors import RecipeError, nearest
    from hf_stitch.models.hub.publishing import left_out, public_form, push_folder
    from hf_stitch.runtime.visible import visible

    silence_libraries()
    if form not in (None, *FORMS):
        raise RecipeError(f"--form {form!r} is unknown; {nearest(str(form), FORMS)}")
    _tell_data(folder)
    with _asked_form(folder, form, max_shard_size) as whole:
        if dry_run:
            with public_form(whole, repo) as public:
                _show(public, repo)
        else:
            where = push_folder(whole, repo, private=private or None, revision=revision, message=message)
    for name in () if quiet else left_out(folder):
        typer.echo(f"note: {visible(name)} was left out: not a file of a stitched model", err=True)
    if not dry_run:
        typer.echo(where)


def _tell_data(folder: Path) -> None:
    """Before anything is sent: which pieces of the test data report and page hold."""
    from hf_stitch.models.hub.publishing import not_rerun
    from hf_stitch.report.data_held import data_held
    from hf_stitch.report.report import Report

    if not (folder / "report.json").is_file():
        return
    report = Report.load(folder)
    if told := not_rerun(report.recipe):
        typer.echo(f"note: {told}", err=True)
    if held := data_held(report):
        told = "; ".join(held)
        typer.echo(f"note: report.html and report.json hold data of the test, which go there too: {told}", err=True)


@contextmanager
def _asked_form(folder: Path, form: str | None, max_shard_size: str | None) -> Iterator[Path]:
    """The folder itself, or one with the same model in the form and the pieces that were asked for."""
    if form is None and max_shard_size is None:
        yield folder
        return
    from hf_stitch.models.hub.map_only import FULL, MAP_ONLY, pin_revisions
    from hf_stitch.models.hub.publishing import model_folder
    from hf_stitch.models.modeling_stitched import StitchedModel

    model = StitchedModel.from_pretrained(folder)
    if form == MAP_ONLY and model.config.save != MAP_ONLY:
        pin_revisions(model.config, model.prefix, model.suffix)
        model.complete()  # the checkpoints must still give the halves that were saved
    elif form == FULL:
        model.config.save = FULL
    with model_folder(model, max_shard_size or "5GB") as whole:
        yield whole


def _show(public: Any, repo: str) -> None:
    """What would go to the Hub: files, what the card's metadata name, and names in the place of paths."""
    from hf_stitch.cli.terminal import console, size, table

    out, files = console(), table("file", "size", right=("size",))
    for name, count in public.files.items():
        files.add_row(name, size(count))
    out.print(f"{repo}: {len(public.files)} files, {size(sum(public.files.values()))}; nothing was sent")
    out.print(files)
    for title, key in (("base models", "base_model"), ("data sets", "datasets")):
        out.print(f"{title} of the card: {', '.join(public.metadata.get(key) or ['none'])}")
    if public.names:
        out.print("by name alone:")
    for name, told in public.names.items():
        out.print(f"  {name} as {told}")
