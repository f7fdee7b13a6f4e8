"""`tltool recipes`."""

import click

from tltool.recipe import recipe_names, recipe_text


@click.group(short_help="List the installed recipes, or show one.", invoke_without_command=True)
@click.pass_context
def recipes(context: click.Context) -> None:
    """List the installed recipes; `tltool recipes show NAME` prints one."""
    if context.invoked_subcommand is None:
        for name in recipe_names():
            click.echo(f"{name:24} {recipe_text(name).splitlines()[0].lstrip('# ')}")


@recipes.command()
@click.argument("name")
def show(name: str) -> None:
    """Print the recipe called NAME."""
    click.echo(recipe_text(name), nl=False)
