"""The table of verbs. Nothing heavy is imported here: each verb imports what it needs when it is run."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from hf_stitch.cli import cache, evaluate, fit, inspect, predict, push, recipes, zoo

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


app.command("fit", epilog=f"Example: {fit.EXAMPLE}")(fit.run)
app.command("evaluate", epilog=f"Example: {evaluate.EXAMPLE}")(evaluate.run)
app.command("predict", epilog=f"Example: {predict.EXAMPLE}")(predict.run)
app.command("inspect", epilog=f"Example: {inspect.EXAMPLE}")(inspect.run)
app.command("push", epilog=f"Example: {push.EXAMPLE}")(push.run)
for name, module in (("recipes", recipes), ("zoo", zoo), ("cache", cache)):
    made = group(name, module.TEXT)
    for function, example in module.VERBS.items():
        made.command(function.__name__, epilog=f"Example: {example}")(function)


def command() -> Any:
    """The click command of it all."""
    return typer.main.get_command(app)
