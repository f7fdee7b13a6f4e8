"""`tltool recipes`."""

import click

from tltool import recipe


@click.group(short_help="List the installed recipes, or show one.", invoke_without_command=True)
@click.pass_context
def recipes(context: click.Context) -> None:
    """List the installed recipes; `tltool recipes show NAME` prints one."""
    if context.invoked_subcommand is None:
        for name in recipe.recipe_names():
            click.echo(f"{name:24} {recipe.recipe_text(name).splitlines()[0].lstrip('# ')}")


@recipes.command()
@click.argument("name")
def show(name: str) -> None:
    """Print the recipe called NAME."""
    click.echo(recipe.recipe_text(name), nl=False)
