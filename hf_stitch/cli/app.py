"""The table of verbs. Nothing heavy is imported here: each verb imports what it needs when it is run."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from inspect import Parameter
from typing import Annotated, Any

import typer

from hf_stitch.cli import cache, evaluate, fit, predict, push, recipes, zoo
from hf_stitch.cli import inspect as inspecting
from hf_stitch.cli.terminal import Quiet, Verbose, verbose

# main.py explains errors, so typer draws none; plain help, since Rich would be imported for it.
app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},  # verbs take it over
)


@app.callback(invoke_without_command=True)
def hf_stitch(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version and stop.")] = False,
) -> None:
    """Run the first half of one pretrained model and the second half of another, through a map that is learned."""
    if version:
        from hf_stitch import __version__

        typer.echo(f"hf-stitch {__version__}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


def group(name: str, text: str) -> typer.Typer:
    """A verb that has verbs of its own; alone it shows its help."""
    made = typer.Typer(rich_markup_mode=None)

    @made.callback(invoke_without_command=True, help=text)
    def show(context: typer.Context) -> None:
        if context.invoked_subcommand is None:
            typer.echo(context.get_help())

    app.add_typer(made, name=name)
    return made


def common(function: Callable[..., None]) -> Callable[..., None]:
    """A verb with the options that all have; one that takes no `quiet` writes nothing but errors to stderr anyway."""
    own = inspect.signature(function, eval_str=True)
    options = {"quiet": Quiet, "verbose": Verbose}
    added = [Parameter(name, Parameter.KEYWORD_ONLY, default=False, annotation=kind) for name, kind in options.items()]
    parameters = [*own.parameters.values(), *(one for one in added if one.name not in own.parameters)]

    @functools.wraps(function)
    def run(**given: Any) -> None:
        verbose.set(given["verbose"])
        function(**{name: value for name, value in given.items() if name in own.parameters})

    run.__annotations__ = {one.name: one.annotation for one in parameters}
    run.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    return run


app.command("fit", epilog=f"Example: {fit.EXAMPLE}")(common(fit.run))
app.command("evaluate", epilog=f"Example: {evaluate.EXAMPLE}")(common(evaluate.run))
app.command("predict", epilog=f"Example: {predict.EXAMPLE}")(common(predict.run))
app.command("inspect", epilog=f"Example: {inspecting.EXAMPLE}")(common(inspecting.run))
app.command("push", epilog=f"Example: {push.EXAMPLE}")(common(push.run))
for name, module in (("recipes", recipes), ("zoo", zoo), ("cache", cache)):
    made = group(name, module.TEXT)
    for function, example in module.VERBS.items():
        made.command(function.__name__, epilog=f"Example: {example}")(common(function))


def command() -> Any:
    """The click command of it all."""
    return typer.main.get_command(app)


def verbs(whole: Any, path: str = "") -> dict[str, Any]:
    """The verbs of a command by their words, those of groups too."""
    found: dict[str, Any] = {}
    for name, one in whole.commands.items():
        words = f"{path} {name}".strip()
        found |= verbs(one, words) if hasattr(one, "commands") else {words: one}
    return found
